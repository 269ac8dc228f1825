"""When a token that failed is tried again: with back-off, by one thread at a time, and otherwise not at all.

The ladder of a ``TokenSession``: the first rung, one rebuild at once, is its own. When that does not help the breaker
opens: calls fail at once, without a call into the module, until the next attempt is due; then one caller makes it. The
longest delay is below the ten seconds within which a token that is back has to be in use again.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Final, Literal

from sealwright.errors import TokenError

DELAYS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Seconds before the first, second, ... further attempt; the last one for all that follow."""
_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """The token went away or came back. ``reason``: the failure that opened the breaker."""

    token: str
    what: Literal["away", "back"]
    at: datetime
    reason: str


class Breaker:
    """Of one token. ``clock`` is monotonic, in seconds."""

    def __init__(self, token: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._token, self._clock = token, clock
        self._lock = Lock()
        self._failures = 0
        self._next = 0.0
        self._events: deque[TokenEvent] = deque(maxlen=_KEPT)
        self.since: datetime | None = None
        """Since when it is open."""
        self.reason = ""
        self.outages = 0

    @property
    def is_open(self) -> bool:
        return self._failures > 0

    def check(self) -> None:
        """Return to the one caller who is to try now, or when nothing is wrong. Raises TokenError to all others."""
        with self._lock:
            if not self._failures:
                return
            wait = self._next - self._clock()
            if wait > 0:
                raise TokenError(
                    f"token {self._token} is away since {self.since:%Y-%m-%dT%H:%M:%SZ}: {self.reason}",
                    hint=f"it is tried again by itself, next in {wait:.1f} s; nothing was signed",
                )
            self._next = self._clock() + self._delay()

    def failed(self, error: TokenError) -> None:
        """An attempt did not help: the next one is later."""
        with self._lock:
            self._failures += 1
            self._next = self._clock() + self._delay()
            self.reason = error.message
            if self._failures == 1:
                self.outages += 1
                self.since = _now()
                self._events.append(TokenEvent(self._token, "away", self.since, self.reason))

    def succeeded(self, outages: int) -> None:
        """The token did what was asked of it. ``outages``: how many there had been when it was asked.

        Who was asked before the token went away, and comes to say so only now, knows nothing of how it is.
        """
        if not self._failures:
            return
        with self._lock:
            if self._failures and outages == self.outages:
                self._events.append(TokenEvent(self._token, "back", _now(), self.reason))
                self._failures, self.since = 0, None

    def take_events(self) -> tuple[TokenEvent, ...]:
        """What happened since this was asked last."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return tuple(taken)

    def _delay(self) -> float:
        return DELAYS[min(max(self._failures, 1), len(DELAYS)) - 1]


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
