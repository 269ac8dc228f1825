"""What expires soon, told once to those whose it is: team certificates, the CA's own, the roster, before the day.

Which notices are due is computed from the registry's projection and pure; sending is ``messengers``'s. What was sent
is kept in a file, written after each success: a crash in that moment sends one a second time, and never none. With two
registries on one database only one is given ``[notices]``.
"""

import json
import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from sealwright.errors import NotReady, SealwrightError, StorageError
from sealwright.registration.registry import Registry

log = logging.getLogger("sealwright.notices")

LOOK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Expiring:
    """``key`` names it for ever: a serial, or the roster's version. ``team`` is None for what is the operators'."""

    key: str
    what: str
    team: str | None
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """``days``: the threshold that was passed."""

    key: str
    what: str
    team: str | None
    not_after: datetime
    days: int

    @property
    def subject(self) -> str:
        return f"{self.what} expires {self.not_after:%Y-%m-%d %H:%M} UTC"

    def to_wire(self) -> dict[str, Any]:
        return {**asdict(self), "not_after": f"{self.not_after:%Y-%m-%dT%H:%M:%SZ}", "text": self.subject}


class Messenger(Protocol):
    """One way to tell people. ``send`` raises ``SealwrightError`` when it did not arrive."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> None: ...


def due_notices(things: Iterable[Expiring], days: Sequence[int], now: datetime) -> tuple[Notice, ...]:
    """One for each thing within a threshold: the smallest that was passed. Nothing for what is over already."""
    notices = []
    for thing in things:
        left = thing.not_after - now
        passed = [each for each in sorted(days) if timedelta(0) < left <= timedelta(days=each)]
        if passed:
            notices.append(Notice(thing.key, thing.what, thing.team, thing.not_after, passed[0]))
    return tuple(notices)


def expiring(registry: Registry, days: int) -> tuple[Expiring, ...]:
    """What may expire within so many days, as the registry's projection has it.

    Left out is what is revoked, and what was renewed by a certificate that is not revoked. The CA's own, which are few,
    are always there.
    """
    found = [
        Expiring("root", "the root certificate", None, registry.installed.root.not_valid_after_utc),
        Expiring("issuing", "the issuing CA's certificate", None, registry.installed.issuing.not_valid_after_utc),
    ]
    try:
        roster = registry.last_roster()
        found.append(Expiring(f"roster-{roster.version}", f"roster {roster.version}", None, roster.expires_at))
    except NotReady:
        pass
    with registry.database.reading() as tx:
        now = registry.clock()
        for row in tx.expiring(now, now + timedelta(days=days)):
            what = f"certificate {row.serial} of {row.team}/{row.project}"
            if row.not_after is not None:
                found.append(Expiring(row.serial, what, row.team, row.not_after))
    return tuple(found)


class SentNotices:
    """Which notice went which way, in a file of one JSON object."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sent: dict[str, str] = {}
        try:
            self._sent = dict(json.loads(path.read_text()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            raise StorageError(
                f"cannot read {path}: {error}", hint="remove it, and every notice that is due is sent once more"
            ) from error

    def has(self, messenger: str, notice: Notice) -> bool:
        return self._name(messenger, notice) in self._sent

    def note(self, messenger: str, notice: Notice, now: datetime) -> None:
        self._sent[self._name(messenger, notice)] = f"{now:%Y-%m-%dT%H:%M:%SZ}"
        beside = self._path.with_name(f".{self._path.name}.new")
        try:
            with beside.open("w") as file:
                json.dump(self._sent, file, indent=0)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error

    def _name(self, messenger: str, notice: Notice) -> str:
        return f"{messenger} {notice.key} {notice.days}"


def send_due(
    notices: Sequence[Notice], messengers: Sequence[Messenger], sent: SentNotices, now: datetime
) -> Mapping[str, str]:
    """Send what was not sent yet. Returns what failed, by messenger; it is tried again at the next look."""
    failed: dict[str, str] = {}
    for messenger in messengers:
        for notice in notices:
            if sent.has(messenger.name, notice):
                continue
            try:
                messenger.send(notice)
            except SealwrightError as error:
                failed[messenger.name] = error.message
                break
            sent.note(messenger.name, notice, now)
            log.info("%s: told %s: %s", messenger.name, notice.team or "operators", notice.subject)
    return failed


def keep_noticing(
    registry: Registry, days: Sequence[int], messengers: Sequence[Messenger], state: Path, stop: threading.Event
) -> None:
    """Look once a minute until ``stop``. What fails is logged once and tried again."""
    sent, said = SentNotices(state), ""
    while not stop.is_set():
        failed: Mapping[str, str] = {}
        try:
            now = registry.clock()
            failed = send_due(due_notices(expiring(registry, max(days, default=0)), days, now), messengers, sent, now)
        except SealwrightError as error:
            failed = {"notices": error.message}
        except Exception:
            log.exception("notices failed")
        text = "; ".join(f"{name}: {why}" for name, why in failed.items())
        if text and text != said:
            log.warning("%s", text)
        said = text
        stop.wait(LOOK_SECONDS)
