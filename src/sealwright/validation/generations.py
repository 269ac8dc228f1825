"""Which snapshot is the one that is served, and whether its file is all there: folders, links and sizes, no LMDB.

``FOLDER/current`` is a link to one generation beside it. A new one is filled aside and takes the link's place when it
is complete, so that a reader opens the old or the new, each whole. ``check_file`` reads LMDB's meta pages by hand:
to map a file that was cut short means to die (SIGBUS) when what is missing is touched.
"""

import os
import secrets
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

from sealwright.errors import IntegrityError, StorageError

DATA: Final = "data.mdb"
_LINK: Final = "current"
_PREFIX: Final = "snapshot-"

# LMDB 0.9, mdb.c: a page header of 16 octets, then MDB_meta in the machine's own byte order.
_META: Final = struct.Struct("=16x II 16x I 92x QQ")  # magic, version, page size, last page, transaction
_MAGIC: Final = 0xBEEFC0DE
_VERSION: Final = 1


def find_current(folder: Path) -> Path | None:
    """The generation that is served; None when there is none yet."""
    try:
        target = os.readlink(folder / _LINK)
    except OSError:
        return None
    return folder / target


def new_generation(folder: Path) -> Path:
    """An empty folder to fill."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{_PREFIX}{secrets.token_hex(8)}"
        path.mkdir()
    except OSError as error:
        raise StorageError(f"cannot make a snapshot in {folder}: {error.strerror}") from error
    return path


def make_current(folder: Path, generation: Path) -> None:
    """In one step, and durable when this returns."""
    link = folder / f".{_LINK}-{secrets.token_hex(4)}"
    try:
        link.symlink_to(generation.name)
        link.replace(folder / _LINK)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}") from error


def remove_others(folder: Path, kept: Path) -> None:
    """What was half built, or served before. Who has it open goes on reading it."""
    for path in folder.glob(f"{_PREFIX}*"):
        if path.name != kept.name:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f".{_LINK}-*"):
        with suppress(OSError):
            path.unlink()


def check_file(generation: Path) -> None:
    """Raises ``IntegrityError`` when the file is not LMDB's, or shorter than its newest meta page says."""
    path = generation / DATA
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            metas = [_read_meta(file.read(_META.size))]
            file.seek(metas[0][0])
            metas.append(_read_meta(file.read(_META.size)))
    except (OSError, struct.error, ValueError) as error:
        raise IntegrityError(f"the snapshot in {generation} is damaged: {error}", hint=_HINT) from error
    page_size, last_page, _ = max(metas, key=lambda meta: meta[2])
    wanted = (last_page + 1) * page_size
    if size < wanted:
        raise IntegrityError(f"the snapshot in {generation} is cut short: {size} octets; wanted {wanted}", hint=_HINT)


_HINT: Final = "validation makes it again by itself, from the publication database"


def _read_meta(data: bytes) -> tuple[int, int, int]:
    magic, version, page_size, last_page, transaction = _META.unpack(data)
    if (magic, version) != (_MAGIC, _VERSION) or page_size.bit_count() != 1 or not 256 <= page_size <= 65536:
        raise ValueError("it is not an LMDB file")
    return page_size, last_page, transaction
