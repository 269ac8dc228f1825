"""Declared losses: a quorum of officers signed, at this very place, that what came after it is gone.

What was in it nobody can audit; that, and how far it went, is said. What the declaration orders revoked follows it at
once, and an earlier checkpoint that lies in the loss is no contradiction.
"""

from sealwright.audit.walk import Walk
from sealwright.errors import IntegrityError
from sealwright.ledger.entries import LossEntry, RevocationRecord
from sealwright.ledger.tree import MerkleTree
from sealwright.pki.serials import parse_serial
from sealwright.statements.kinds import LossStatement
from sealwright.statements.losses import LedgerEnd, check_loss


def take_loss(walk: Walk, entry: LossEntry, tree: MerkleTree) -> None:
    with walk.findings.check("AUDIT-LOSS", walk.where):
        if walk.roster is None:
            raise IntegrityError("no roster that can be believed was in force here")
        end = LedgerEnd(walk.index, tree.root(walk.index).hex(), max((*walk.crl_numbers.values(), walk.crl_floor)))
        statement = check_loss(entry.loss, roster=walk.roster, end=end, now=entry.at).statement
        walk.losses.append(statement)
        walk.crl_floor = statement.crl_number
        walk.ordered_by_loss = {serial for serial in statement.serials if serial not in walk.revoked}
        walk.findings.declared.append(
            f"entry {walk.index}: the officers declared lost what followed, {statement.lost_size - statement.size}"
            f" entries or more up to the checkpoint of {statement.lost_size}; {len(statement.serials)} serials of it"
            " are known, and revoked"
        )


def take_lost_serials(walk: Walk, entry: RevocationRecord) -> None:
    """The revocation that follows a declaration. Called inside the check of revocations."""
    wanted, walk.ordered_by_loss = walk.ordered_by_loss, set()
    if not wanted or set(entry.serials) != wanted or len(entry.serials) != len(wanted):
        raise IntegrityError(f"serials {', '.join(entry.serials)} are revoked as lost, and not what was declared")
    if entry.order is not None or entry.reason is not None or entry.revocation_date != entry.at:
        raise IntegrityError("lost serials are revoked from the moment of the declaration, without reason or order")
    for serial in entry.serials:
        parse_serial(serial)
        walk.open.pop(serial, None)
        walk.revoked[serial] = entry.revocation_date
        walk.told[serial] = (entry.at, entry.at)


def check_closed(walk: Walk) -> None:
    """At the end of the ledger: a declaration's revocations may not be missing."""
    if walk.ordered_by_loss:
        with walk.findings.check("AUDIT-LOSS", walk.where):
            raise IntegrityError("the serials that were declared lost last are not revoked")


def declared_lost(walk: Walk, size: int, root: bytes) -> LossStatement | None:
    """The declaration in whose loss a checkpoint lies. At the size that was declared it has to be the one of then."""
    for loss in walk.losses:
        if loss.size < size <= loss.lost_size and (size != loss.lost_size or loss.lost_root == root.hex()):
            return loss
    return None
