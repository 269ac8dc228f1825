"""Orders that wait at the same time are carried out together: one append and one fsync for all of them.

There is no thread of its own for this. Of those who wait, one leads: it takes everything that waits at the moment when
it has the lock, and carries it out; the others sleep until their own is settled, or until it is their turn to lead.
Nobody waits for others to come: a single order is a batch of one. What a batch means is ``issuance``'s.
"""

import threading
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

LARGEST = 32
"""Orders in one batch: half the entries that an append takes, and no answer is held up for longer than that."""


class Waiting(Protocol):
    @property
    def is_settled(self) -> bool: ...

    def fail(self, error: BaseException) -> None: ...


Item = TypeVar("Item", bound=Waiting)


class Batches(Generic[Item]):
    """``lock`` is held while a batch is carried out: that of everything else which writes the ledger."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._changed = threading.Condition()
        self._waiting: list[Item] = []
        self._led = False

    def settle(self, item: Item, carry_out: Callable[[tuple[Item, ...]], None]) -> None:
        """Return when ``item`` is settled.

        ``carry_out`` settles at least the first of the items it is given; one that it leaves is in the next batch. What
        it raises, whatever it is, fails every item of the batch that is not settled by then: none is tried twice.
        """
        with self._changed:
            self._waiting.append(item)
            while self._led and not item.is_settled:
                self._changed.wait()
            if item.is_settled:
                return
            self._led = True
        try:
            with self._lock:  # more join while this waits
                while not item.is_settled:
                    self._carry_out(carry_out)
        finally:
            with self._changed:
                self._led = False
                self._changed.notify_all()

    def _carry_out(self, carry_out: Callable[[tuple[Item, ...]], None]) -> None:
        with self._changed:
            batch = tuple(self._waiting[:LARGEST])
        try:
            carry_out(batch)
        except BaseException as error:  # every one of them hears of it, the leader among them
            for each in batch:
                if not each.is_settled:
                    each.fail(error)
        with self._changed:
            self._waiting = [each for each in self._waiting if not each.is_settled]
