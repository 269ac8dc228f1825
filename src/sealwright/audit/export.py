"""An export: a folder, or a zip file of one, with the trust of a PKI and its ledger as c2sp.org/tlog-tiles has it.

  anchor.json root.pem issuing.pem     whose ledger this is; believed as far as the PKI id that is known otherwise
  checkpoint                           the signed note
  tile/entries/<N>[.p/<W>]             the entries
  tile/<L>/<N>[.p/<W>]                 their hashes: with them a change is found to its entry

Nothing is believed of it here; ``verify`` does that. The same ledger gives the same octets twice.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from sealwright.errors import Conflict, InputError, NotFound, StorageError
from sealwright.ledger.bundles import BUNDLE, ENTRY_LIMIT, split_bundle
from sealwright.ledger.tiles import CHECKPOINT, Tile, bundles_of, hash_tiles_of, parse_tile

TRUST: Final = ("anchor.json", "root.pem", "issuing.pem")
FILE_LIMIT: Final = BUNDLE * (ENTRY_LIMIT + 2)
"""Octets. No file of an export is longer than a bundle of the longest entries."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


class Export(Protocol):
    """Where an export's files come from."""

    def names(self) -> frozenset[str]: ...

    def read(self, name: str) -> bytes:
        """Raises ``NotFound``, ``InputError`` for one that is too long."""


class FolderExport:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> frozenset[str]:
        files = (path for path in self._folder.rglob("*") if path.is_file() or path.is_symlink())
        return frozenset(path.relative_to(self._folder).as_posix() for path in files)

    def read(self, name: str) -> bytes:
        path = self._folder / name
        try:
            with path.open("rb") as file:
                data = file.read(FILE_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"the export has no file {name}") from None
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        return _bounded(name, data)


_DAMAGED: Final = (
    *(zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, OverflowError),
    *(LookupError, struct.error, zlib.error, lzma.LZMAError),
)
"""What zipfile raises for a file that was damaged: it seeks, unpacks and decodes wherever the octets lead it."""


class ZipExport:
    def __init__(self, file: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except _DAMAGED as error:
            raise InputError(f"{file} is neither a folder nor a zip file: {error}") from None
        names = self._zip.namelist()
        if len(set(names)) != len(names):
            raise InputError(f"{file} has two files of one name")

    def names(self) -> frozenset[str]:
        return frozenset(name for name in self._zip.namelist() if not name.endswith("/"))

    def read(self, name: str) -> bytes:
        try:
            with self._zip.open(name) as file:
                return _bounded(name, file.read(FILE_LIMIT + 1))
        except KeyError:
            raise NotFound(f"the export has no file {name}") from None
        except _DAMAGED as error:
            raise InputError(f"{name} cannot be unpacked: {error}") from None


def _bounded(name: str, data: bytes) -> bytes:
    if len(data) > FILE_LIMIT:
        raise InputError(f"{name} is longer than {FILE_LIMIT} octets; no file of an export is")
    return data


def open_export(path: Path) -> Export:
    if path.is_dir():
        return FolderExport(path)
    if path.is_file():
        return ZipExport(path)
    raise NotFound(f"there is no export {path}", hint="`sealwright audit export` makes one")


def pack_export(export: Export, file: Path) -> None:
    """The zip file of an export. Raises ``Conflict`` where there is one."""
    size = read_size(export)
    names = sorted(name for name in export.names() if belongs(name, size))
    try:
        with file.open("xb") as target, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for name in names:
                member = zipfile.ZipInfo(name, _EPOCH)
                member.compress_type = zipfile.ZIP_DEFLATED
                member.external_attr = 0o644 << 16
                packed.writestr(member, export.read(name))
    except FileExistsError:
        raise Conflict(f"{file} exists", hint="nothing is overwritten: name another file") from None
    except OSError as error:
        raise StorageError(f"cannot write {file}: {error.strerror}") from error


def read_checkpoint(export: Export) -> str:
    try:
        return export.read(CHECKPOINT).decode()
    except UnicodeDecodeError:
        raise InputError("checkpoint is not text") from None


def read_size(export: Export) -> int:
    """How many entries the checkpoint speaks of, before anything of it is verified. Raises ``InputError``."""
    lines = read_checkpoint(export).split("\n")
    if len(lines) < 2 or not lines[1].isascii() or not lines[1].isdecimal() or len(lines[1]) > 12:
        raise InputError("checkpoint has no size on its second line")
    return int(lines[1])


def wanted_names(size: int) -> Iterator[str]:
    """Every file that an export of this size has. Lazily: nobody has vouched for the size."""
    yield from (*TRUST, CHECKPOINT)
    yield from (tile.name for tile in bundles_of(size))
    yield from (tile.name for tile in hash_tiles_of(size))


def belongs(name: str, size: int) -> bool:
    """Whether ``wanted_names`` has it."""
    tile = parse_tile(name)
    if tile is None:
        return name in TRUST or name == CHECKPOINT
    return tile.is_in(size) and (tile.is_full or tile.end == size >> tile.height)


def read_bundle(export: Export, tile: Tile) -> list[bytes]:
    """The entries of a bundle. Raises ``InputError`` unless they are exactly as many as its name says."""
    data = export.read(tile.name)
    entries, end = split_bundle(data)
    if len(entries) != tile.width or end != len(data):
        raise InputError(f"it has {len(entries)} entries and {len(data) - end} octets more; wanted {tile.width} and 0")
    return entries


def read_entries(export: Export) -> Iterator[bytes]:
    """All entries, in order. Raises ``InputError``, ``NotFound``."""
    for tile in bundles_of(read_size(export)):
        yield from read_bundle(export, tile)
