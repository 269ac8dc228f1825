"""A ledger that was set back: the ledger key signed a checkpoint that this ledger does not continue.

A restored backup is whole and signed, and cannot tell that entries are missing. Its followers can: the registry hands
in the last checkpoint it saw (call ``witness``). The ledger key's own signature is the proof, so that nobody can stop
the signer with a lie. From then on, also after a restart, nothing is recorded and so nothing is signed, until
``sealwrightd recover`` has brought the missing entries back.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealwright.durable import replace_file
from sealwright.errors import IntegrityError, SealwrightError
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.view import LedgerView
from sealwright.statements.losses import unfinished

if TYPE_CHECKING:
    from sealwright.issuing.authority import IssuingAuthority

WITNESS = "witness"
"""In the ledger's directory: the checkpoint that it does not continue."""


def take_witness(authority: "IssuingAuthority", arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Compare a checkpoint that somebody saw. Raises ``IntegrityError`` when nothing is to be signed any more."""
    note = str(arguments["checkpoint"])
    with authority.lock:
        verify_checkpoint(note, authority.installed.anchor.ledger_origin, authority.ledger.public_key)
        problem = _compare(authority, note)
        if problem:
            if unfinished(authority.index.losses) is None:  # else what is being declared stays what it is
                replace_file(authority.installed.ledger / WITNESS, note.encode())
            authority.set_back = problem
            raise set_back_error(problem)
        return {"continues": True, "size": authority.ledger.size}


def load_witness(authority: "IssuingAuthority") -> str | None:
    """What a witness said that this ledger still does not continue. A witness that is satisfied goes."""
    path = authority.installed.ledger / WITNESS
    if not path.exists():
        return "its loss is declared in part" if unfinished(authority.index.losses) else None
    problem = _compare(authority, path.read_text())
    if problem is None:
        path.unlink()
    return problem


def set_back_error(problem: str) -> IntegrityError:
    return IntegrityError(
        f"the ledger was set back: {problem}; nothing is signed",
        hint="stop the signer; `sealwrightd recover --from` the registry, a standby or the newest export. Where nobody"
        " has what is missing, the officers decide: `sealwrightd loss`",
    )


def _compare(authority: "IssuingAuthority", note: str) -> str | None:
    try:
        size, root = verify_checkpoint(note, authority.installed.anchor.ledger_origin, authority.ledger.public_key)
    except SealwrightError as error:
        return f"its witness cannot be read ({error.message})"
    losses = authority.index.losses
    if unfinished(losses) is None and any(loss.size < size <= loss.lost_size for loss in losses):
        return None  # of a history that the officers declared lost
    ledger: LedgerView = authority.ledger
    if size > ledger.size:
        return f"it has {ledger.size} entries, and its key signed {size}"
    if ledger.root_of(size) != root:
        return f"its first {size} entries are others than those its key signed before"
    return None


def witness_path(ledger: Path) -> Path:
    return ledger / WITNESS
