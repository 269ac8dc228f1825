"""The quickstart's folder: what is where in it, which chapters are done, and on which ports its PKI answers.

A second run on the same folder reads ``quickstart.json`` and goes on where the first stopped: what exists is never
made again.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import typer

from sealwright.errors import Conflict, InputError, StorageError
from sealwright.hsm.module import find_softhsm

_ROOM = 8 << 20
_UNFIT = re.compile(r'[\x00-\x1f\x7f"\\;%?#]')
"""Not in the folder's path: TOML, database URLs and PKCS#11 URIs have it in them, and would take it for their own."""
_STATE = "quickstart.json"
_COMMANDS = ".commands"
_BEFORE_THE_STATE = frozenset({_COMMANDS, f".{_STATE}.new"})
"""What a run that is killed at its very beginning leaves."""
_LAST_RUN_SECONDS = 60.0
"""As long as what a killed run had begun may take to end."""
REGISTRY_PORT, VALIDATION_PORT = 8790, 8780


@dataclass(slots=True)
class State:
    """``done`` holds the titles' keys of the chapters that are complete; ``facts`` what later chapters need of them."""

    registry_port: int
    validation_port: int
    done: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    folder: Path
    state: State
    lock: int
    """The folder, open and locked: no other quickstart tells chapters of it meanwhile."""
    commands: int
    """A file, open and locked, that the story's commands inherit: while one of a killed run is still at work, the next
    run waits."""

    ca = property(lambda self: self.folder / "ca")
    tokens = property(lambda self: self.folder / "tokens")
    pins = property(lambda self: self.folder / "pins")
    ceremonies = property(lambda self: self.folder / "ceremonies")
    people = property(lambda self: self.folder / "people")
    pki = property(lambda self: self.folder / "pki")
    work = property(lambda self: self.folder / "work")
    evidence = property(lambda self: self.folder / "evidence")

    @property
    def registry(self) -> str:
        return f"http://127.0.0.1:{self.state.registry_port}"

    @property
    def validation(self) -> str:
        return f"http://127.0.0.1:{self.state.validation_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What SoftHSM reads, and OpenSSL's PKCS#11 engine."""
        return {"SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"), "PKCS11_MODULE_PATH": str(find_softhsm())}

    def key(self, person: str) -> Path:
        """A person's SSH key."""
        return self.folder / "people" / person

    def public_key(self, person: str) -> str:
        """Of that SSH key: kind and base64, without the comment."""
        return " ".join(self.key(person).with_suffix(".pub").read_text(encoding="ascii").split()[:2])

    def home(self, person: str) -> dict[str, str]:
        """The environment in which ``sealwright`` is that person's."""
        return {"SEALWRIGHT_HOME": str(self.folder / "people" / f"{person}-home")}

    def record(self, kind: str) -> Path:
        """The record of a ceremony's rehearsal."""
        return self.folder / "ceremonies" / kind / "record"

    def is_done(self, chapter: str) -> bool:
        return chapter in self.state.done

    def finish(self, chapter: str, **facts: str) -> None:
        """Remember that a chapter is complete, durably enough that a kill at any moment leaves a readable file."""
        self.state.facts.update(facts)
        self.state.done.append(chapter)
        self._save()

    def forget(self, *chapters: str) -> None:
        """These chapters are to be told again."""
        self.state.done[:] = [key for key in self.state.done if key not in chapters]
        self._save()

    def remember(self, **facts: str) -> None:
        """Facts of a chapter that is not complete yet: what a second try must not make again."""
        self.state.facts.update(facts)
        self._save()

    def _save(self) -> None:
        new = self.folder / f".{_STATE}.new"
        new.write_text(json.dumps(asdict(self.state), indent=2) + "\n", encoding="utf-8")
        new.rename(self.folder / _STATE)

    def let_others_in(self) -> None:
        """All is told: whoever comes now finds a PKI that runs. (The end of this process lets them in, too.)"""
        os.close(self.lock)
        os.close(self.commands)

    def make_pin(self, name: str) -> Path:
        """A random PIN in a file of its own that only this uid can read; an existing one stays."""
        self.pins.mkdir(mode=0o700, exist_ok=True)
        path: Path = self.pins / f"{name}.pin"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(f"{secrets.randbelow(10**12):012d}", encoding="ascii")
        return path


def open_place(folder: Path) -> Place:
    """The folder, new or as the last run left it.

    Raises ``StorageError`` when it cannot be written, ``InputError`` when it holds something else or its name is unfit,
    ``Conflict`` when another quickstart is at work in it.
    """
    if unfit := _UNFIT.search(str(folder)):
        raise InputError(
            f"the path {str(folder)!r} has {unfit[0]!r} in it, which configuration files and URIs read as their own",
            hint="name another folder with --dir",
        )
    state = folder / _STATE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        if state.exists():
            known = State(**json.loads(state.read_text(encoding="utf-8")))
            return Place(folder, known, lock, _lock_commands(folder))
        if any(each.name not in _BEFORE_THE_STATE for each in folder.iterdir()):
            raise InputError(f"{folder} is not empty and no quickstart made it", hint="name a new folder with --dir")
        if (free := shutil.disk_usage(folder).free) < _ROOM:
            with suppress(OSError):  # a run that was killed at once left something of ours there
                folder.rmdir()
            raise StorageError(
                f"{folder} has {free // 1024} KiB of room; a rehearsal takes {_ROOM // 1024}",
                hint="name a folder on a disk with room, with --dir",
            )
        ports = State(_free_port(REGISTRY_PORT), _free_port(VALIDATION_PORT))
        place = Place(folder, ports, lock, _lock_commands(folder))
        place._save()  # this function is its constructor
    except OSError as error:
        raise StorageError(
            f"cannot write in {folder}: {error.strerror}", hint="name a folder on a disk with room, with --dir"
        ) from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{state} cannot be read: {error}", hint="name a new folder with --dir") from error
    return place


def _lock(folder: Path) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Conflict(
            f"another quickstart is at work in {folder}", hint="wait for it, or name another folder with --dir"
        ) from None
    return handle


def _lock_commands(folder: Path) -> int:
    handle = os.open(folder / _COMMANDS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until, told = time.monotonic() + _LAST_RUN_SECONDS, False
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                told = True
                typer.echo(f"a command that an earlier run began is still at work in {folder}: waiting", err=True)
            if time.monotonic() > until:
                os.close(handle)
                raise Conflict(
                    f"a command that an earlier run began is still at work in {folder}",
                    hint="wait for it; `fuser` says which process it is",
                ) from None
            time.sleep(0.1)
        else:
            return handle


def _free_port(wanted: int) -> int:
    """The wanted port, or any free one: it goes into certificates now, so it stays what it is from here on."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise StorageError("this machine has no free port on loopback")
