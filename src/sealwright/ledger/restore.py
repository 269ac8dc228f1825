"""Writing a ledger's directory from entries and a checkpoint that its key signed before: no key is needed.

Nothing is verified here: whoever reads it (``LedgerReader``, ``Ledger.open``) verifies all of it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sealwright.errors import Conflict
from sealwright.ledger.bundles import BUNDLE, LedgerFiles, encode_entry
from sealwright.ledger.durable import make_directories, replace_file, storage, sync_directory
from sealwright.ledger.scan import full_tiles
from sealwright.ledger.tree import MerkleTree, leaf_hash


def write_ledger(directory: Path, entries: Iterable[bytes], checkpoint: str) -> None:
    """A new directory, or one that an earlier try left unfinished under the same name."""
    files, tree = LedgerFiles(directory), MerkleTree()
    with storage("create", directory):
        shutil.rmtree(directory, ignore_errors=True)
        files.open.mkdir(parents=True)
        (directory / "tile" / "entries").mkdir(parents=True)
        files.lock.touch(mode=0o644)
    bundle: list[bytes] = []
    for entry in entries:
        bundle.append(encode_entry(entry))
        tree.append(leaf_hash(entry))
        if len(bundle) == BUNDLE:
            path = files.bundle(tree.size // BUNDLE - 1)
            make_directories(path.parent, directory)
            replace_file(path, b"".join(bundle))
            bundle.clear()
    if bundle:
        replace_file(files.open_bundle(tree.size // BUNDLE), b"".join(bundle))
    for level, number, data in full_tiles(tree):
        path = files.tile(level, number)
        make_directories(path.parent, directory)
        replace_file(path, data)
    replace_file(files.checkpoint, checkpoint.encode())
    for each in (directory / "tile", directory, directory.parent):
        sync_directory(each)


@contextmanager
def hold_lock(directory: Path) -> Iterator[None]:
    """The writer's lock. Raises ``Conflict`` while a signer runs."""
    path = LedgerFiles(directory).lock
    with storage("open", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict(f"a process writes the ledger in {directory}", hint="stop the signer first") from None
    finally:
        os.close(descriptor)
