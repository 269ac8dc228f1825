"""The room at a terminal: one step at a time, who acts, what to say, what to type back, the time, what comes next.

For tired people at whatever machine there is: 80 columns or 30, with colour or on a serial line without, in UTF-8 or in
ASCII; nothing is ever redrawn, so that a log of the line and a video of the screen show it all. What somebody typed
before the question was there is thrown away, and a key that is no letter costs no try.
"""

import os
import re
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleDimensions, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from sealwright.ceremony.people import TerminalPeople, why_unfit
from sealwright.ceremony.room import Question, Scene
from sealwright.errors import InputError

_COLOURFUL = re.compile(r"xterm|color|screen|tmux|linux|rxvt|foot|kitty|alacritty|putty")
_NARROWEST = 20
_EMPTY_LINES = 3
"""How often the end of input (Ctrl-D) is taken for a slip; then the terminal is gone."""


def people_here(*, key_files: Callable[[str], Path | None] = lambda _: None) -> TerminalPeople:
    """Whoever is there: people at a terminal, or a pipe that stands for one."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return RoomConsole(sys.stderr, key_files=key_files)
    return TerminalPeople(key_files=key_files)


class _Terminal(Console):
    """Its last column stays empty: a line that fills a terminal breaks by itself on some, and then once more."""

    @property
    def size(self) -> ConsoleDimensions:
        """Asked of the terminal each time: people pull at windows, and a serial line does not know its own."""
        try:
            width, height = os.get_terminal_size(self.file.fileno())
        except (OSError, ValueError):
            width, height = 0, 0
        return ConsoleDimensions(max((width or 80) - 1, _NARROWEST), height or 25)

    @size.setter
    def size(self, new: tuple[int, int]) -> None:
        raise NotImplementedError


class RoomConsole(TerminalPeople):
    """Implements ``room.People`` for people who look at it."""

    def __init__(
        self,
        out: TextIO,
        read: Callable[[], str] = input,
        *,
        clock: Callable[[], float] = time.monotonic,
        term: str | None = None,
        key_files: Callable[[str], Path | None] = lambda _: None,
    ) -> None:
        super().__init__(out, read, key_files=key_files)
        self._console = make_console(out, term)
        self._clock, self._began = clock, clock()
        self._lines, self._shown_last = 0, False
        self._dash, self._dot = ("─", "·") if self._console.color_system else ("-", "-")  # a VT100 has no UTF-8

    def begin_step(self, scene: Scene) -> None:
        if self._shown_last:
            self._pause("Enter, for the next step")
        else:
            self._began = self._clock()
        self._lines, self._shown_last = 0, True
        elapsed = int(self._clock() - self._began) // 60
        pace = f"{elapsed} min gone; planned {scene.planned_before} of {scene.planned_all}"
        following = f"next: {scene.next_who}, {scene.next_action}" if scene.next_action else "the last step"
        self._show(Text(""))
        self._show(Rule(characters=self._dash, style="bold"))
        self._sides(f"{scene.mode} {self._dot} {scene.title}", f"step {scene.number} of {scene.total}")
        self._sides(pace, f"this step: {scene.planned_here} min")
        self._show(Rule(characters=self._dash, style="bold"))
        self._sides(f"{scene.who.upper()}: {scene.action}", f"({following})")
        self._show(Text(""))
        self._show(Padding(Text(scene.say), (0, 0, 0, 4), expand=False))
        self._show(Text(""))

    def tell(self, text: str) -> None:
        self._show(Text(_readable(text)))
        self._shown_last = True

    def wait(self) -> None:
        self._pause("Enter, when it was read and hands are ready")

    def _pause(self, why: str) -> None:
        self._flush()
        self._console.print(Text(f"[{why}] ", "bold"), end="")
        self._out.flush()
        self._line()
        self._lines, self._shown_last = 0, False

    def ask(self, question: Question) -> str:
        self._show(Text(""))
        self._show(Text.assemble((f"{question.role.upper()}  ", "bold"), f"{question.prompt}."))
        ended = 0
        while ended < _EMPTY_LINES:
            self._flush()
            print("> ", end="", file=self._out, flush=True)
            answer = self._line()
            if answer is None:
                ended += 1
                self.tell("Nothing was typed. Type the answer; to stop the ceremony, press Ctrl-C.")
            elif not answer.isprintable():
                self.tell("A key was pressed that is no letter. Type it again; it does not count as a try.")
            elif unfit := why_unfit(question, answer):
                self.tell(unfit)
            else:
                self._lines, self._shown_last = 0, False
                return answer
        raise InputError("nobody answers: the input has ended", hint="is the terminal still connected?")

    def _line(self) -> str | None:
        """A line, or None when Ctrl-D came instead of one."""
        try:
            return self._read()
        except UnicodeDecodeError:
            return "\0"
        except EOFError:
            self.tell("")
            return None
        except KeyboardInterrupt:
            self.tell("")
            raise

    def _show(self, what: RenderableType) -> None:
        """Print; a page that is full waits, so that nothing scrolls away unread."""
        rows = len(self._console.render_lines(what, pad=False))
        if self._lines + rows > max(self._console.height - 2, 8):
            self._pause("Enter, for more")
        self._console.print(what)
        self._lines += rows

    def _sides(self, left: str, right: str) -> None:
        """Left and right on one line where they fit, else one below the other."""
        gap = self._console.width - cell_len(left) - cell_len(right)
        if gap >= 2:
            self._show(Text.assemble((left, "bold"), " " * gap, right))
        else:
            self._show(Text(left, "bold"))
            self._show(Text(right))

    def _flush(self) -> None:
        """What was typed before there was anything to answer is no answer."""
        if self._read is not input:
            return
        try:
            termios.tcflush(sys.stdin, termios.TCIFLUSH)
        except (termios.error, ValueError, OSError):
            return  # not a terminal after all


def make_console(out: TextIO, term: str | None = None) -> Console:
    """Colour only where the terminal is known for it; a VT100 has none, and rich would take it for one that has."""
    term = os.environ.get("TERM", "dumb") if term is None else term
    plain = not _COLOURFUL.search(term) or "NO_COLOR" in os.environ or (out.encoding or "").lower() != "utf-8"
    return _Terminal(
        file=out,
        color_system=None if plain else "standard",
        no_color=plain,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _readable(text: str) -> str:
    """Nothing that a token, a file or a person brought may steer the terminal."""
    return "".join(each if each == "\n" or each.isprintable() else "?" for each in text)
