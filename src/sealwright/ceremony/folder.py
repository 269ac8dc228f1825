"""The ceremony's folder, and the record's: which file is where, read with bounds, never overwritten.

A ceremony folder has ``script.toml``, ``site.toml``, ``inputs/`` and, once prepared, ``prepared.json``. Each time it is
performed there comes a record beside them (``rehearsal-1``, ``production-1``): a folder that is complete by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sealwright.ceremony.prepared import Mode, Prepared, parse_prepared
from sealwright.ceremony.script import Script, parse_script
from sealwright.ceremony.site import Site, parse_site
from sealwright.durable import read_file, sync_folder, write_new
from sealwright.errors import Conflict, InputError, NotFound, NotReady, StorageError

SCRIPT, SITE, PREPARED, INPUTS, OUTPUTS, QUARANTINE, TRANSCRIPT = (
    "script.toml",
    "site.toml",
    "prepared.json",
    "inputs",
    "outputs",
    "quarantine",
    "transcript.jsonl",
)


def make_folder(path: Path) -> None:
    """A new folder. Raises ``Conflict`` when it is there, ``StorageError`` when it cannot be made."""
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise Conflict(f"{path} exists already", hint="name a folder that is not there yet") from None
    except OSError as error:
        raise StorageError(f"cannot make {path}: {error.strerror}", hint="is the folder above it writable?") from error


@dataclass(frozen=True, slots=True)
class CeremonyFolder:
    """A folder whose files could all be read. Whether they fit together is for ``check`` and ``replay``."""

    path: Path
    script: Script
    site: Site
    prepared: Prepared
    inputs: Mapping[str, bytes]
    files: Mapping[str, bytes]
    """``script.toml``, ``site.toml`` and ``prepared.json`` as they were read: what goes into the record."""


def read_script(path: Path) -> Script:
    if not path.is_dir():
        raise NotFound(f"{path} is not a folder", hint="`sealwright-ceremony new KIND FOLDER` makes one")
    hint = "a ceremony folder has script.toml; `sealwright-ceremony new KIND FOLDER` makes one"
    return parse_script(read_file(path / SCRIPT, hint=hint), source=str(path / SCRIPT))


def read_inputs(path: Path, script: Script) -> dict[str, bytes]:
    """Every input of the script, and nothing that is not on its list."""
    lacking = [name for name in script.inputs if not (path / INPUTS / name).is_file()]
    if lacking:
        raise NotFound(
            f"{path / INPUTS} lacks {', '.join(lacking)}",
            hint="copy them in, or name them with `new --input NAME=PATH`",
        )
    strange = sorted(found.name for found in (path / INPUTS).iterdir() if found.name not in script.inputs)
    if strange:
        raise InputError(f"{path / INPUTS} has {', '.join(strange)}, which the script does not name")
    return {name: read_file(path / INPUTS / name) for name in script.inputs}


def read_laid_down(path: Path) -> dict[str, bytes]:
    """What an interrupted ceremony left in its record: in quarantine, or promoted already."""
    place = path / (OUTPUTS if (path / OUTPUTS).is_dir() else QUARANTINE)
    if not place.is_dir():
        return {}
    return {found.name: read_file(found) for found in sorted(place.iterdir()) if not found.name.startswith(".")}


def load_folder(path: Path, *, site_folder: Path | None = None) -> CeremonyFolder:
    """Read a prepared ceremony. ``site_folder``: where the relative paths of its site start from.

    Raises ``NotReady`` when it is not prepared, and what reading raises.
    """
    script = read_script(path)
    if not (path / PREPARED).is_file():
        raise NotReady(f"{path} is not prepared", hint=f"run `sealwright-ceremony prepare {path}`")
    files = {name: read_file(path / name) for name in (SCRIPT, SITE, PREPARED)}
    return CeremonyFolder(
        path,
        script=parse_script(files[SCRIPT], source=str(path / SCRIPT)),
        site=parse_site(files[SITE], folder=site_folder or path.absolute(), source=str(path / SITE)),
        prepared=parse_prepared(files[PREPARED], source=str(path / PREPARED)),
        inputs=read_inputs(path, script),
        files=files,
    )


def next_record(path: Path, mode: Mode) -> Path:
    """Where the next record of this mode goes: ``rehearsal-1``, ``rehearsal-2``, ..."""
    number = 1
    while (path / f"{mode.lower()}-{number}").exists():
        number += 1
    return path / f"{mode.lower()}-{number}"


def begin_record(folder: CeremonyFolder, record: Path) -> None:
    """Make the record's folder, with copies of all that the ceremony is made from."""
    make_folder(record)
    try:
        for name, data in folder.files.items():
            write_new(record / name, data)
        (record / INPUTS).mkdir()
        for name, data in folder.inputs.items():
            write_new(record / INPUTS / name, data)
        (record / QUARANTINE).mkdir()
    except OSError as error:
        raise StorageError(f"cannot write {record}: {error.strerror}") from error
    sync_folder(record)
