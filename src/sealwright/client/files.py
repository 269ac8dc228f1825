"""Files of the client: durable, and never over others unless that is asked for."""

import os
from collections.abc import Mapping
from pathlib import Path

from sealwright.durable import replace_file, write_new
from sealwright.errors import Conflict, StorageError


def write_file(path: Path, data: bytes, *, mode: int = 0o644, replace: bool = False) -> None:
    """Raises ``Conflict`` when ``path`` is there and is not to be replaced, ``StorageError`` when it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError.of(error, f"cannot write {path}") from error
    if replace:
        replace_file(path, data, mode=mode)
    else:
        write_new(path, data, mode=mode)


def write_new_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """All of them; ``Conflict`` before the first when one is there already."""
    if os.path.lexists(folder) and not folder.is_dir():
        raise Conflict(f"{folder} is there, and is no folder", hint="name another folder with --out")
    paths = tuple(folder / name for name in files)
    for path in paths:
        if os.path.lexists(path):
            raise Conflict(f"{path} exists", hint="nothing is overwritten: name another folder with --out")
    for path, data in zip(paths, files.values(), strict=True):
        write_file(path, data)
    return paths
