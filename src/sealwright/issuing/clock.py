"""What time it is, as far as the machine's clock can be believed.

Whoever sets the clock of the signer would choose which roster is in force, which statement has expired, when a blackout
is over and when a certificate ends, and one entry of a year to come would end all issuance until that year. So three
witnesses are heard (ADR 0010):

- the **ledger**: its last time is never gone back behind, and a signer that starts more than ``AWAY`` after it was away
  for longer than a long weekend, or has a wrong clock: a person has to say which;
- the **steady clock** since boot, which nobody sets: while the signer runs, the clock may differ from it by ``STEP``;
- the **operator's word** (``sealwrightd clock --time``): the time by another watch, good for ``WORD``, put on record.

While the clock is not believed nothing is issued. Removal goes on, by the last time believed and what passed since.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from sealwright.durable import replace_file
from sealwright.errors import InputError, PolicyViolation
from sealwright.ledger.entries import ClockEntry
from sealwright.statements.wire import format_time, parse_time

if TYPE_CHECKING:
    from sealwright.issuing.authority import IssuingAuthority

Clock = Callable[[], datetime]
Steady = Callable[[], float]

TOLERANCE: Final = timedelta(seconds=5)
"""The clock may stand this far behind the last entry."""
STEP: Final = timedelta(hours=1)
"""The clock may move this far from the steady one: NTP came late, or a virtual machine was paused."""
AWAY: Final = timedelta(days=3)
"""A signer may have been off this long. Its CRLs live longer: a person has time to act before they end."""
WORD: Final = timedelta(hours=1)
"""An operator's word is for this long before and after the time that it names."""

WORD_FILE: Final = "clock"
"""In the installed folder: the operator's word. The signer reads it and does not own it."""


log = logging.getLogger("sealwright.signer")


def system_clock() -> datetime:
    """Now, in UTC and whole seconds, as certificates write it."""
    return datetime.now(UTC).replace(microsecond=0)


def boot_time() -> float:
    """Seconds since boot, sleep included. Nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Reading:
    """``now`` is what is believed: the clock's word when ``state`` is "well"."""

    now: datetime
    says: datetime
    state: Literal["well", "back", "ahead"]

    def check(self) -> datetime:
        """Raises ``PolicyViolation`` (CLOCK-BACK, CLOCK-AHEAD) unless the clock is believed."""
        if self.state == "back":
            raise PolicyViolation(
                f"the clock says {format_time(self.says)}, and it was {format_time(self.now)} already",
                rule="CLOCK-BACK",
                hint="set the clock; revocation goes on meanwhile at the last time seen",
            )
        if self.state == "ahead":
            raise PolicyViolation(
                f"the clock says {format_time(self.says)}; going by the ledger and the steady clock it is about"
                f" {format_time(self.now)}",
                rule="CLOCK-AHEAD",
                hint="if it is wrong, set it; if it is right, and the signer was away: `sealwrightd clock --time NOW`",
            )
        return self.now


class Watch:
    """``began``: the ledger's last time when the signer started.

    None when the ledger is empty: then the first time is believed. Nothing is lost yet, and no statement is good at a
    wrong one.
    """

    def __init__(self, clock: Clock, steady: Steady, began: datetime | None) -> None:
        self._clock, self._steady = clock, steady
        self._base, self._at = began or clock(), steady()
        self._limit = AWAY if began else STEP

    def read(self, seen: datetime | None) -> Reading:
        """``seen``: the ledger's last time, now."""
        says, steady = self._clock(), self._steady()
        expected = self._base + timedelta(seconds=int(steady - self._at))
        known = max(expected, seen) if seen else expected
        if says > expected + self._limit:
            return Reading(known, says, "ahead")
        if (seen and says < seen - TOLERANCE) or says < expected - STEP:
            return Reading(known, says, "back")
        if self._limit != STEP:  # the first time that it is believed
            self._believe(says, steady)
        return Reading(max(says, seen) if seen else says, says, "well")

    def believe(self, says: datetime) -> None:
        """The clock said this just now, and it is right."""
        self._believe(says, self._steady())

    def _believe(self, says: datetime, steady: float) -> None:
        self._base, self._at, self._limit = says, steady, STEP


def read_word(folder: Path) -> datetime | None:
    """What an operator last said, if one did. What cannot be read was not said."""
    try:
        return parse_time((folder / WORD_FILE).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None


def leave_word(folder: Path, word: datetime, now: datetime) -> None:
    """Write an operator's word for the signer. Raises ``InputError`` when this machine's clock says another time."""
    if abs(now - word) > WORD:
        raise InputError(
            f"this machine's clock says {format_time(now)}, and you say {format_time(word)}",
            hint="one of the two is wrong: set the clock first",
        )
    replace_file(folder / WORD_FILE, f"{format_time(word)}\n".encode())


def time_for_loss(authority: "IssuingAuthority") -> datetime:
    """Now. What is left of a ledger may be old: a clock that is ahead of it is believed when an operator said the same,
    and the entry that officers signed puts it on record. Raises ``PolicyViolation`` (CLOCK-AHEAD)."""
    reading = authority.read_clock()
    if reading.state == "ahead":
        return reading.says if _said_of(authority, reading) else reading.check()
    return reading.now


def _said_of(authority: "IssuingAuthority", reading: Reading) -> datetime | None:
    """An operator's word for a clock that is ahead."""
    word = read_word(authority.installed.folder) if reading.state == "ahead" else None
    return word if word is not None and abs(reading.says - word) <= WORD else None


def hear_operator(authority: "IssuingAuthority") -> None:
    """Believe a clock that is ahead when an operator said the same, and put that on record."""
    with authority.lock:
        reading = authority.read_clock()
        word = _said_of(authority, reading)
        if word is None:
            return
        log.warning("an operator said that it is %s; the last time known was %s", word, reading.now)
        authority.record(ClockEntry(at=reading.says, before=reading.now, said=word))
        authority.watch.believe(reading.says)  # and not before it is on record
