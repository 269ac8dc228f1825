"""A real pseudo-terminal with a program in it: what it shows is read, what is typed goes in as from a keyboard."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|[()][A-Z0-9])")


class Terminal:
    """``text``: all that was shown, without the sequences that steer a terminal. ``raw``: with them."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        folder: Path,
        columns: int = 80,
        rows: int = 25,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        self.raw = b""
        self._seen = 0
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *(str(each) for each in command)],
            cwd=folder,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, "TERM": "vt100", "PYTHONUNBUFFERED": "1", **(environment or {})},
            # A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no thread holds a lock
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        os.close(self._master)

    @property
    def text(self) -> str:
        return _SEQUENCE.sub("", self.raw.decode("utf-8", "replace")).replace("\r\n", "\n")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def expect(self, *wanted: str, seconds: float = 60) -> tuple[str, str]:
        """Wait until one of these is shown, after what was waited for before: what was shown until then, and which."""
        ends = time.monotonic() + seconds
        while True:
            text = self.text
            places = [(text.find(each, self._seen), each) for each in wanted]
            if there := [each for each in places if each[0] >= 0]:
                place, found = min(there)
                before, self._seen = text[self._seen : place], place + len(found)
                return before, found
            if time.monotonic() > ends or not self._read(ends - time.monotonic()):
                raise AssertionError(f"none of {wanted} was shown; shown was:\n{text[self._seen :]}")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def line(self, text: str = "") -> None:
        self.type(f"{text}\n")

    def interrupt(self) -> None:
        self.type("\x03")

    def stop(self) -> None:
        """Ctrl-C, and again while nothing comes of it: one that falls into a library's call may be lost there."""
        for _ in range(12):
            self.interrupt()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.end(10)
                return
        raise AssertionError("it does not stop")

    def end(self, seconds: float = 120) -> int:
        """Read to the end; the exit code."""
        ends = time.monotonic() + seconds
        while self._read(max(0.0, ends - time.monotonic())):
            pass
        return self.process.wait(max(1.0, ends - time.monotonic()))

    def _read(self, seconds: float) -> bool:
        """More of what is shown; False at its end."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has the other side open any more
            return False
        self.raw += data
        return bool(data)
