"""Writing a file that is too long to be held, and putting it in the old one's place when it is recorded."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sealwright.durable import sync_folder
from sealwright.errors import StorageError


class Replacement:
    """``file`` is written, ``sync``ed, and with ``commit`` it stands in the place of the old one."""

    def __init__(self, path: Path, temporary: Path, file: IO[bytes]) -> None:
        self._path, self._temporary, self.file = path, temporary, file

    def sync(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())

    def commit(self) -> None:
        self._temporary.replace(self._path)
        sync_folder(self._path.parent)


@contextmanager
def replacing_file(path: Path, *, mode: int = 0o644) -> Iterator[Replacement]:
    """A new file beside ``path``, always under the same name: what a crash leaves of it, the next one removes.

    After ``StorageError``, or without ``commit``, the old one is untouched.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)
        # Made exclusively: who else may write in this folder can have laid no link under the name.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                os.fchmod(descriptor, mode)
                yield Replacement(path, temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError.of(error, f"cannot write {path}", hint="the old file is untouched") from error


class FileDigests:
    """SHA-256 of files, made again when a file is another."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[tuple[int, int, int], str]] = {}

    def sha256(self, path: Path) -> str | None:
        """None when it cannot be read."""
        try:
            status = path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            known = self._known.get(path)
            if known is None or known[0] != seen:
                with path.open("rb") as file:
                    known = self._known[path] = seen, hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None
        return known[1]
