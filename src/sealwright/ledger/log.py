"""The ledger: one writer, entries that are never changed, and a signed checkpoint over all of them.

``append`` writes the entries (fsync), then replaces the checkpoint (fsync, rename, fsync of the directory), and only
then returns. So a crash leaves behind the checkpoint at most one append that nobody was told of. ``open`` cuts it back:

- nothing was ever signed on an entry that ``append`` did not return for, since the intent comes before the signature;
- a certificate whose entry was cut still has its intent, acknowledged before; that intent is open, and the signer
  revokes its serial before it does anything else (``issuing.recovery``);
- adopting it instead would let whoever can write the directory put entries under the ledger key's next signature.

More than one append behind the checkpoint, or a full bundle or tile beyond it, was left by no crash and is refused.
A checkpoint that was put back together with files cut to it cannot be told from here; followers and receipts tell.

After a failed fsync what is on the disk is unknown, and the instance refuses all further use.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sealwright.errors import Conflict, InputError, IntegrityError, StorageError
from sealwright.ledger.bundles import BUNDLE, ENTRY_LIMIT, LedgerFiles
from sealwright.ledger.checkpoint import sign_checkpoint, verify_checkpoint
from sealwright.ledger.durable import storage, sync_directory
from sealwright.ledger.scan import check_root, check_tiles, extend_tree, find_tail
from sealwright.ledger.tree import EMPTY_ROOT, MerkleTree, leaf_hash
from sealwright.ledger.view import LedgerView
from sealwright.ledger.writer import BundleWriter, write_checkpoint
from sealwright.points import Point, reached

BATCH_LIMIT: Final = BUNDLE
"""Entries in one append. Also what tells a crash from a rollback."""


class Ledger(LedgerView):
    """The ledger, opened for writing by the process that holds its lock. A context manager."""

    def __init__(
        self,
        files: LedgerFiles,
        tree: MerkleTree,
        checkpoint: str,
        *,
        origin: str,
        key: Ed25519PrivateKey,
        lock: int,
        cut: int,
    ) -> None:
        """Use ``create`` or ``open``."""
        super().__init__(files, tree, tree.size, checkpoint)
        self._origin, self._key, self._lock_file = origin, key, lock
        self.cut_back: Final = cut
        """Octets of an unacknowledged append that ``open`` removed; 0 after a clean stop."""
        self._writer = BundleWriter(files, tree)
        self._broken: str | None = None

    @classmethod
    def create(cls, directory: Path, origin: str, key: Ed25519PrivateKey) -> Self:
        """A new, empty ledger. Raises ``Conflict`` when ``directory`` is there and not empty."""
        files = LedgerFiles(directory)
        note = sign_checkpoint(origin, 0, EMPTY_ROOT, key)
        with storage("create", directory):
            directory.mkdir(mode=0o755, exist_ok=True)
            if any(directory.iterdir()):
                raise Conflict(f"{directory} is not empty; a ledger is never written over")
            files.open.mkdir()
            (directory / "tile" / "entries").mkdir(parents=True)
            files.lock.touch(mode=0o644)
        write_checkpoint(files, note)
        for each in (directory / "tile", directory, directory.parent):
            sync_directory(each)
        return cls.open(directory, origin, key)

    @classmethod
    def open(cls, directory: Path, origin: str, key: Ed25519PrivateKey) -> Self:
        """Verify everything, finish what a crash left, and take the lock.

        Raises ``NotFound`` (no ledger), ``Conflict`` (another process has it), ``IntegrityError`` (saying which file
        or entry is not what was signed, or that it was rolled back), ``StorageError``.
        """
        files = LedgerFiles(directory)
        note = files.read_checkpoint()
        with _locked(files) as lock:
            note = files.read_checkpoint()  # nobody else writes from here on
            size, root = verify_checkpoint(note, origin, key.public_key())
            tree = MerkleTree()
            extend_tree(files, tree, size)
            check_root(files, tree, root)
            with storage("read", directory):
                missing = check_tiles(files, tree)
                tail = find_tail(files, size)
            ledger = cls(files, tree, note, origin=origin, key=key, lock=lock, cut=tail.octets)
            try:
                ledger._writer.recover(missing)
            except BaseException:
                ledger._writer.close()
                raise
            return ledger

    @property
    def broken(self) -> str | None:
        """Why this instance takes nothing any more, until it is opened again."""
        return self._broken or self._writer.broken

    @property
    def public_key(self) -> Ed25519PublicKey:
        return self._key.public_key()

    def append(self, *entries: bytes) -> tuple[int, ...]:
        """Add entries, all or none, and return their places once they are durable under a new checkpoint.

        Raises ``InputError`` for what no entry can be, ``StorageError`` when the disk refuses: then nothing was
        appended. ``TokenError`` and such of the ledger key pass through; nothing was appended then either.
        """
        _check_entries(entries)
        with self._lock:
            self._check_usable()
            start = self._size
            try:
                self._writer.seal()
                for entry in entries:
                    self._tree.append(leaf_hash(entry))
                note = sign_checkpoint(self._origin, self._tree.size, self._tree.root(), self._key)
                reached(Point.CHECKPOINT_SIGNED)
                self._writer.write(start, entries)
                reached(Point.ENTRIES_DURABLE)
                write_checkpoint(self._files, note)
            except BaseException as error:
                self._roll_back(start, error)
                raise
            self._size, self._checkpoint = self._tree.size, note
            reached(Point.CHECKPOINT_DURABLE)
            self._writer.commit()
            self._remember(start, entries)
            return tuple(range(start, self._size))

    def check_unchanged(self) -> None:
        """Raises ``IntegrityError`` unless the files are still those that this process left. Before every signature.

        Costs the same at any size: the checkpoint's octets, the newest entry's octets, the marks (inode, size, times)
        of the newest bundle and of one full bundle, in turn.
        """
        with self._lock:
            self._check_usable()
            if self._files.read_checkpoint() != self._checkpoint:
                raise IntegrityError(
                    "ledger was changed behind the signer's back: checkpoint is not the one it left",
                    hint="stop the signer and find out who wrote to its directory",
                )
            self._check_lock()
            self._writer.check_unchanged()

    def close(self) -> None:
        """Give up the lock. Appends nothing: everything is durable already."""
        with self._lock:
            self._broken = self._broken or "it was closed"
            self._writer.close()
            if self._lock_file >= 0:
                os.close(self._lock_file)
                self._lock_file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _roll_back(self, start: int, error: BaseException) -> None:
        self._tree.truncate(start)
        if not self._writer.roll_back(error):
            self._broken = f"an append failed half-way ({error})"

    def _check_usable(self) -> None:
        if self.broken:
            raise StorageError(
                f"the ledger in {self._files.directory} is not used any more: {self.broken}",
                hint="look after the disk, then start again: the ledger is verified at every start",
            )

    def _check_lock(self) -> None:
        """A lock file that was removed would let a second writer in."""
        try:
            same = os.path.samestat(os.fstat(self._lock_file), self._files.lock.stat())
        except OSError:
            same = False
        if not same:
            raise IntegrityError("ledger's lock file was replaced", hint="stop every signer, then start one")


def _check_entries(entries: Sequence[bytes]) -> None:
    if not 1 <= len(entries) <= BATCH_LIMIT:
        raise InputError(f"an append has {len(entries)} entries; wanted 1 to {BATCH_LIMIT}")
    for entry in entries:
        if not 1 <= len(entry) <= ENTRY_LIMIT:
            raise InputError(f"a ledger entry has {len(entry)} octets; wanted 1 to {ENTRY_LIMIT}")


@contextmanager
def _locked(files: LedgerFiles) -> Iterator[int]:
    """The lock's descriptor, which stays locked after this when nothing is raised."""
    with storage("open", files.lock):
        descriptor = os.open(files.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another process writes the ledger in {files.directory}", hint="one signer per ledger: stop the other"
            ) from None
        yield descriptor
    except BaseException:
        os.close(descriptor)
        raise
