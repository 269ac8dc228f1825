"""Lint on the other cores: a few processes that judge drafts, for one signer. See ADR 0008.

What comes back is a verdict on one digest, and ``pki.lint.accept_verdict`` compares it with the draft's own before it
makes a ``LintedDraft``. A linter that dies, is silent or talks nonsense is replaced, and its draft is judged by another
one; a draft over which two of them die is not signed. There is no way around lint.
"""

import logging
import os
import queue
import socket
import subprocess
import sys
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from sealwright.errors import IntegrityError, Unavailable
from sealwright.issuing.linter import MESSAGE_LIMIT
from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.lint import LintedDraft, accept_verdict
from sealwright.pki.verdicts import Question, Questions, Verdict, parse_verdict

log = logging.getLogger("sealwright.signer")

PATIENCE: Final = 30.0
"""Seconds for one draft. The first one waits for the linter's start."""

TRIES: Final = 2
_LAST_WORDS: Final = 5.0
"""Seconds in which a linter ends by itself when it is no longer wanted."""

_MOST: Final = 4
_INHERITED: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL")
"""Of the environment. The rest is the token's and the signer's business."""


def how_many() -> int:
    """Linters for this machine: as many as it has cores, and no more than the rest of the signer can feed."""
    return min(_MOST, len(os.sched_getaffinity(0)))


class Linters:
    """A context manager. ``lint`` may be called from any thread; it waits for a linter that is free."""

    def __init__(self, count: int) -> None:
        self._questions = Questions()
        self._idle: queue.LifoQueue[_Linter] = queue.LifoQueue()  # the one that worked last is warm
        self._all: set[_Linter] = set()
        for _ in range(count):
            self._start()

    def lint(self, draft: CertificateDraft) -> LintedDraft:
        """Like ``pki.lint.lint_draft``. Raises ``Unavailable`` when linters die over this draft."""
        question = self._questions.about(draft)
        for _ in range(TRIES):
            linter = self._idle.get()
            try:
                verdict = linter.judge(question)
            except (OSError, IntegrityError) as error:
                log.error("linter %d is replaced: %s", linter.pid, error)  # noqa: TRY400  # the message says it
                self._replace(linter)
                continue
            except BaseException:
                self._replace(linter)
                raise
            self._idle.put(linter)
            return accept_verdict(question, verdict)
        raise Unavailable(
            "the linters died over this draft: it was not judged, and is not signed",
            hint="the signer's log has more; ask again",
        )

    def close(self) -> None:
        for linter in tuple(self._all):
            self._all.discard(linter)
            linter.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        linter = _Linter()
        self._all.add(linter)
        self._idle.put(linter)

    def _replace(self, linter: "_Linter") -> None:
        self._all.discard(linter)
        linter.kill()
        self._start()


class _Linter:
    """One process, used by one thread at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        self._channel.settimeout(PATIENCE)
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

    def judge(self, question: Question) -> Verdict:
        """Raises ``OSError`` when it is gone or silent, and ``IntegrityError`` when it talks of something else."""
        self._channel.send(question.data)
        data = self._channel.recv(MESSAGE_LIMIT)
        if not data:
            raise ConnectionResetError("it is gone")
        verdict = parse_verdict(data)
        if verdict.digest != question.digest:
            raise IntegrityError("it judged another draft than it was asked about")
        return verdict

    def close(self) -> None:
        self._channel.close()
        try:
            self._process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        with suppress(OSError):
            self._process.kill()
        self.close()
