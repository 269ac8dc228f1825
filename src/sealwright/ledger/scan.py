"""Reading a ledger's files against its checkpoint, entry by entry, and saying precisely what is wrong with them.

A scan believes nothing but the ledger key's signature. It streams one bundle at a time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sealwright.errors import IntegrityError
from sealwright.ledger.bundles import BUNDLE, LedgerFiles, split_bundle
from sealwright.ledger.tree import HASH_SIZE, MerkleTree, leaf_hash

_HINT = "restore the ledger directory from a copy (standby, backup); nothing is signed meanwhile"


@dataclass(frozen=True, slots=True)
class Tail:
    """What lies in ``open`` behind the last entry that the checkpoint covers."""

    entries: int
    octets: int


def extend_tree(files: LedgerFiles, tree: MerkleTree, size: int) -> None:
    """Bring ``tree`` to ``size`` entries from the files. Raises ``IntegrityError`` where they end before."""
    for bundle in range(tree.size // BUNDLE, -(-size // BUNDLE)):
        entries = read_entries(files, bundle, wanted=min(BUNDLE, size - bundle * BUNDLE))
        for entry in entries[tree.size - bundle * BUNDLE :]:
            tree.append(leaf_hash(entry))


def read_entries(files: LedgerFiles, bundle: int, *, wanted: int) -> list[bytes]:
    """The first ``wanted`` entries of a bundle."""
    found = files.read_bundle(bundle)
    first = bundle * BUNDLE
    if found is None:
        raise IntegrityError(
            f"ledger is truncated: {files.name(files.bundle(bundle))} with the entries from {first} on is missing",
            hint=_HINT,
        )
    path, data = found
    entries, end = split_bundle(data)
    if len(entries) < wanted:
        _check_lengths(files, bundle, entries)
        unsure = end + 2 <= len(data)  # a torn entry is there: its length, too, may be what was changed
        raise IntegrityError(
            f"ledger is truncated{' or has a changed length' if unsure else ''}:"
            f" {files.name(path)} has {len(entries)} whole entries;"
            f" the checkpoint covers {wanted} (entry {first + len(entries)} is the first that is missing)",
            hint=_HINT,
        )
    if path == files.bundle(bundle) and (len(entries) != BUNDLE or end != len(data)):
        raise IntegrityError(
            f"ledger file {files.name(path)} has {len(entries)} entries and {len(data) - end} octets more;"
            f" a full bundle has {BUNDLE} and nothing more",
            hint=_HINT,
        )
    return entries[:wanted]


def _check_lengths(files: LedgerFiles, bundle: int, entries: list[bytes]) -> None:
    """When a bundle is too short: an entry that is not what its tile says shows where a length was changed."""
    path = files.tile(0, bundle)
    stored = path.read_bytes() if path.exists() else b""
    if len(stored) != BUNDLE * HASH_SIZE:
        return
    for place, entry in enumerate(entries):
        if leaf_hash(entry) != stored[place * HASH_SIZE : (place + 1) * HASH_SIZE]:
            raise IntegrityError(
                f"ledger entry {bundle * BUNDLE + place} was changed, its length or before: {files.name(path)}"
                " has another hash for it",
                hint=_HINT,
            )


def check_leaves(files: LedgerFiles, tree: MerkleTree, bundle: int, entries: list[bytes]) -> None:
    """Raises ``IntegrityError`` naming the first entry that is not the one the tree was made of."""
    for index, entry in enumerate(entries, bundle * BUNDLE):
        if leaf_hash(entry) != tree.leaf(index):
            raise IntegrityError(f"ledger entry {index} was changed since it was verified", hint=_HINT)


def check_root(files: LedgerFiles, tree: MerkleTree, root: bytes) -> None:
    """Raises ``IntegrityError`` naming the entry, or else the file, that is not what was signed."""
    if tree.root() == root:
        return
    for bundle in range(tree.size // BUNDLE):
        path = files.tile(0, bundle)
        stored = path.read_bytes() if path.exists() else b""
        for entry, place in _differences(tree, bundle, stored):
            raise IntegrityError(
                f"ledger entry {entry} was changed: {files.name(files.bundle(bundle))}, {place}. in the file,"
                f" has not the hash that {files.name(path)} has",
                hint=_HINT,
            )
    first = tree.size // BUNDLE * BUNDLE
    where = f"open/{tree.size // BUNDLE}" if tree.size % BUNDLE else "tile/entries"
    raise IntegrityError(
        f"ledger was changed: its {tree.size} entries do not have the root that the checkpoint was signed for;"
        f" the full bundles agree with their tiles, so look at {where} (entries {first} to {tree.size - 1})",
        hint=_HINT,
    )


def _differences(tree: MerkleTree, bundle: int, stored: bytes) -> Iterator[tuple[int, int]]:
    if len(stored) != BUNDLE * HASH_SIZE:
        return
    for place in range(BUNDLE):
        if stored[place * HASH_SIZE : (place + 1) * HASH_SIZE] != tree.leaf(bundle * BUNDLE + place):
            yield bundle * BUNDLE + place, place + 1


def full_tiles(tree: MerkleTree) -> Iterator[tuple[int, int, bytes]]:
    """Level, number and octets of every full hash tile of the tree."""
    level, width = 0, BUNDLE
    while tree.size >= width:
        for number in range(tree.size // width):
            yield level, number, tree.hashes(8 * level, number * BUNDLE, (number + 1) * BUNDLE)
        level, width = level + 1, width * BUNDLE


def check_tiles(files: LedgerFiles, tree: MerkleTree) -> list[tuple[int, int, bytes]]:
    """The full hash tiles that are not on disk yet. Raises ``IntegrityError`` for one that says something else."""
    missing = []
    for level, number, wanted in full_tiles(tree):
        path = files.tile(level, number)
        if not path.exists():
            missing.append((level, number, wanted))
        elif path.read_bytes() != wanted:
            raise IntegrityError(
                f"ledger file {files.name(path)} was changed: its hashes are not those of the entries,"
                " which agree with the checkpoint",
                hint=f"remove {path}: it is derived, and written again at the next start",
            )
    return missing


def find_tail(files: LedgerFiles, size: int) -> Tail:
    """What ``open`` has behind the first ``size`` entries. Raises ``IntegrityError`` where that proves a rollback.

    Full bundles and tiles are made only after the checkpoint that covers them, so one beyond it was not left by a
    crash: somebody put an older checkpoint back.
    """
    for path in (files.bundle(size // BUNDLE), files.tile(0, size // BUNDLE)):
        if path.exists():
            raise _rolled_back(size, f"{files.name(path)} has entries beyond them")
    entries = octets = 0
    for path in sorted(files.open.iterdir(), key=lambda each: each.name):
        if not path.name.isdecimal():
            raise IntegrityError(f"ledger has a file {files.name(path)} that nothing here made", hint="move it away")
        number = int(path.name)
        if files.bundle(number).exists():
            raise IntegrityError(
                f"ledger has both {files.name(path)} and {files.name(files.bundle(number))}",
                hint="look which of them nobody here made, and move it away",
            )
        data = path.read_bytes()
        whole, _ = split_bundle(data)
        covered = max(0, min(len(whole), size - number * BUNDLE))
        entries += len(whole) - covered
        octets += len(data) - sum(len(entry) + 2 for entry in whole[:covered])
    if entries > BUNDLE:
        raise _rolled_back(size, f"{entries} whole entries follow them, and one append has at most {BUNDLE}")
    return Tail(entries, octets)


def _rolled_back(size: int, why: str) -> IntegrityError:
    return IntegrityError(
        f"ledger was rolled back: the checkpoint covers {size} entries, and {why}",
        hint="put the newer checkpoint back (standby, backup); nothing is signed meanwhile",
    )
