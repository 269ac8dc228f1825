"""How many refusals become ledger entries: each distinct one, as long as they do not come as a flood.

Whoever may call the signer can make it refuse as fast as it answers, and an append-only ledger never gives the room
back. Every refusal is in the log of the process; what is left out of the ledger is counted there.
"""

from collections import OrderedDict
from datetime import datetime

BURST = 500
PER_MINUTE = 30
_REMEMBERED = 4096


class RefusalGate:
    """A bucket of ``BURST`` that fills again by ``PER_MINUTE``. Not thread-safe: the authority's lock is held."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._room = float(BURST)
        self._last: datetime | None = None
        self._left_out = 0

    def admit(self, refusal: tuple[str, str], now: datetime) -> int | None:
        """None: not to be recorded. Otherwise how many were left out since the last that was."""
        if refusal in self._seen:
            self._seen.move_to_end(refusal)
            self._left_out += 1
            return None
        if self._last is not None:
            self._room = min(BURST, self._room + max(0.0, (now - self._last).total_seconds()) * PER_MINUTE / 60)
        self._last = now
        if self._room < 1:
            self._left_out += 1
            return None
        self._room -= 1
        self._seen[refusal] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        left_out, self._left_out = self._left_out, 0
        return left_out
