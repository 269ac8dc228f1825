"""A follower's own copy of a ledger: the same directory as the signer's, grown from a feed, with no key.

Nothing is written that was not verified: first the hashes of the new entries, which with those that are here have to
have the root under the ledger key's signature; then each entry against its hash. So the copy never goes back, never
changes, and is at any moment a ledger that a signer can open. A crash leaves at most files behind the checkpoint, which
``open`` takes away again.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealwright.errors import IntegrityError
from sealwright.ledger.bundles import BUNDLE, LedgerFiles, encode_entry, split_bundle
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.durable import make_directories, replace_file, storage, sync_directory
from sealwright.ledger.restore import hold_lock
from sealwright.ledger.scan import check_root, check_tiles, extend_tree, find_tail, read_entries
from sealwright.ledger.tiles import Tile
from sealwright.ledger.tree import HASH_SIZE, MerkleTree, leaf_hash
from sealwright.ledger.view import LedgerView

Fetch = Callable[[str], bytes]
"""The file that tlog-tiles serves under a name."""


class Source(Protocol):
    """Another copy of the ledger. ``checkpoint``: its newest. Both raise what kept them, ``read`` also ``NotFound``."""

    def checkpoint(self) -> str: ...

    def read(self, name: str) -> bytes: ...


_DIFFERS: Final = "the copy stays as it was: find out which ledger is the true one before anything is signed"


class LedgerCopy(LedgerView):
    """Opened for writing by the process that holds its lock. A context manager."""

    def __init__(
        self, files: LedgerFiles, tree: MerkleTree, checkpoint: str, origin: str, key: Ed25519PublicKey
    ) -> None:
        """Use ``open``."""
        super().__init__(files, tree, tree.size, checkpoint)
        self._origin, self._public = origin, key
        self._held = ExitStack()

    @classmethod
    def open(cls, directory: Path, origin: str, key: Ed25519PublicKey) -> Self:
        """Verify everything that is here. Raises as ``Ledger.open``."""
        files = LedgerFiles(directory)
        files.read_checkpoint()
        with ExitStack() as held:
            held.enter_context(hold_lock(directory))
            note = files.read_checkpoint()
            size, root = verify_checkpoint(note, origin, key)
            _cut_back(files, size)
            tree = MerkleTree()
            extend_tree(files, tree, size)
            check_root(files, tree, root)
            for level, number, data in check_tiles(files, tree):
                _write(files, files.tile(level, number), data)
            find_tail(files, size)
            copy = cls(files, tree, note, origin, key)
            copy._held = held.pop_all()
            return copy

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._held.close()

    def follow(self, note: str, fetch: Fetch) -> int:
        """Go on to a checkpoint. Returns how many entries are new.

        Raises ``IntegrityError``, with the copy as it was, when the ledger key did not sign the checkpoint, or the feed
        is not what this ledger continues with. What ``fetch`` raises passes through.
        """
        size, root = verify_checkpoint(note, self._origin, self._public)
        with self._lock:
            before = self._size
            if size < before:
                raise IntegrityError(
                    f"the feed went back: it has {size} entries, and {before} of it are here", hint=_DIFFERS
                )
            if size == before and root == self._tree.root():
                return 0
            try:
                self._take_hashes(size, root, fetch)
                self._write_entries(before, size, fetch)
                for level, number, data in self._new_tiles(before, size):
                    _write(self._files, self._files.tile(level, number), data)
                replace_file(self._files.checkpoint, note.encode())
            except BaseException:
                self._tree.truncate(before)
                self._cached.clear()
                raise
            self._size, self._checkpoint = size, note
            self._cached.clear()
            return size - before

    def _take_hashes(self, size: int, root: bytes, fetch: Fetch) -> None:
        for number in range(self._tree.size // BUNDLE, -(-size // BUNDLE)):
            tile = Tile(0, number, min(BUNDLE, size - number * BUNDLE))
            hashes = fetch(tile.name)
            if len(hashes) != tile.width * HASH_SIZE:
                raise IntegrityError(f"the feed's {tile.name} has {len(hashes)} octets", hint=_DIFFERS)
            for place in range(self._tree.size - tile.start, tile.width):
                self._tree.append(hashes[place * HASH_SIZE : (place + 1) * HASH_SIZE])
        if self._tree.root() != root:
            raise IntegrityError(
                f"the feed forks: its {size} entries do not continue the {self._size} that are here", hint=_DIFFERS
            )

    def _write_entries(self, start: int, size: int, fetch: Fetch) -> None:
        for number in range(start // BUNDLE, -(-size // BUNDLE)):
            tile = Tile(None, number, min(BUNDLE, size - number * BUNDLE))
            data = fetch(tile.name)
            entries, octets = split_bundle(data)
            if len(entries) != tile.width or octets != len(data):
                raise IntegrityError(f"the feed's {tile.name} has {len(entries)} entries", hint=_DIFFERS)
            for index, entry in enumerate(entries, tile.start):
                if leaf_hash(entry) != self._tree.leaf(index):
                    raise IntegrityError(f"the feed changed entry {index}: {tile.name} has another", hint=_DIFFERS)
            growing = self._files.open_bundle(number)
            if not tile.is_full:
                replace_file(growing, data)
                continue
            _write(self._files, self._files.bundle(number), data)
            if growing.exists():
                with storage("remove", growing):
                    growing.unlink()

    def _new_tiles(self, before: int, size: int) -> Iterator[tuple[int, int, bytes]]:
        level, width = 0, BUNDLE
        while size >= width:
            for number in range(before // width, size // width):
                yield level, number, self._tree.hashes(8 * level, number * BUNDLE, (number + 1) * BUNDLE)
            level, width = level + 1, width * BUNDLE


def _write(files: LedgerFiles, path: Path, data: bytes) -> None:
    make_directories(path.parent, files.directory)
    replace_file(path, data)


def _cut_back(files: LedgerFiles, size: int) -> None:
    """What a crash left behind the checkpoint: full bundles and tiles, and the beginning of the newest one."""
    number, kept = divmod(size, BUNDLE)
    sealed = files.bundle(number)
    if sealed.exists():
        if kept:
            entries = read_entries(files, number, wanted=kept)
            replace_file(files.open_bundle(number), b"".join(map(encode_entry, entries)))
        _remove(sealed)
    for path in sorted(files.open.iterdir()):
        if path.name.isdecimal() and int(path.name) > number:
            _remove(path)
    while files.bundle(number := number + 1).exists():
        _remove(files.bundle(number))
    level, width = 0, BUNDLE
    while (files.directory / "tile" / str(level)).exists():
        number = size // width
        while files.tile(level, number).exists():
            _remove(files.tile(level, number))
            number += 1
        level, width = level + 1, width * BUNDLE


def _remove(path: Path) -> None:
    with storage("remove", path):
        os.unlink(path)
    sync_directory(path.parent)
