"""Declared losses: a quorum of officers signed, at this very place, that what came after it is gone.

What was in it nobody can audit; that, and how far it went, is said. What the declaration orders revoked follows it at
once, and an earlier checkpoint that lies in the loss is no contradiction.
"""

from sealwright.audit.walk import Walk
from sealwright.errors import IntegrityError
from sealwright.ledger.entries import LossEntry, RevocationRecord
from sealwright.ledger.tree import MerkleTree
from sealwright.statements.kinds import LossStatement
from sealwright.statements.losses import LedgerEnd, check_loss, unfinished


def take_loss(walk: Walk, entry: LossEntry, tree: MerkleTree) -> None:
    with walk.findings.check("AUDIT-LOSS", walk.where):
        if walk.roster is None:
            raise IntegrityError("no roster that can be believed was in force here")
        end = LedgerEnd(
            size=walk.index,
            root=tree.root(walk.index).hex(),
            crl_number=max((*walk.crl_numbers.values(), walk.crl_floor)),
            began=walk.began,
            unfinished=unfinished(walk.losses),
        )
        statement = check_loss(entry.loss, roster=walk.roster, end=end, now=entry.at).statement
        walk.losses.append(statement)
        walk.crl_floor = statement.crl_number
        walk.compromised.update(statement.keys)
        for each in statement.revocations:
            walk.lost_scopes |= dict.fromkeys(each.serials, each.scope)
        walk.is_more_lost = statement.more
        walk.ordered_by_loss = RevocationRecord.of_loss(statement, at=entry.at, revoked=walk.revoked.__contains__)
        walk.findings.declared.append(
            f"entry {walk.index}: the officers declared lost what followed, {statement.lost_size - statement.size}"
            f" entries or more up to the checkpoint of {statement.lost_size}; {len(statement.serials)} serials of it"
            " are known, and revoked"
        )


def take_lost_serials(walk: Walk, entry: RevocationRecord) -> None:
    """A revocation that follows a declaration, as it says. Called inside the check of revocations."""
    wanted, walk.ordered_by_loss = next(iter(walk.ordered_by_loss), None), walk.ordered_by_loss[1:]
    if entry != wanted:
        raise IntegrityError(f"serials {', '.join(entry.serials)} are revoked as lost, and not as was declared")
    for serial in entry.serials:
        walk.open.pop(serial, None)
        walk.revoked[serial], walk.reasons[serial] = entry.revocation_date, entry.reason
        walk.told[serial] = (entry.told, entry.at)
        walk.block_key(serial, entry.reason)


def check_closed(walk: Walk) -> None:
    """At the end of the ledger: a declaration's revocations may not be missing, nor the one that was to follow."""
    if walk.ordered_by_loss or walk.is_more_lost:
        with walk.findings.check("AUDIT-LOSS", walk.where):
            raise IntegrityError("the last loss is not declared to its end, or its serials are not revoked")


def declared_lost(walk: Walk, size: int, root: bytes) -> LossStatement | None:
    """The declaration in whose loss a checkpoint lies. At the size that was declared it has to be the one of then."""
    for loss in walk.losses:
        if loss.size < size <= loss.lost_size and (size != loss.lost_size or loss.lost_root == root.hex()):
            return loss
    return None
