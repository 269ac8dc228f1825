"""Telling: headings, the commands as a person would type them, what they answered, how long each took."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from sealwright.cli.quickstart.verifiers import Word
from sealwright.errors import SealwrightError, StorageError

_DISK = ("No space left on device", "Read-only file system", "Disk quota exceeded", "the disk took")


@dataclass(slots=True)
class Story:
    """``environment`` is what every command gets beside the process's own, and ``inherited`` the descriptors; ``home``
    shortens paths in what is shown."""

    home: Path
    environment: Mapping[str, str]
    inherited: tuple[int, ...] = ()
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    words: list[Word] = field(default_factory=list)
    chapter_number: int = 0
    began: float = field(default_factory=time.monotonic)

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        self.chapter_number += 1
        self.console.print()
        self.console.print(Text(f"{self.chapter_number}. {title}", style="bold"))
        start = time.monotonic()
        yield
        self.console.print(Text(f"   ({time.monotonic() - start:.1f} s)", style="dim"))

    def tell(self, text: str) -> None:
        for line in text.splitlines():
            self.console.print(Text(f"   {line}"))

    def show(self, words: Sequence[str]) -> None:
        """A command, as a person would type it."""
        text = shlex.join(word.replace(f"{self.home}/", "") for word in words)
        self.console.print(Text(f"   $ {text}", style="cyan"))

    def run(
        self,
        command: str,
        *more: str | Path,
        environment: Mapping[str, str] | None = None,
        show: bool = True,
        output: bool = False,
        **values: object,
    ) -> str:
        """Run a command, shown as it could be typed; returns its stdout, and prints it too when ``output``.

        ``command`` is a line whose words are formatted with ``values`` one by one, so that a value is never split;
        ``more`` are further words. Raises ``SealwrightError`` with the command's own words when it fails.
        """
        words = [*(word.format(**values) for word in command.split()), *map(str, more)]
        if show:
            self.show(words)
        done = subprocess.run(
            [_program(words[0]), *words[1:]],
            env={**os.environ, **self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
            pass_fds=self.inherited,
        )
        if done.returncode != 0:
            said = [line.strip() for line in (done.stderr.strip() or done.stdout.strip()).splitlines()]
            error = next((line for line in said if line.startswith("error: ")), said[-1] if said else "it said nothing")
            hint = next((line for line in said if line.startswith("hint: ")), "hint: see the logs in pki/log")
            kind = StorageError if any(sign in error for sign in _DISK) else SealwrightError
            raise kind(
                f"`{words[0]} {words[1]}` ended with {done.returncode}: {error.removeprefix('error: ')}",
                hint=hint.removeprefix("hint: "),
            )
        if output:
            self.tell("\n".join("  " + line for line in done.stdout.rstrip().splitlines()))
        return done.stdout

    def word(self, word: Word) -> None:
        """What a verifier said. Raises ``SealwrightError`` when it is not what was wanted."""
        self.words.append(word)
        mark = {True: "✓", False: "✗", None: "–"}[word.good]
        self.tell(f"{mark} {word.verifier}, {word.asked}: {word.said}")
        if word.good is False:
            raise SealwrightError(f"{word.verifier} did not say what was wanted of {word.asked}: {word.said}")

    def elapsed(self) -> float:
        """Seconds since the story began."""
        return time.monotonic() - self.began


def _program(name: str) -> str:
    """Our own commands are those beside the Python that tells the story; others are found on the PATH."""
    own = Path(sys.executable).with_name(name)
    return str(own) if name.startswith("sealwright") else name
