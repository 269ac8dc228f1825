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


class _Turn(Generic[Item]):
    """A place among those who wait: whoever holds it is woken once, for its answer or to lead."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> None:
        self._asleep.acquire()

    def call(self) -> None:
        self._asleep.release()


class Batches(Generic[Item]):
    """``lock`` is held while a batch is carried out: that of everything else which writes the ledger."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._mutex = threading.Lock()
        self._waiting: list[_Turn[Item]] = []
        self._led = False

    def settle(self, item: Item, carry_out: Callable[[tuple[Item, ...]], None]) -> None:
        """Return when ``item`` is settled.

        ``carry_out`` settles at least the first of the items it is given; one that it leaves is in the next batch. What
        it raises, whatever it is, fails every item of the batch that is not settled by then: none is tried twice.
        """
        turn = _Turn(item)
        with self._mutex:
            self._waiting.append(turn)
            leads, self._led = not self._led, True
        if not leads:
            turn.wait()
            if item.is_settled:
                return
        try:
            with self._lock:  # more join while this waits
                while not item.is_settled:
                    self._carry_out(carry_out)
        finally:
            self._hand_over(turn)

    def _carry_out(self, carry_out: Callable[[tuple[Item, ...]], None]) -> None:
        with self._mutex:
            batch = tuple(turn.item for turn in self._waiting[:LARGEST])
        try:
            carry_out(batch)
        except BaseException as error:  # every one of them hears of it, the leader among them
            for each in batch:
                if not each.is_settled:
                    each.fail(error)
        with self._mutex:
            settled = [turn for turn in self._waiting if turn.item.is_settled]
            self._waiting = [turn for turn in self._waiting if not turn.item.is_settled]
        for turn in settled:
            turn.call()

    def _hand_over(self, mine: _Turn[Item]) -> None:
        """Whoever has waited longest leads next; when nobody waits, whoever comes next does."""
        with self._mutex:
            self._waiting = [turn for turn in self._waiting if turn is not mine]
            self._led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].call()
