"""Writing what is signed while the next batch is being signed: a thread of its own, one batch at a time.

The database first, presign's own projection after it: what a crash leaves between the two is signed once more.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sealwright.publication.answers import SignedPart
from sealwright.publication.statuses import DueSerial, LedgerStatuses
from sealwright.store.publication import Publication


class Writer:
    """``write`` raises what the writing before it raised; what it was given is then still due."""

    def __init__(self, publication: Publication, statuses: LedgerStatuses) -> None:
        self._publication, self._statuses = publication, statuses
        self._thread = ThreadPoolExecutor(1, "publish")
        self._future: Future[None] | None = None
        self._ids: frozenset[int] = frozenset()

    @property
    def under_way(self) -> int:
        return len(self._ids)

    def not_under_way(self, due: Sequence[DueSerial]) -> list[DueSerial]:
        """Without those whose answers are just being written."""
        return [each for each in due if each.id not in self._ids]

    def write(self, batch: Sequence[DueSerial], parts: Sequence[SignedPart]) -> None:
        """When the batch before is written, begin to write this one."""
        self.land()
        if parts:
            self._ids = frozenset(each.id for each in batch)
            self._future = self._thread.submit(self._write, batch, parts)

    def land(self) -> None:
        """Wait until nothing is under way."""
        future, self._future, self._ids = self._future, None, frozenset()
        if future is not None:
            future.result()

    def close(self) -> None:
        self._thread.shutdown()

    def _write(self, batch: Sequence[DueSerial], parts: Sequence[SignedPart]) -> None:
        change = self._publication.put_groups([group for part in parts for group in part.groups])
        done: list[tuple[int, int, int, int]] = []
        for part in parts:
            again = int(part.again.timestamp())
            signed = (batch[place] for place in part.places)
            done += [(each.id, each.version, part.this_update, again) for each in signed]
        self._statuses.signed(done, change)
