"""Lint on the other cores: a few processes that judge drafts, for one signer. See ADR 0008.

What comes back is a verdict on one digest, and ``pki.lint.accept_verdict`` compares it with the draft's own before it
makes a ``LintedDraft``. A linter that dies, is silent or talks nonsense is replaced, and its drafts are judged by
another one; a draft over which two of them die is not signed. There is no way around lint.

A linter is given a few drafts ahead, and answers in their order: it has something to do while nobody reads its answers.
"""

import logging
import os
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from sealwright.errors import IntegrityError, SealwrightError, Unavailable
from sealwright.issuing.line import Answer
from sealwright.issuing.linter import MESSAGE_LIMIT
from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.lint import accept_verdict
from sealwright.pki.verdicts import Question, Questions, Verdict, parse_verdict

log = logging.getLogger("sealwright.signer")

PATIENCE: Final = 30.0
"""Seconds for one draft. The first one waits for the linter's start."""

TRIES: Final = 2
AHEAD: Final = 8
"""Drafts that one linter has at a time: they fit into its socket, and are no more than a few milliseconds' work."""

_LAST_WORDS: Final = 5.0
"""Seconds in which a linter ends by itself when it is no longer wanted."""

_MOST: Final = 2
_INHERITED: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")
"""Of the environment. The rest is the token's and the signer's business."""


def how_many() -> int:
    """Linters for this machine. One judges faster than the rest of the signer works; a second has a core to spare."""
    return max(1, min(_MOST, len(os.sched_getaffinity(0)) // 2))


@dataclass(slots=True)
class _Asked:
    ticket: Any
    question: Question
    tries: int = 0


class Linters:
    """A context manager, and where a ``line.Line`` has its drafts linted: ``line.Linting``."""

    def __init__(self, count: int) -> None:
        self._questions = Questions()
        self._waiting: deque[_Asked] = deque()
        self._all: set[_Linter] = set()
        self._ready = selectors.DefaultSelector()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._ready.register(self._bell, selectors.EVENT_READ)
        for _ in range(count):
            self._start()

    @property
    def asked(self) -> int:
        return len(self._waiting) + sum(len(linter.asked) for linter in self._all)

    def ask(self, ticket: Any, draft: CertificateDraft) -> None:
        """Its answer is among ``answers`` some day."""
        question = self._questions.about(draft)
        if len(question.data) > MESSAGE_LIMIT:
            raise IntegrityError(f"a draft of {len(question.data)} octets is longer than a linter takes")
        self._waiting.append(_Asked(ticket, question))
        self._feed()

    def answers(self, *, wait: bool) -> Sequence[tuple[Any, Answer]]:
        """The ticket, and its draft when nothing refused it; or why not: ``Unavailable`` when linters died over it."""
        found: list[tuple[Any, Answer]] = []
        for key, _ in self._ready.select(self._patience() if wait else 0):
            if isinstance(key.data, _Linter):
                self._hear(key.data, found)
            else:
                with suppress(BlockingIOError):
                    os.eventfd_read(self._bell)
        for linter in [each for each in self._all if each.is_silent]:
            self._replace(linter, TimeoutError(f"it says nothing for {PATIENCE:.0f} s"), found)
        self._feed()
        return found

    def wake(self) -> None:
        os.eventfd_write(self._bell, 1)

    def close(self) -> None:
        for linter in tuple(self._all):
            self._remove(linter)
            linter.close()
        self._ready.close()
        os.close(self._bell)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _feed(self) -> None:
        if not self._all:
            self._start()  # another time it could not
        while self._waiting:
            linter = min(self._all, key=lambda each: len(each.asked))
            if len(linter.asked) >= AHEAD or not linter.ask(self._waiting[0]):
                break
            self._waiting.popleft()

    def _hear(self, linter: "_Linter", found: list[tuple[Any, Answer]]) -> None:
        try:
            while True:
                asked, verdict = linter.read()
                try:
                    found.append((asked.ticket, accept_verdict(asked.question, verdict)))
                except SealwrightError as refusal:
                    found.append((asked.ticket, refusal))
        except BlockingIOError:
            pass
        except (OSError, IntegrityError) as error:
            self._replace(linter, error, found)

    def _replace(self, linter: "_Linter", error: Exception, found: list[tuple[Any, Answer]]) -> None:
        """The draft that it had before it is tried once more; those behind that had no part in it."""
        log.error("linter %d is replaced: %s", linter.pid, error)
        self._remove(linter)
        linter.kill()
        again = list(linter.asked)
        if again:
            again[0].tries += 1
            if again[0].tries >= TRIES:
                found.append((again.pop(0).ticket, _died()))
        self._waiting.extendleft(reversed(again))
        self._start()

    def _start(self) -> None:
        linter = _Linter()
        self._all.add(linter)
        self._ready.register(linter.channel, selectors.EVENT_READ, linter)

    def _remove(self, linter: "_Linter") -> None:
        self._all.discard(linter)
        self._ready.unregister(linter.channel)

    def _patience(self) -> float | None:
        return min((linter.patience for linter in self._all if linter.asked), default=None)


def _died() -> Unavailable:
    return Unavailable(
        "the linters died over this draft: it was not judged, and is not signed",
        hint="the signer's log has more; ask again",
    )


class _Linter:
    """One process, and what it was asked and did not answer yet, in its order."""

    def __init__(self) -> None:
        self.asked: deque[_Asked] = deque()
        self._since = 0.0
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sealwright.issuing.linter", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _INHERITED if name in os.environ},
                process_group=0,  # a terminal's Ctrl-C is for the signer
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def patience(self) -> float:
        """Seconds that it still has for the draft before it."""
        return max(0.0, self._since + PATIENCE - time.monotonic())

    @property
    def is_silent(self) -> bool:
        return bool(self.asked) and self.patience == 0

    def ask(self, asked: _Asked) -> bool:
        """False when there is no room for it before another one is answered."""
        try:
            self.channel.send(asked.question.data)
        except BlockingIOError:
            if self.asked:
                return False
            raise
        except OSError as error:  # it is gone, which is heard when it is read
            log.debug("linter %d takes nothing: %s", self.pid, error)
        if not self.asked:
            self._since = time.monotonic()
        self.asked.append(asked)
        return True

    def read(self) -> tuple[_Asked, Verdict]:
        """The next answer, and to what.

        Raises ``BlockingIOError`` when there is none yet, ``OSError`` when the linter is gone and ``IntegrityError``
        when it talks of something else.
        """
        data = self.channel.recv(MESSAGE_LIMIT)
        if not data:
            raise ConnectionResetError("it is gone")
        verdict = parse_verdict(data)
        if not self.asked or verdict.digest != self.asked[0].question.digest:
            raise IntegrityError("it judged another draft than it was asked about")
        self._since = time.monotonic()
        return self.asked.popleft(), verdict

    def close(self) -> None:
        self.channel.close()
        try:
            self._process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        with suppress(OSError):
            self._process.kill()
        self.close()
