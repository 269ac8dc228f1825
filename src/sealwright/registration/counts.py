"""How much there is, for the console. Anybody may look at it, and counting reads every row: so not each look counts."""

import threading
from collections.abc import Mapping
from datetime import datetime, timedelta

from sealwright.store.registry import RegistryDB

REMEMBERED = timedelta(seconds=10)


class Counts:
    """Of one database. One thread counts at a time; the others are shown what was counted before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at: datetime | None = None
        self._counts: Mapping[str, int] = {}

    def at(self, now: datetime, database: RegistryDB) -> Mapping[str, int]:
        if self._lock.acquire(blocking=not self._counts):
            try:
                if self._at is None or not timedelta(0) <= now - self._at < REMEMBERED:
                    with database.reading() as tx:
                        self._counts = tx.counts()
                    self._at = now
            finally:
                self._lock.release()
        return self._counts
