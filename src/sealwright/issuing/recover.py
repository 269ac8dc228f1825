"""``sealwrightd recover``: a ledger that was set back gets its missing entries from a copy that its key signed.

The whole ledger is written anew beside the old one, verified, and only then put in its place; the old one stays, under
another name. What the old one did since the copy parted from it may be starts, refusals, what it heard of its clock and
its tokens, and CRLs, whose numbers go on from the CRL on disk. Anything else (a certificate, a revocation, a roster)
cannot be merged here: then this refuses.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealwright.errors import Conflict, IntegrityError
from sealwright.installed import Installed
from sealwright.issuing.fence import HOLDER, read_holder, write_holder
from sealwright.issuing.setback import witness_path
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.durable import storage, sync_directory
from sealwright.ledger.entries import parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.restore import hold_lock, write_ledger
from sealwright.points import Point, reached

DROPPED: Final = frozenset({"start", "refusal", "crl-intent", "crl", "token", "clock"})
"""Entries of a set-back ledger that need not be kept."""


@dataclass(frozen=True, slots=True)
class Recovered:
    before: int
    """Entries of the ledger that was set back, up to where the copy goes on."""
    size: int
    dropped: int
    kept: Path
    """Where the old ledger is now."""


def recover_ledger(
    installed: Installed, entries: Iterable[bytes], checkpoint: str, *, to_follow: bool = False
) -> Recovered:
    """Put the copy in the ledger's place. The signer must not run. ``to_follow``: and give up the claim to sign, so
    that a standby may go on from here.

    Raises ``Conflict`` when it runs, or when the copy has nothing that is missing here; ``IntegrityError`` when the
    copy is not what the ledger key signed, does not satisfy the witness, or would lose acts of the old ledger.
    """
    origin, key, folder = installed.anchor.ledger_origin, installed.ledger_key, installed.ledger
    new = folder.with_name(f"{folder.name}.new")
    if new.is_dir() and not folder.exists():  # an earlier try was cut off between its two renames
        size = LedgerReader(new, origin, key).size
        new.rename(folder)
        sync_directory(folder.parent)
        return Recovered(0, size, 0, folder.parent)
    with hold_lock(folder):
        size, root = verify_checkpoint(checkpoint, origin, key)
        old = LedgerReader(folder, origin, key)
        claim = read_holder(folder)
        if to_follow and claim is not None and (size, root) == (old.size, old.root):
            (folder / HOLDER).unlink()
            sync_directory(folder)
            return Recovered(size, size, 0, folder)
        if size <= old.size and old.root_of(size) == root:
            raise Conflict(
                f"the copy has {size} entries, and the ledger has these among its {old.size}: nothing is missing"
            )
        write_ledger(new, entries, checkpoint)
        copy = LedgerReader(new, origin, key)  # verifies it all
        reached(Point.COPY_DURABLE)
        _check_witness(folder, copy, installed)
        before = _common(old, copy)
        lost = {parse_entry(data).type for data in old.iterate(before)} - DROPPED
        if lost:
            raise IntegrityError(
                f"from entry {before} on the ledger went its own way, with entries of type {', '.join(sorted(lost))}",
                hint=f"the copy is in {new}; officers and auditors have to look at both before anything is signed",
            )
        if claim is not None and not to_follow:
            write_holder(new, claim)
        kept = _free_name(folder, old.size)
        with storage("put in place", folder):
            folder.rename(kept)
            reached(Point.OLD_SET_ASIDE)
            new.rename(folder)
        sync_directory(folder.parent)
        reached(Point.COPY_IN_PLACE)
        return Recovered(before, copy.size, old.size - before, kept)


def _check_witness(folder: Path, copy: LedgerReader, installed: Installed) -> None:
    path = witness_path(folder)
    if not path.exists():
        return
    size, root = verify_checkpoint(path.read_text(), installed.anchor.ledger_origin, installed.ledger_key)
    if size > copy.size or copy.root_of(size) != root:
        raise IntegrityError(
            f"the copy has {copy.size} entries and does not go on from the {size} that a witness saw",
            hint="take a newer copy: the registry's own tiles have it (`sealwright audit export`)",
        )


def _common(old: LedgerReader, copy: LedgerReader) -> int:
    """How many first entries both have: by bisection over roots."""
    low, high = 0, min(old.size, copy.size)
    while low < high:
        middle = (low + high + 1) // 2
        if old.root_of(middle) == copy.root_of(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _free_name(folder: Path, size: int) -> Path:
    names = (
        folder.with_name(f"{folder.name}.set-back-{size}{extra}") for extra in ("", *(f"-{n}" for n in range(2, 99)))
    )
    return next(name for name in names if not name.exists())
