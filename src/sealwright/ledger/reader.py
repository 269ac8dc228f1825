"""A follower of the ledger's directory, with no key and no right to write: presign, feeds, checks."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sealwright.errors import IntegrityError
from sealwright.ledger.bundles import LedgerFiles
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.scan import check_root, extend_tree
from sealwright.ledger.tree import MerkleTree
from sealwright.ledger.view import LedgerView


class LedgerReader(LedgerView):
    """The ledger as its newest checkpoint has it when ``refresh`` was last called.

    It remembers what it saw: a ledger that was rolled back or rewritten under it is an ``IntegrityError``.
    """

    def __init__(self, directory: Path, origin: str, public: Ed25519PublicKey) -> None:
        """Reads and verifies all. Raises ``NotFound``, ``IntegrityError``, ``StorageError``."""
        super().__init__(LedgerFiles(directory), MerkleTree(), 0, "")
        self._origin, self._public = origin, public
        self.refresh()

    def refresh(self) -> int:
        """Go on to the newest checkpoint. Returns how many entries are new."""
        with self._lock:
            note = self._files.read_checkpoint()
            if note == self._checkpoint:
                return 0
            size, root = verify_checkpoint(note, self._origin, self._public)
            before = self._size
            if size < before:
                raise IntegrityError(
                    f"ledger was rolled back: it has {size} entries, and had {before}",
                    hint="put the newer files back (standby, backup)",
                )
            try:
                extend_tree(self._files, self._tree, size)
                check_root(self._files, self._tree, root)
            except BaseException:
                self._tree.truncate(before)
                raise
            self._size, self._checkpoint = size, note
            return size - before
