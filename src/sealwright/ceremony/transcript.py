"""The transcript: JSON lines, each the canonical form of one entry, each naming the SHA-256 of the line before.

Three journals have one face. ``Transcript`` writes, and is on the disk (fsync) before it returns, so that an intent is
there before the token is touched. ``Recorded`` is for replay: what is recorded again must be what stands there.
``Continued`` is the one and then the other: a ceremony that was interrupted is replayed up to where it ended, and goes
on. No secret comes here, and no hash of one. Who signs the last line's digest is ``signing``'s.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, Self

from sealwright.ceremony.clock import format_time, parse_time
from sealwright.durable import sync_folder
from sealwright.errors import Conflict, InputError, IntegrityError, StorageError
from sealwright.statements.canonical import canonical_bytes, parse_canonical

FIRST = "0" * 64
"""What the first line names as the line before it."""

LINE_LIMIT, LENGTH_LIMIT = 64 * 1024, 16 * 1024 * 1024

_CHAIN = frozenset({"n", "prev", "at", "entry"})


class Journal(Protocol):
    """Where a ceremony records. ``observed`` are fields that nobody can compute again, such as a token's serial."""

    @property
    def head(self) -> str:
        """SHA-256 of the last line."""

    def record(self, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None: ...

    def interrupted(self) -> bool:
        """Whether the ceremony was cut off exactly here. It has been taken up again when this returns."""

    def when_interrupted(self, take_up: Callable[[], None]) -> None:
        """What takes the ceremony up again, people and tokens, before it goes on."""


class Transcript:
    """The journal of a ceremony that is taking place."""

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path, self._clock = path, clock
        self._count, self.head, self._last = 0, FIRST, clock()
        self.step = 0
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
            _lock(self._file, path)
            sync_folder(path.parent)
        except FileExistsError as error:
            raise Conflict(f"{path} is there already; a transcript is never overwritten") from error
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error

    @classmethod
    def going_on(cls, path: Path, clock: Callable[[], datetime], written: "Written") -> Self:
        """Append after the lines that were read. What came of a line that was cut is taken away: it never counted."""
        self = cls.__new__(cls)
        self._path, self._clock = path, clock
        self._count, self.head, self.step = len(written.entries), written.head, 0
        self._last = max(clock(), parse_time(written.entries[-1]["at"], str(path)))
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
            _lock(self._file, path)
            if os.fstat(self._file).st_size != written.octets + written.torn:
                raise Conflict(f"{path} has grown since it was read", hint="is somebody else at it?")
            os.ftruncate(self._file, written.octets)
            os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error.strerror}") from error
        return self

    def interrupted(self) -> bool:
        return False

    def when_interrupted(self, take_up: Callable[[], None]) -> None:
        """What is taking place now is not interrupted; the process would be gone."""

    def record(self, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None:
        """Append one entry, durable when this returns. Raises ``StorageError`` when the disk cannot."""
        self._last = max(self._last, self._clock())  # a clock stepped back must not make a true record false
        line = canonical_bytes(
            {
                "n": self._count,
                "prev": self.head,
                "at": format_time(self._last),
                "entry": entry,
                **fields,
                **(observed or {}),
            }
        )
        try:
            written = os.write(self._file, line + b"\n")
            os.fsync(self._file)
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error
        if written != len(line) + 1:
            raise StorageError(f"cannot write {self._path}: the disk took {written} of {len(line) + 1} octets")
        self._count, self.head = self._count + 1, hashlib.sha256(line).hexdigest()
        self.step = fields.get("step", self.step)

    def close(self) -> None:
        os.close(self._file)


def _lock(file: int, path: Path) -> None:
    """One writer at a time; the lock dies with its process, whatever kills it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Conflict(
            f"{path} is being written by another process", hint="the ceremony is taking place: look for its terminal"
        ) from None


@dataclass(frozen=True, slots=True)
class Written:
    """A transcript as it lies there. ``octets``: of its whole lines; ``torn``: of what came of a line after them."""

    entries: tuple[dict[str, Any], ...]
    head: str
    octets: int
    torn: int


def parse_transcript(data: bytes) -> tuple[tuple[dict[str, Any], ...], str]:
    """The entries and the head (SHA-256 of the last line). Raises ``IntegrityError`` naming the line that is wrong."""
    written = parse_written(data)
    if written.torn:
        raise IntegrityError("the transcript ends in the middle of a line: it was cut, or the power failed")
    return written.entries, written.head


def parse_written(data: bytes) -> Written:
    """The same of a transcript whose last line may have been cut by a loss of power."""
    if len(data) > LENGTH_LIMIT or not data:
        raise IntegrityError(f"the transcript has {len(data)} octets; wanted 1 to {LENGTH_LIMIT}")
    octets = data.rfind(b"\n") + 1
    entries, head = _parse_lines(data[:octets]) if octets else ((), FIRST)
    return Written(entries, head, octets, len(data) - octets)


def _parse_lines(data: bytes) -> tuple[tuple[dict[str, Any], ...], str]:
    entries: list[dict[str, Any]] = []
    previous, moment = FIRST, ""
    for number, line in enumerate(data[:-1].split(b"\n")):
        where = f"transcript line {number + 1}"
        try:
            entry = parse_canonical(line, LINE_LIMIT)
        except InputError as error:
            raise IntegrityError(f"{where} is not canonical JSON: {error.message}") from error
        if entry.get("n") != number:
            raise IntegrityError(
                f"{where} says it is entry {entry.get('n')!r}; wanted {number}: a line is missing, doubled or moved"
            )
        if entry.get("prev") != previous:
            raise IntegrityError(f"{where} does not follow from the line before it: the chain is broken")
        at = entry.get("at")
        if not isinstance(at, str) or not isinstance(entry.get("entry"), str):
            raise IntegrityError(f"{where} has no time or no entry name")
        parse_time(at, where)
        if at < moment:
            raise IntegrityError(f"{where} is of {at}, before the line before it ({moment})")
        previous, moment = hashlib.sha256(line).hexdigest(), at
        entries.append(entry)
    return tuple(entries), previous


RESUMABLE = frozenset(
    {
        "TokenError",
        "TokenNotFound",
        "WrongPin",
        "StorageError",
        "NotFound",
        "InputError",
        "AccessDenied",
        "KeyboardInterrupt",
    }
)
"""What a ceremony may have stopped on and still be taken up: something that was not there, and no check that failed.

The step is then taken from its beginning, with every check it has. A check that failed stays failed: the record says
so, and in a replay it fails again.
"""


class Recorded:
    """The journal of a replay: hands out what was observed and refuses what does not come out again."""

    def __init__(self, entries: tuple[dict[str, Any], ...]) -> None:
        self._entries, self._place = entries, 0
        self._take_up: Callable[[], None] | None = None
        self.step = 0

    @property
    def head(self) -> str:
        if self._place < len(self._entries):
            return str(self._entries[self._place]["prev"])
        return hashlib.sha256(canonical_bytes(self._entries[-1])).hexdigest()

    def when_interrupted(self, take_up: Callable[[], None]) -> None:
        self._take_up = take_up

    def interrupted(self) -> bool:
        found = False
        while self.comes("resumed") or (self.comes("stopped") and self.comes("resumed", ahead=1)):
            if self._take_up is None:
                raise IntegrityError(f"transcript line {self._place + 1}: nothing was there yet that could be resumed")
            if self.comes("stopped"):
                self._pass_stop(self._entries[self._place])
            found = True
            self._take_up()
        return found

    def comes(self, entry: str, *, ahead: int = 0) -> bool:
        """Whether the line that comes now, or so many after it, is one of these."""
        place = self._place + ahead
        return place < len(self._entries) and self._entries[place]["entry"] == entry

    def _pass_stop(self, stop: Mapping[str, Any]) -> None:
        """A stop in the middle: it was of a kind that may be taken up, and where it says it was."""
        if stop.get("error") not in RESUMABLE:
            raise IntegrityError(
                f"transcript line {self._place + 1}: the ceremony stopped on {stop.get('error')!r:.60} and went on",
                hint="a check that failed cannot be waived",
            )
        self._place += 1
        self._compare(stop, {"step": self.step, "error": stop["error"], "message": str(stop.get("message"))})

    def next(self, entry: str) -> dict[str, Any]:
        """The entry that comes now, which must be of this name. Does not move on."""
        self.interrupted()
        if self._place >= len(self._entries):
            raise IntegrityError(f"the transcript ends where {entry!r} was to come")
        recorded = self._entries[self._place]
        if recorded["entry"] != entry:
            raise IntegrityError(
                f"transcript line {self._place + 1} is {recorded['entry']!r}; the script gives {entry!r} here"
            )
        return recorded

    def record(self, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None:
        recorded = self._entries[self._place] if entry == "resumed" and self.comes("resumed") else self.next(entry)
        self._compare(recorded, {**fields, **(observed or {})})
        self._place += 1
        self.step = fields.get("step", self.step)

    def _compare(self, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        where = f"transcript line {recorded['n'] + 1} ({recorded['entry']})"
        for name in sorted((set(recorded) | set(wanted)) - _CHAIN):
            if name not in recorded or name not in wanted:
                raise IntegrityError(f"{where} {'lacks' if name not in recorded else 'has'} the field {name!r}")
            if recorded[name] != wanted[name]:
                raise IntegrityError(
                    f"{where} says {name} is {_short(recorded[name])}; done again it is {_short(wanted[name])}"
                )

    def stopped_here(self) -> bool:
        """Whether all has come out again up to the last line, which says that the ceremony stopped in this step."""
        if not self._ends_in_a_stop():
            return False
        stop = self._entries[self._place]
        self._compare(stop, {"step": self.step, "error": stop.get("error"), "message": stop.get("message")})
        return True

    def _ends_in_a_stop(self) -> bool:
        return self._place == len(self._entries) - 1 and self.comes("stopped")

    def finish(self) -> None:
        """Raises ``IntegrityError`` when something stands after the end."""
        if self._place != len(self._entries):
            raise IntegrityError(f"transcript line {self._place + 1} comes after the ceremony's end")


class Continued(Recorded):
    """The journal of a ceremony that is taken up again: recorded until there is no more, then written.

    ``live`` begins with the take-up itself: the people are asked who they are before anything else happens.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime], written: Written) -> None:
        super().__init__(written.entries)
        self._go_on: Callable[[], Transcript] = lambda: Transcript.going_on(path, clock, written)
        self._transcript: Transcript | None = None

    @property
    def live(self) -> bool:
        return self._transcript is not None

    @property
    def head(self) -> str:
        return self._transcript.head if self._transcript else super().head

    def interrupted(self) -> bool:
        if self._transcript:
            return False
        found = super().interrupted()
        if self.live or (self._place < len(self._entries) and not self._ends_in_a_stop()):
            return found
        if self._take_up is None:
            raise IntegrityError("nothing had begun that could be resumed")
        if self._ends_in_a_stop():
            self._pass_stop(self._entries[self._place])
        self._transcript = self._go_on()
        self._transcript.step = self.step
        self._take_up()
        return True

    def record(self, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None:
        if not (self.live or (entry == "resumed" and self.comes("resumed"))):
            self.interrupted()
        if self._transcript:
            self._transcript.record(entry, fields, observed)
        else:
            super().record(entry, fields, observed)

    def close(self) -> None:
        if self._transcript:
            self._transcript.close()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "..."
