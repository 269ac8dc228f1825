"""Files that are there whole after a power cut, or not at all: written beside, fsynced, put in place, fsynced again.

The ledger has a stricter form of its own (``ledger.durable``): it has to know whether a failed fsync may have taken.
"""

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from sealwright.errors import Conflict, InputError, NotFound, StorageError

LENGTH_LIMIT = 1 << 20
"""Octets that ``read_file`` takes unless it is told otherwise."""

_NO_PATH = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EMLINK})  # FAT, on the sticks that records are carried on


def replace_file(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """A reader sees the old file or the new one. A file that was there keeps its owner, if we may give files away.

    Raises ``StorageError``; the old file is then untouched, but for a failure of the folder's own fsync.
    """
    draft = _write_beside(path, data, mode)
    try:
        with suppress(FileNotFoundError, PermissionError):
            before = path.lstat()
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(draft, before.st_uid, before.st_gid, follow_symlinks=False)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """A file that must not be there. Raises ``Conflict`` or ``StorageError``."""
    draft = _write_beside(path, data, mode)
    try:
        try:
            os.link(draft, path)  # unlike rename, this refuses to replace
        except OSError as error:
            if error.errno not in _NO_LINKS or os.path.lexists(path):
                raise
            draft.rename(path)
        sync_folder(path.parent)
    except FileExistsError:
        raise Conflict(f"{path} exists already", hint="nothing is overwritten; look at what it is first") from None
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with suppress(OSError):
            draft.unlink()


def read_file(path: Path, *, limit: int = LENGTH_LIMIT, hint: str = "") -> bytes:
    """A file's bytes. Raises ``NotFound``, ``InputError`` (a folder, or too long) or ``StorageError``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there", hint=hint) from None
    except (IsADirectoryError, NotADirectoryError):
        raise InputError(f"{path} is not a file", hint=hint) from None
    except OSError as error:
        kind = InputError if error.errno in _NO_PATH else StorageError
        raise kind(
            f"cannot read {path}: {error.strerror}", hint=hint or "is the path right, and may you read it?"
        ) from error
    if len(data) > limit:
        raise InputError(f"{path} is longer than {limit} octets", hint=hint or "is it the right file?")
    return data


def sync_folder(path: Path) -> None:
    """Make the folder's entries durable. Raises ``OSError``."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_beside(path: Path, data: bytes, mode: int) -> Path:
    """A fresh name, made exclusively: who else may write in this folder can have laid no link under it."""
    draft = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
        draft = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
    except OSError as error:
        if draft is not None:
            with suppress(OSError):
                draft.unlink()
        raise _cannot_write(path, error) from error
    return draft


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"cannot write {path}: {error.strerror}", hint="is the folder writable, and is there room on the disk?"
    )
