"""Looking after the tokens of a server: a token that is away is noticed and found again without anybody's call.

One thread proves each key now and then; while a token is away that is the attempt which its breaker lets through.
Another looks at nothing but clocks: a C call that does not come back cannot be interrupted from Python, and whatever
waits for it waits for ever. So after ``HANG_SECONDS`` it says so and ends the process, whose unit starts it again; what
that leaves half done is what a crash leaves, and the ledger's recovery closes it (ADR 0005).
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self

from sealwright.errors import TokenError
from sealwright.hsm.breaker import TokenEvent
from sealwright.hsm.private_keys import prove_key
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import PrivateKey

log = logging.getLogger("sealwright.token")

HANG_SECONDS: Final = 25.0
"""Longer than any call of a token that works, and shorter than a client of the signer waits."""
_WELL_SECONDS: Final = 5.0
_AWAY_SECONDS: Final = 0.25

Heard = Callable[[tuple[TokenEvent, ...]], None]


def _end_process() -> None:
    os._exit(TokenError.exit_code)  # not sys.exit: threads that wait for the token would be waited for


class Supervisor:
    """A context manager. ``heard`` is told from a thread of this what happened, and called at every look."""

    def __init__(
        self,
        tokens: Sequence[tuple[TokenSession, PrivateKey]],
        heard: Heard = lambda _events: None,
        *,
        hang_seconds: float = HANG_SECONDS,
        end: Callable[[], None] = _end_process,
    ) -> None:
        self._tokens, self._heard, self._hang_seconds, self._end = tokens, heard, hang_seconds, end
        self._stop = threading.Event()
        self._said: dict[str, str] = {}
        self._threads = (
            threading.Thread(target=self._look_after, name="token-look", daemon=True),
            threading.Thread(target=self._watch, name="token-watch", daemon=True),
        )

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(self._hang_seconds)

    def _look_after(self) -> None:
        while not self._stop.is_set():
            for session, key in self._tokens:
                self._prove(session, key)
            events = tuple(event for session, _ in self._tokens for event in session.take_events())
            for event in events:
                log.log(
                    logging.ERROR if event.what == "away" else logging.WARNING,
                    "token %s is %s: %s",
                    event.token,
                    event.what,
                    event.reason,
                )
            self._heard(events)
            away = any(session.health().is_away for session, _ in self._tokens)
            self._stop.wait(_AWAY_SECONDS if away else _WELL_SECONDS)

    def _prove(self, session: TokenSession, key: PrivateKey) -> None:
        try:
            prove_key(key)
        except TokenError as error:
            # A token that is away is an event, told once. A refused PIN or another key under the id is none.
            if not session.health().is_away and self._said.get(session.serial) != error.message:
                self._said[session.serial] = error.message
                log.error("token %s: %s", session.serial, error.message)  # noqa: TRY400  # the message is all
        else:
            self._said.pop(session.serial, None)

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self._hang_seconds / 4)):
            for session, _ in self._tokens:
                longest = session.longest_call()
                if longest is not None and longest[0] > self._hang_seconds:
                    log.critical(
                        "token %s: %s has not come back for %.0f s; this process ends, to be started again",
                        session.serial,
                        longest[1],
                        longest[0],
                    )
                    self._end()
                    return
