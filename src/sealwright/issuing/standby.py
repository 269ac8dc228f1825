"""``sealwrightd signer --standby``: follows the active signer's ledger into one of its own. It holds no key and no PIN.

Every checkpoint and every entry is verified before it is written (``ledger.copy``), and taken into the index, so that
a signer that starts here later knows at once what was issued. A feed that goes back, forks or is changed is refused,
said, and asked again; nothing of it is taken. On the signer's socket it answers for its status, gives the feed on, and
ends when ``takeover`` says so.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sealwright import __version__
from sealwright.channel import SignerCall, bind_socket, read_call, waiting_calls
from sealwright.errors import AccessDenied, Conflict, NotReady, SealwrightError
from sealwright.installed import Installed, load_installed
from sealwright.issuing.feed import answer_feed
from sealwright.issuing.fence import read_holder
from sealwright.issuing.index import INDEX, LedgerIndex
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.copy import LedgerCopy, Source
from sealwright.ledger.entries import RosterEntry
from sealwright.statements.kinds import RosterStatement
from sealwright.statements.wire import format_time

log = logging.getLogger("sealwright.standby")

STALE_SECONDS: Final = 30
"""Without word from the source for so long, a standby is not well."""

OpenSource = Callable[[], AbstractContextManager[Source]]


@dataclass(frozen=True, slots=True)
class StandbyConfig:
    folder: Path
    socket: Path
    poll_seconds: float
    callers: frozenset[int]
    """The uids that may ask for status and feed: those that may call the signer."""
    owner: int
    """The uid that may end it: the signer's."""


class Standby:
    """The copy, how it grows, and what it says of itself."""

    def __init__(self, installed: Installed, copy: LedgerCopy, index: LedgerIndex) -> None:
        self.installed, self.copy, self.index = installed, copy, index
        self.problem = "its source was not heard yet"
        self._seen = copy.size
        self._heard = time.monotonic()
        self._lock = threading.Lock()

    def catch_up(self, source: Source) -> int:
        """Go on to the source's newest checkpoint. Raises what the source and ``LedgerCopy.follow`` raise."""
        with self._lock:
            try:
                note = source.checkpoint()
                seen, _ = verify_checkpoint(note, self.installed.anchor.ledger_origin, self.installed.ledger_key)
                self._seen = max(self._seen, seen)
                new = self.copy.follow(note, source.read)
                self.index.catch_up()
                self.index.check_usable()
            except SealwrightError as error:
                if error.message != self.problem:
                    log.error("nothing is taken from the source: %s", error.message)  # noqa: TRY400  # all of the story
                self.problem = error.message
                raise
            if self.problem:
                log.info("the source is heard; %d entries are here", self.copy.size)
            self.problem, self._heard = "", time.monotonic()
            return new

    def status(self) -> dict[str, Any]:
        """As a signer's, and how far behind it is: in entries that it knows of, and in seconds without word."""
        silent = int(time.monotonic() - self._heard)
        version, expires = self._roster()
        last_crl = self.index.last_crl
        return {
            "role": "standby",
            "pki": self.installed.anchor.pki_id,
            "mode": self.installed.anchor.mode,
            "version": __version__,
            "epoch": self.index.epoch,
            "behind_entries": max(0, self._seen - self.copy.size),
            "source_silent_seconds": silent,
            "problem": self.problem or (f"has not heard its source for {silent} s" if silent > STALE_SECONDS else ""),
            "ledger_size": self.copy.size,
            "roster_version": version,
            "roster_expires": expires,
            "crl_number": self.index.crl_number,
            "crl_made": format_time(last_crl.at) if last_crl else "",
            "open_intents": len(self.index.intents),
            "refusals": self.index.refusals,
            "issued": self.index.answered,
            "revoked": len(self.index.revoked),
            "tokens": [],
        }

    def _roster(self) -> tuple[int, str]:
        for entry in reversed(self.index.officers):
            if isinstance(entry, RosterEntry) and isinstance(entry.roster.content, RosterStatement):
                return entry.roster.content.version, format_time(entry.roster.content.expires_at)
        return 0, ""


def run_standby(config: StandbyConfig, open_source: OpenSource, stop: threading.Event) -> None:
    """Follow until ``stop`` is set or a takeover ends it. Raises what refuses to start."""
    installed = load_installed(config.folder)
    if read_holder(installed.ledger) is not None:
        raise Conflict(
            f"{installed.ledger} is of a signer that held the token: it may have entries that nobody else has",
            hint="start it without --standby; if another took over, `sealwrightd recover --standby --from URL` first",
        )
    with (
        LedgerCopy.open(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key) as copy,
        closing(LedgerIndex.open(installed.ledger / INDEX, copy)) as index,
    ):
        _serve(Standby(installed, copy, index), config, open_source, stop)


def _serve(standby: Standby, config: StandbyConfig, open_source: OpenSource, stop: threading.Event) -> None:
    follower = threading.Thread(target=_follow, args=(standby, config, open_source, stop), name="follow")
    answer = _Answers(standby, config, stop).answer

    def take(connection: socket.socket) -> None:
        waiting = read_call(connection, config.callers | {config.owner})
        if waiting is not None:
            waiting.answer(answer)

    try:
        with bind_socket(config.socket) as listener, ThreadPoolExecutor(4, "call") as workers:
            follower.start()
            log.info("the standby answers on %s, with %d entries", config.socket, standby.copy.size)
            for connection in waiting_calls(listener, stop):
                workers.submit(take, connection)
    finally:
        stop.set()  # whatever went wrong
    follower.join()
    config.socket.unlink(missing_ok=True)


def _follow(standby: Standby, config: StandbyConfig, open_source: OpenSource, stop: threading.Event) -> None:
    while not stop.is_set():
        with suppress(SealwrightError), open_source() as source:
            while not stop.is_set():
                standby.catch_up(source)
                stop.wait(config.poll_seconds)
        stop.wait(config.poll_seconds)


class _Answers:
    def __init__(self, standby: Standby, config: StandbyConfig, stop: threading.Event) -> None:
        self._standby, self._config, self._stop = standby, config, stop

    def answer(self, call: SignerCall) -> Mapping[str, Any]:
        match call.name:
            case "status":
                return self._standby.status()
            case "entries":
                copy = self._standby.copy
                return answer_feed(copy, copy.size, copy.checkpoint, call.arguments)
            case "stand-down":
                if call.peer_uid not in (self._config.owner, 0):
                    raise AccessDenied(
                        f"uid {call.peer_uid} may not end the standby", hint="run `sealwrightd takeover` as its user"
                    )
                self._stop.set()
                return {"size": self._standby.copy.size}
        raise NotReady(
            "this is a standby: it signs and records nothing", hint="the active signer is on another machine"
        )
