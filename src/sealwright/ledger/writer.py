"""The writing half of the ledger: the open bundle, sealing of full ones, and the marks by which a change is seen.

It knows nothing of signatures; ``log`` decides when what is written counts.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sealwright.errors import IntegrityError, StorageError
from sealwright.ledger.bundles import BUNDLE, LedgerFiles, encode_entry, split_bundle
from sealwright.ledger.durable import (
    SyncError,
    make_directories,
    replace_file,
    storage,
    sync,
    sync_directory,
    write_all,
)
from sealwright.ledger.tree import MerkleTree, leaf_hash

Mark = tuple[int, int, int, int]


def write_checkpoint(files: LedgerFiles, note: str) -> None:
    """From when this returns, the entries under ``note`` are in the ledger."""
    replace_file(files.checkpoint, note.encode())


def _mark(path: Path) -> Mark:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass(slots=True)
class _Open:
    """A bundle in ``open``: its descriptor, and how many octets of it count."""

    descriptor: int
    octets: int
    last: bytes = b""
    """The newest entry as it lies in the file."""


class BundleWriter:
    """Writes entries of one ledger. Its tree is the ledger's, which ``log`` extends before ``write``."""

    def __init__(self, files: LedgerFiles, tree: MerkleTree) -> None:
        self._files, self._tree = files, tree
        self._open: dict[int, _Open] = {}
        self._before: dict[int, int] = {}
        """Octets that counted before the append under way, by bundle; -1: it was not there."""
        self._marks: dict[int, Mark] = {}
        self._turn = 0
        self.broken: str | None = None

    def recover(self, missing_tiles: Iterable[tuple[int, int, bytes]]) -> None:
        """At start: cut back what the checkpoint does not cover, seal what is full, write tiles that are missing."""
        size = self._tree.size
        for path in sorted(self._files.open.iterdir(), key=lambda each: int(each.name)):
            number = int(path.name)
            entries, _ = split_bundle(path.read_bytes())
            kept = [encode_entry(each) for each in entries[: max(0, size - number * BUNDLE)]]
            if not kept:
                with storage("remove", path):
                    path.unlink()
                continue
            opened = self._open_file(number, sum(map(len, kept)))
            opened.last = kept[-1]
            with storage("cut back", path):
                os.ftruncate(opened.descriptor, opened.octets)
            sync(opened.descriptor, path)
        sync_directory(self._files.open)
        for level, number, data in missing_tiles:
            self._write_tile(level, number, data)
        self.seal()
        for number in range(-(-size // BUNDLE)):
            self._marks[number] = _mark(self._path(number))

    def write(self, start: int, entries: Sequence[bytes]) -> None:
        """Put entries behind those that count, durably. ``commit`` or ``roll_back`` says what becomes of them."""
        self._before = {}
        for number in range(start // BUNDLE, (start + len(entries) - 1) // BUNDLE + 1):
            first = max(0, number * BUNDLE - start)
            encoded = [encode_entry(each) for each in entries[first : (number + 1) * BUNDLE - start]]
            opened = self._open.get(number)
            self._before[number] = opened.octets if opened else -1
            if opened is None:
                opened = self._open_file(number, 0)
                sync_directory(self._files.open)
            path = self._files.open_bundle(number)
            with storage("write", path):
                os.lseek(opened.descriptor, opened.octets, os.SEEK_SET)
                write_all(opened.descriptor, b"".join(encoded))
            sync(opened.descriptor, path)
            opened.octets += sum(map(len, encoded))
            opened.last = encoded[-1]

    def commit(self) -> None:
        """The checkpoint is durable: what was written counts. Never fails; a bundle that cannot be sealed now waits."""
        try:
            written, self._before = self._before, {}
            for number in written:
                self._marks[number] = _mark(self._files.open_bundle(number))
            self.seal()
        except SyncError as error:
            self.broken = str(error)
        except (StorageError, OSError):
            pass  # the next append seals, or says why not before it writes anything

    def roll_back(self, error: BaseException) -> bool:
        """Remove what ``write`` wrote. False: that failed, or what is on the disk is not known any more.

        After a failed fsync, or an interrupt that may have come between rename and return, nothing is touched: the
        checkpoint may be the old one or the new one, and the entries of both are there.
        """
        if isinstance(error, SyncError) or not isinstance(error, Exception):
            return False
        try:
            for number, octets in self._before.items():
                opened = self._open.get(number)
                if octets < 0:
                    if opened is not None:
                        os.close(opened.descriptor)
                        del self._open[number]
                    self._files.open_bundle(number).unlink(missing_ok=True)
                elif opened is not None:
                    os.ftruncate(opened.descriptor, octets)
                    opened.octets = octets
                    opened.last = self._last_entry(number)
                    self._marks[number] = _mark(self._files.open_bundle(number))
        except OSError:
            return False
        self._before = {}
        return True

    def seal(self) -> None:
        """Move every full bundle that counts from ``open`` to its place, and write its hash tiles."""
        for number in sorted(self._open):
            if (number + 1) * BUNDLE > self._tree.size:
                return
            level, index = 0, number
            while True:
                self._write_tile(level, index, self._tree.hashes(8 * level, index * BUNDLE, (index + 1) * BUNDLE))
                if (index + 1) % BUNDLE:
                    break
                level, index = level + 1, index // BUNDLE
            source, target = self._files.open_bundle(number), self._files.bundle(number)
            make_directories(target.parent, self._files.directory)
            with storage("move", source):
                source.rename(target)
            sync_directory(target.parent)
            sync_directory(source.parent)
            os.close(self._open.pop(number).descriptor)
            self._marks[number] = _mark(target)

    def check_unchanged(self) -> None:
        """Raises ``IntegrityError`` when a file is not what this process left."""
        count = len(self._marks)
        if not count:
            return
        newest = count - 1
        self._check_mark(newest)
        opened = self._open.get(newest)
        if opened is not None:
            got = self._read_end(newest, opened)
            if got != opened.last:
                raise self._changed(self._path(newest), "its newest entry is another")
        self._turn = (self._turn + 1) % count
        self._check_mark(self._turn)

    def close(self) -> None:
        for opened in self._open.values():
            os.close(opened.descriptor)
        self._open.clear()

    def _check_mark(self, number: int) -> None:
        path = self._path(number)
        try:
            mark = _mark(path)
        except OSError as error:
            raise self._changed(path, f"it cannot be read ({error.strerror})") from error
        before = self._marks[number]
        if mark == before:
            return
        # Other times or another inode over the same octets is somebody's backup or copy, and no change.
        entries, end = split_bundle(path.read_bytes())
        first = number * BUNDLE
        wanted = min(BUNDLE, self._tree.size - first)
        if len(entries) != wanted or end != mark[1] or mark[1] != before[1]:
            raise self._changed(path, f"it has {len(entries)} entries in {mark[1]} octets, not {wanted} in {before[1]}")
        for place, entry in enumerate(entries):
            if leaf_hash(entry) != self._tree.leaf(first + place):
                raise self._changed(path, f"entry {first + place} is another")
        if number in self._open and mark[0] != before[0]:
            raise self._changed(path, "it was replaced by a copy")
        self._marks[number] = mark

    def _changed(self, path: Path, how: str) -> IntegrityError:
        return IntegrityError(
            f"ledger was changed behind the signer's back: {self._files.name(path)}: {how}",
            hint="stop the signer and find out who wrote to its directory",
        )

    def _read_end(self, number: int, opened: _Open) -> bytes:
        path = self._files.open_bundle(number)
        with storage("read", path), path.open("rb") as file:
            file.seek(opened.octets - len(opened.last))
            return file.read(len(opened.last) + 1)

    def _last_entry(self, number: int) -> bytes:
        entries, _ = split_bundle(self._files.open_bundle(number).read_bytes())
        return encode_entry(entries[-1]) if entries else b""

    def _open_file(self, number: int, octets: int) -> _Open:
        path = self._files.open_bundle(number)
        with storage("open", path):
            opened = _Open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), octets)
        self._open[number] = opened
        return opened

    def _write_tile(self, level: int, number: int, data: bytes) -> None:
        path = self._files.tile(level, number)
        make_directories(path.parent, self._files.directory)
        replace_file(path, data)

    def _path(self, number: int) -> Path:
        return self._files.open_bundle(number) if number in self._open else self._files.bundle(number)
