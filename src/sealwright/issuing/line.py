"""The line: orders on their way from their arrival to their receipt, as many at each step as have come so far.

One thread judges all that have arrived, gives their drafts to the linters, carries out together what passed, and
begins again until the line is empty. So it does one step for many orders and then the next, and the interpreter changes
hands hardly at all (ADR 0018). Nobody waits for others to come: a single order is a batch of one. What the steps mean
is ``issuance``'s.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, Protocol, TypeVar

from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.lint import LintedDraft

log = logging.getLogger("sealwright.signer")

LARGEST: Final = 32
"""Orders in one batch: half the entries that an append takes, and no answer is held up for longer than that."""


class Traveller(Protocol):
    """What goes through the line. Nothing but its own doing settles it, or ``fail``."""

    @property
    def is_settled(self) -> bool: ...

    def judge(self) -> CertificateDraft: ...

    def take(self, linted: LintedDraft) -> None: ...

    def fail(self, error: BaseException) -> None: ...

    def leave(self) -> None:
        """It is settled, and whoever waits for it may know."""


Item = TypeVar("Item", bound=Traveller)
Answer = LintedDraft | BaseException
Lint = Callable[[CertificateDraft], LintedDraft]


class Linting(Protocol):
    """Where drafts are linted. One thread at a time asks; ``wake`` is anybody's."""

    @property
    def asked(self) -> int:
        """How many were asked for and not yet answered."""

    def ask(self, ticket: Any, draft: CertificateDraft) -> None: ...

    def answers(self, *, wait: bool) -> Sequence[tuple[Any, Answer]]:
        """What is ready. With ``wait``, when nothing is: until something is, or ``wake``."""

    def wake(self) -> None: ...


class LintHere:
    """In this process and at once: for who issues one by one."""

    def __init__(self, lint: Lint) -> None:
        self._lint = lint
        self._answers: list[tuple[Any, Answer]] = []

    @property
    def asked(self) -> int:
        return len(self._answers)

    def ask(self, ticket: Any, draft: CertificateDraft) -> None:
        try:
            self._answers.append((ticket, self._lint(draft)))
        except BaseException as error:  # the answer, like any other
            self._answers.append((ticket, error))

    def answers(self, *, wait: bool) -> Sequence[tuple[Any, Answer]]:  # there is nothing to wait for
        ready, self._answers = self._answers, []
        return ready

    def wake(self) -> None:
        pass


CarryOut = Callable[[tuple[Item, ...]], None]


class Line(Generic[Item]):
    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._arrived: list[Item] = []
        self._runs = self._asleep = False
        self._thread = ThreadPoolExecutor(1, "line")
        # That thread's alone:
        self._inside: set[Item] = set()
        self._linted: list[Item] = []
        self._settled: list[Item] = []

    def add(self, item: Item, linting: Linting, carry_out: CarryOut[Item]) -> None:
        """Put it into the line; it leaves when it is settled.

        ``carry_out`` settles at least the first of the items it is given; one that it leaves is in the next batch. What
        it raises, whatever it is, fails every item of the batch that is not settled by then: none is tried twice.
        """
        with self._mutex:
            self._arrived.append(item)
            runs, self._runs = self._runs, True
            asleep, self._asleep = self._asleep, False
        if not runs:
            self._thread.submit(self._run, linting, carry_out)
        elif asleep:
            linting.wake()

    def close(self) -> None:
        """Return when it is empty."""
        self._thread.shutdown()

    def _run(self, linting: Linting, carry_out: CarryOut[Item]) -> None:
        try:
            while self._goes_on(linting):
                for item in self._take():
                    self._judge(item, linting)
                for item, answer in linting.answers(wait=self._asleep):
                    self._hear(item, answer)
                if self._linted:
                    self._carry_out(carry_out)
                self._let_go()
        except BaseException as error:  # of the linters: nobody is left waiting for it
            log.exception("the line broke")
            self._break(error)

    def _goes_on(self, linting: Linting) -> bool:
        with self._mutex:
            self._asleep = not self._arrived and not self._linted
            self._runs = not self._asleep or linting.asked > 0
            return self._runs

    def _take(self) -> Sequence[Item]:
        with self._mutex:
            taken, self._arrived = self._arrived[:LARGEST], self._arrived[LARGEST:]
        self._inside.update(taken)
        return taken

    def _judge(self, item: Item, linting: Linting) -> None:
        try:
            linting.ask(item, item.judge())
        except BaseException as error:  # whatever it is, it is this one's
            self._fail(item, error)

    def _hear(self, item: Item, answer: Answer) -> None:
        if item not in self._inside:  # the line broke meanwhile
            return
        if isinstance(answer, LintedDraft):
            item.take(answer)
            self._linted.append(item)
        else:
            self._fail(item, answer)

    def _carry_out(self, carry_out: CarryOut[Item]) -> None:
        batch = tuple(self._linted[:LARGEST])
        try:
            carry_out(batch)
        except BaseException as error:  # every one of them hears of it
            for item in batch:
                if not item.is_settled:
                    item.fail(error)
        self._linted = [item for item in self._linted if not item.is_settled]
        self._settled += [item for item in batch if item.is_settled]

    def _fail(self, item: Item, error: BaseException) -> None:
        item.fail(error)
        self._settled.append(item)

    def _let_go(self) -> None:
        """Only here is anybody told, where nothing is half done: to tell of a refusal writes the ledger."""
        settled, self._settled = self._settled, []
        for item in settled:
            self._inside.discard(item)
            _leave(item)

    def _break(self, error: BaseException) -> None:
        with self._mutex:
            waiting, self._arrived = [*self._inside, *self._arrived], []
            self._inside, self._linted, self._settled = set(), [], []
            self._runs = self._asleep = False
        for item in waiting:
            if not item.is_settled:
                item.fail(error)
            _leave(item)


def _leave(item: Traveller) -> None:
    try:
        item.leave()
    except BaseException:  # the others are told all the same
        log.exception("whoever waits for an order could not be told")
