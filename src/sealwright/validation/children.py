"""The programs that validation runs: started, started again when they die, asked to leave or to stop.

They are new programs, not forks: what a child does not import it does not have. Its configuration is the first line of
its standard input, and the end of that tells it that the parent is gone.
"""

import contextlib
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

log = logging.getLogger("sealwright.validation")

STOP_SECONDS: Final = 8.0
_BACKOFF_SECONDS: Final = (0.0, 0.2, 1.0, 5.0)
"""Before the first, second, ... start of a child that does not live for long."""
_LONG_SECONDS: Final = 10.0

MEMORY_FAULTS: Final = frozenset({-signal.SIGBUS, -signal.SIGSEGV, -signal.SIGABRT})
"""How a process ends that reads a file which is not all there."""


@dataclass
class Child:
    """One program. ``inherits``: file descriptors that it gets."""

    module: str
    first_line: bytes
    inherits: Sequence[int] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0

    def start(self) -> None:
        self.started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", self.module], stdin=subprocess.PIPE, pass_fds=tuple(self.inherits)
        )
        self.process = process
        if process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it is dead already: look_after will see
                # The pipe stays open: its end tells the child that we are gone.
                process.stdin.write(self.first_line)
                process.stdin.flush()

    def look_after(self) -> int | None:
        """Start it when its time has come. Returns how it ended, once, when it has."""
        now = time.monotonic()
        code = None
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                return None
            self.failures = 0 if now - self.started > _LONG_SECONDS else self.failures + 1
            wait = _BACKOFF_SECONDS[min(self.failures, len(_BACKOFF_SECONDS) - 1)]
            log.warning("%s ended with %d; it is started again in %.1f s", self.module, code, wait)
            self._close_pipe()
            self.process, self.start_at = None, now + wait
        if now >= self.start_at:
            self.start()
        return code

    @property
    def is_gone(self) -> bool:
        return self.process is None or self.process.poll() is not None

    def ask_to_leave(self) -> None:
        """It answers those that it has, and goes when they have."""
        if self.process is not None:
            self.process.send_signal(signal.SIGUSR1)  # does nothing to a process that has been polled dead

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self._close_pipe()
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def wait(self, deadline: float) -> None:
        """Until it has ended; it is killed at ``deadline`` (of the monotonic clock)."""
        if self.process is None:
            return
        try:
            self.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self.process is not None and self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()


def stop_all(children: Sequence[Child]) -> None:
    """Together, each with the same time."""
    for child in children:
        child.ask_to_stop()
    deadline = time.monotonic() + STOP_SECONDS
    for child in children:
        child.wait(deadline)
