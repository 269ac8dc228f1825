"""Reads the whole snapshot again and again, a little at a time: a disk that lies is found before a client finds it.

At the end of each round it notes in the snapshot how fresh answers and CRLs are.
"""

from itertools import islice
from typing import Final

from sealwright.validation.snapshot import Freshness, SnapshotWriter, unpack

_SOME: Final = 2000
"""Records in a step: some milliseconds."""


class Scrubber:
    """One round after the other."""

    def __init__(self, snapshot: SnapshotWriter) -> None:
        self._snapshot, self._reader = snapshot, snapshot.reader()
        self._begin()

    def _begin(self) -> None:
        self._records = self._reader.records()
        self._answers = self._overdue = self._over = self._crls_overdue = self._crls_over = 0

    def step(self, now: int) -> bool:
        """Some records. True at the end of a round; raises ``IntegrityError`` when one is not as it was written."""
        read = 0
        for key, data in islice(self._records, _SOME):
            read += 1
            record = unpack(data)
            if key.startswith(b"a"):
                self._answers += 1
                self._overdue += record.fresh_until <= now
                self._over += record.next_update <= now
            elif record.next_update:  # CA certificates have none
                self._crls_overdue += record.fresh_until <= now
                self._crls_over += record.next_update <= now
        if read == _SOME:
            return False
        found = Freshness(self._answers, self._overdue, self._over, self._crls_overdue, self._crls_over)
        if found != self._reader.freshness():
            with self._snapshot.write() as transaction:
                transaction.put_freshness(found)
        self._begin()
        return True
