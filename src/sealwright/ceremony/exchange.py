"""What is carried between rooms: exchange folders with a manifest, and refused when anything is not on it.

A medium has two folders, ``in/`` for what goes into the root's room and ``out/`` for what leaves it, so that nothing
that came in is taken for something that was made there. ``manifest.json`` (canonical) has each file's length and
SHA-256; its own digest is what two people compare over a second channel.

Reading copies out of the bytes that were checked. A medium is foreign: links, devices, extra files, names with tricks
in them and anything longer than was said are refused before a byte is written.
"""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, ValidationError

from sealwright.ceremony.clock import format_time
from sealwright.ceremony.prepared import SHA256, Time
from sealwright.durable import read_file, sync_folder
from sealwright.errors import Conflict, InputError, IntegrityError, NotFound, StorageError
from sealwright.pki.tomlfile import Table
from sealwright.statements.canonical import canonical_bytes, parse_canonical

MANIFEST = "manifest.json"
FILE_LIMIT, FILES_LIMIT, TOTAL_LIMIT = 16 << 20, 1000, 64 << 20
"""Octets of one file, files, octets of all of them. A whole life of ceremony records is shorter."""

_MANIFEST_LIMIT, _DEEPEST = 1 << 20, 8
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Of a path: no hidden file, no blank, nothing that FAT or a shell would read differently."""


class Direction(StrEnum):
    """As seen from the root's room."""

    IN = "in"
    OUT = "out"


class _File(Table):
    size: Annotated[int, Field(ge=0, le=FILE_LIMIT)]
    sha256: SHA256


class _ManifestFile(Table):
    version: Annotated[int, Field(ge=1, le=1)]
    direction: Direction
    at: Time
    files: Annotated[dict[str, _File], Field(min_length=1, max_length=FILES_LIMIT)]


@dataclass(frozen=True, slots=True)
class Manifest:
    """``sha256`` is of the manifest's bytes: who knows it knows every file."""

    direction: Direction
    at: str
    files: dict[str, tuple[int, str]]
    sha256: str


def write_exchange(medium: Path, direction: Direction, sources: Sequence[Path], at: datetime) -> Manifest:
    """Lay files and whole folders down in ``medium/in`` or ``medium/out``, by their own names, with a manifest.

    Raises ``Conflict`` when that folder is there, ``InputError`` for what cannot be carried; then nothing is written.
    """
    carried: dict[str, bytes] = {}
    for source in sources:
        for name, path in _walk(source, PurePosixPath(source.absolute().name)):
            _take(carried, name, _read_plain(path))
    _check_whole(carried)
    place = medium / direction
    manifest = canonical_bytes(
        {
            "version": 1,
            "direction": direction,
            "at": format_time(at),
            "files": {
                name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in carried.items()
            },
        }
    )
    if not medium.is_dir():
        raise NotFound(f"{medium} is not a folder", hint="is the medium mounted?")
    _write_whole(place, {**carried, MANIFEST: manifest})
    return _parse(manifest, direction)


def read_exchange(medium: Path, direction: Direction, destination: Path, *, sha256: str | None = None) -> Manifest:
    """Check ``medium/in`` or ``medium/out`` against its manifest, and copy it to a new folder, whole or not at all.

    ``sha256``: what the manifest's digest has to be, from another channel. Raises ``IntegrityError`` naming what is
    not as the manifest says, ``Conflict`` when ``destination`` is there, ``NotFound``, ``InputError``.
    """
    place = medium / direction
    data = read_file(place / MANIFEST, limit=_MANIFEST_LIMIT, hint="`sealwright-ceremony media write` makes one")
    manifest = _parse(data, direction)
    if sha256 is not None and sha256 != manifest.sha256:
        raise IntegrityError(
            f"the manifest on {medium} has SHA-256 {manifest.sha256}; told was {sha256}",
            hint="this is not the medium that was written, or not as it was written: ask who wrote it",
        )
    there = dict(islice(_walk(place, PurePosixPath()), FILES_LIMIT + 2))
    there.pop(MANIFEST, None)
    if extra := sorted(there.keys() - manifest.files.keys()):
        raise _refused(medium, f"{extra[0]} is there and is not on the manifest")
    if lacking := sorted(manifest.files.keys() - there.keys()):
        raise _refused(medium, f"{lacking[0]} is on the manifest and is not there")
    carried = {}
    for name, (size, digest) in manifest.files.items():
        octets = _read_plain(there[name])
        if len(octets) != size or hashlib.sha256(octets).hexdigest() != digest:
            raise _refused(medium, f"{name} is not what the manifest says: {len(octets)} octets, other bytes")
        carried[name] = octets
    _check_whole(carried)
    _write_whole(destination, carried)
    return manifest


def _refused(medium: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"{medium}: {what}", hint="nothing was copied; keep the medium as it is, and ask who wrote it for another"
    )


def _parse(data: bytes, direction: Direction) -> Manifest:
    try:
        file = _ManifestFile.model_validate_json(canonical_bytes(parse_canonical(data, _MANIFEST_LIMIT)))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(f"{MANIFEST}: field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except InputError as error:
        raise InputError(f"{MANIFEST}: {error.message}") from None
    if file.direction is not direction:
        raise InputError(
            f"the manifest is of `{file.direction}`, and lies in {direction}/",
            hint="what came in is never taken for what goes out",
        )
    for name in file.files:
        _check_name(PurePosixPath(name), name)
    files = {name: (each.size, each.sha256) for name, each in file.files.items()}
    return Manifest(file.direction, file.at, files, hashlib.sha256(data).hexdigest())


def _walk(path: Path, name: PurePosixPath) -> Iterator[tuple[str, Path]]:
    """Every file below, by its relative name. Raises ``InputError`` for a link, a device, or a name with tricks."""
    try:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode):
            _check_name(name, str(path))
            yield str(name), path
        elif stat.S_ISDIR(found.st_mode):
            entries = sorted(path.iterdir())
            if name.parts:
                _check_name(name, str(path))
            if not entries:
                raise InputError(f"{path} is an empty folder", hint="only files are carried")
            for entry in entries:
                yield from _walk(entry, name / entry.name)
        else:
            what = "a link" if stat.S_ISLNK(found.st_mode) else "neither a file nor a folder"
            raise InputError(f"{path} is {what}", hint="only plain files are carried between rooms")
    except FileNotFoundError:
        raise NotFound(f"{path} is not there") from None
    except OSError as error:
        raise StorageError.of(error, f"cannot read {path}") from error


def _check_name(name: PurePosixPath, said: str) -> None:
    plain = all(_PART.fullmatch(part) and not part.endswith(".") for part in name.parts)
    if not name.parts or not plain or name.is_absolute() or len(name.parts) > _DEEPEST:
        raise InputError(
            f"{said!a} is not a name that can be carried",
            hint="letters, digits, dots, dashes and underscores, none of them hidden, eight folders deep at most",
        )


def _read_plain(path: Path) -> bytes:
    """No link is followed and no device is waited for, also when it is exchanged for one while we look."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path} is no plain file", hint="only plain files are carried between rooms")
            data = file.read(FILE_LIMIT + 1)
    except OSError as error:
        raise StorageError.of(error, f"cannot read {path}") from error
    if len(data) > FILE_LIMIT:
        raise InputError(f"{path} has over {FILE_LIMIT} octets", hint="nothing that a ceremony needs is that long")
    return data


def _take(carried: dict[str, bytes], name: str, data: bytes) -> None:
    if name in carried:
        raise InputError(f"two of the files are called {name}", hint="carry the folders that they are in")
    carried[name] = data


def _check_whole(carried: dict[str, bytes]) -> None:
    if not carried:
        raise InputError("there is nothing to carry")
    if len(carried) > FILES_LIMIT or sum(map(len, carried.values())) > TOTAL_LIMIT:
        raise InputError(f"over {FILES_LIMIT} files, or over {TOTAL_LIMIT} octets", hint="carry it in two parts")
    if MANIFEST in carried:
        raise InputError(f"a file is called {MANIFEST}", hint="that is the manifest's own name")
    folded = sorted(carried, key=str.casefold)
    for one, other in pairwise(folded):
        if one.casefold() == other.casefold():
            raise InputError(f"{one} and {other} differ in capitals only", hint="a FAT medium would hold one of them")


def _write_whole(place: Path, files: dict[str, bytes]) -> None:
    """The folder appears with everything in it, or not at all."""
    if place.exists() or place.is_symlink():
        raise Conflict(f"{place} exists already", hint="take an empty medium, or a folder that is not there yet")
    draft = None
    try:
        draft = Path(tempfile.mkdtemp(prefix=".exchange-", dir=place.parent))
        for name, data in files.items():
            path = draft / "whole" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:  # FAT has no hard links, which `folder.write_new` needs
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(path.parent)
        (draft / "whole").rename(place)
        sync_folder(place.parent)
    except OSError as error:
        raise StorageError.of(error, f"cannot write {place}", hint="is the medium full, or read-only?") from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
