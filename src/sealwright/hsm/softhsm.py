"""SoftHSM's store: which one the module looks into, and a token in it as the folder that it is, copied or erased.

SoftHSM reads ``SOFTHSM2_CONF`` when it is initialised, so one process sees one store at a time, and changes to another
while nobody is logged in. A copy is whole or not there: written beside, fsynced, put in place by one rename. It is the
only token whose copy is a program's work; every other is cloned by its maker's tool. Keys are never wrapped out.
"""

import os
import re
import shutil
import stat
from pathlib import Path

from sealwright.durable import sync_folder, write_new
from sealwright.errors import Conflict, InputError, StorageError, TokenError, TokenNotFound
from sealwright.hsm.module import load_module

CONF = "SOFTHSM2_CONF"
_TOKENDIR = re.compile(r"(?m)^\s*directories\.tokendir\s*=\s*(\S.*?)\s*$")
_COPIED, _ERASED = "copied", "erased"


def current_store() -> Path | None:
    """The configuration that this process names, if it names one."""
    return Path(os.environ[CONF]) if os.environ.get(CONF) else None


def use_store(module: Path, conf: Path) -> None:
    """From now on the module's tokens are those of this store. Raises ``TokenError`` while somebody is logged in."""
    before, conf = os.environ.get(CONF), conf.absolute()
    os.environ[CONF] = str(conf)
    loaded = load_module(module)
    if loaded.store == str(conf):
        return
    if not loaded.idle:
        os.environ[CONF] = before or ""
        raise TokenError(
            f"this process is logged in to a token of the SoftHSM store {loaded.store}; it cannot change to {conf}",
            hint="close that token first, or use another process",
        )
    loaded.reinitialise(loaded.generation)


def make_store(conf: Path) -> None:
    """An empty store, where there is none yet. Raises ``StorageError``."""
    conf = conf.absolute()
    tokens = conf.parent / "tokens"
    try:
        if not conf.exists():
            conf.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            tokens.mkdir(mode=0o700, exist_ok=True)
            text = f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
            write_new(conf, text.encode())
    except OSError as error:
        raise StorageError.of(error, f"cannot make the token store at {conf}", hint="name another place") from error


def copy_token(source: Path, serial: str, destination: Path) -> None:
    """The token's folder into another store, on the disk when this returns. ``source``, ``destination``: their conf.

    Raises ``TokenNotFound``, ``Conflict`` when a token of that number is there, ``StorageError``.
    """
    folder = _folder(source, serial)
    if folder is None:
        raise TokenNotFound(f"the SoftHSM store {source} has no token with serial number {serial}")
    make_store(destination)
    place = _tokens(destination)
    if _folder(destination, serial) is not None:
        raise Conflict(
            f"the SoftHSM store {destination} has a token with serial number {serial}",
            hint="a copy is never written over another: name an empty store",
        )
    draft = place.parent / f".{folder.name}.{_COPIED}"
    try:
        shutil.rmtree(draft, ignore_errors=True)  # what came of a copy that was cut off
        draft.mkdir(mode=0o700)
        for path in sorted(folder.iterdir()):
            _copy_file(path, draft / path.name)
        sync_folder(draft)
        draft.rename(place / folder.name)
        sync_folder(place)
        sync_folder(place.parent)
    except OSError as error:
        raise StorageError.of(error, f"cannot copy the token {serial} to {place}") from error


def has_token(conf: Path, serial: str) -> bool:
    """Whether this store has the token. It is there whole, or not at all."""
    return conf.is_file() and _folder(conf, serial) is not None


def erase_token(conf: Path, serial: str) -> None:
    """The token's folder is gone when this returns, overwritten first: for what that is worth on the disk it is on.

    May be called again after it was cut off. Raises ``StorageError``.
    """
    place = _tokens(conf)
    try:
        folder = _folder(conf, serial)
        if folder is not None:
            folder.rename(place.parent / f".{folder.name}.{_ERASED}")
            sync_folder(place)
        for left in place.parent.glob(f".*.{_ERASED}"):
            for path in left.iterdir():
                _overwrite(path)
            shutil.rmtree(left)
        sync_folder(place.parent)
    except OSError as error:
        raise StorageError.of(error, f"cannot erase the token {serial} in {place}") from error


def _tokens(conf: Path) -> Path:
    try:
        found = _TOKENDIR.search(conf.read_text())
    except OSError as error:
        raise StorageError.of(error, f"cannot read {conf}") from error
    if found is None:
        raise InputError(f"{conf} has no directories.tokendir: it is not a SoftHSM configuration")
    return Path(found[1])


def _folder(conf: Path, serial: str) -> Path | None:
    """SoftHSM names a token's folder with a UUID that ends with its serial number."""
    if not serial:
        raise InputError("a token without a serial number is not looked for")
    place = _tokens(conf)
    found = [path for path in place.iterdir() if path.is_dir() and path.name.replace("-", "").endswith(serial)]
    return found[0] if found else None


def _copy_file(path: Path, copy: Path) -> None:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise StorageError(f"{path} is no file: a token's folder has nothing else in it")
    handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(path.read_bytes())
        file.flush()
        os.fsync(file.fileno())


def _overwrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
