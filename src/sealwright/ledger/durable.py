"""Files that are there after a power cut, or an error that says why they are not.

A failed ``fsync`` is final for who called it: the kernel may have dropped the pages, and a second call would lie.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sealwright.errors import StorageError


class SyncError(StorageError):
    """``fsync`` failed: what is on the disk is unknown until it is read again."""


@contextmanager
def storage(what: str, path: Path) -> Iterator[None]:
    """``OSError`` inside becomes ``StorageError`` that says what was done where."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot {what} {path}: {error.strerror or error}",
            hint="free or remount the disk, or give this user the directory; nothing was half-written",
        ) from error


def sync(descriptor: int, path: Path) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise SyncError(
            f"cannot make {path} durable: {error.strerror or error}",
            hint="look after the disk, then start again: the ledger is verified at every start",
        ) from error


def sync_directory(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:  # whether a rename in it is durable is unknown, as after a failed fsync
        raise SyncError(f"cannot make directory {path} durable: {error.strerror or error}") from error
    try:
        sync(descriptor, path)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def replace_file(path: Path, data: bytes, *, directory: bool = True) -> None:
    """A reader sees the old file or the new one.

    Raises ``StorageError`` with the old one still in place, or ``SyncError`` when either may be.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        with storage("write", path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                write_all(descriptor, data)
                sync(descriptor, path)
            finally:
                os.close(descriptor)
            temporary.replace(path)
    except StorageError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if directory:
        sync_directory(path.parent)


def make_directories(path: Path, below: Path) -> None:
    """Create ``path`` durably, where ``below`` is there already."""
    missing = []
    while path != below and not path.exists():
        missing.append(path)
        path = path.parent
    for each in reversed(missing):
        with storage("create", each):
            each.mkdir()
        sync_directory(each.parent)
