"""Short turns: asked for where there are some, and nothing else of the process is changed."""

import ctypes
import platform
import subprocess
import sys
from typing import Any

import pytest

from sealwright.validation import turns

ASK = (
    "import ctypes, os, platform; from sealwright.validation import turns\n"
    "def turn():\n"
    "  numbers = turns._SYSTEM_CALLS.get(platform.machine())\n"
    "  found = numbers and turns._attributes(ctypes.CDLL(None).syscall, numbers[1])\n"
    "  return found.runtime if found else 0\n"
    "os.nice(3); print(turn(), turns.ask_for_short_turns(), turn(), os.getpriority(os.PRIO_PROCESS, 0))"
)


def test_a_process_has_short_turns_afterwards_or_what_it_had_before() -> None:
    """In a process of its own, whose turns stay as they are then."""
    said = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True, timeout=60).stdout
    before, short, after, nice = said.split()
    assert nice == "3"
    assert after == ("100000" if short == "True" else before)
    release = tuple(int(part) for part in platform.release().split(".")[:2])
    if release < (6, 12):
        assert short == "False"


class Kernel:
    """As the system call that a libc would make."""

    def __init__(
        self, *, runtime: int = 1_400_000, policy: int = 0, refuses: bool = False, forgets: bool = False
    ) -> None:
        self.attributes = turns.Attributes(size=ctypes.sizeof(turns.Attributes), policy=policy, runtime=runtime)
        self.refuses, self.forgets, self.asked = refuses, forgets, 0

    def __call__(self, number: int, thread: int, given: Any, *_: int) -> int:
        assert thread == 0
        attributes = given._obj
        if number in {numbers[1] for numbers in turns._SYSTEM_CALLS.values()}:
            ctypes.pointer(attributes)[0] = self.attributes
            return 0
        self.asked += 1
        if self.refuses:
            return -1
        if not self.forgets:
            self.attributes.runtime = attributes.runtime
        return 0


@pytest.mark.parametrize(
    ("kernel", "short", "asked"),
    [
        (Kernel(), True, 1),
        (Kernel(policy=3), True, 1),
        (Kernel(runtime=0), False, 0),
        (Kernel(policy=1), False, 0),
        (Kernel(refuses=True), False, 1),
        (Kernel(forgets=True), False, 1),
    ],
    ids=["6.12", "batch", "an older kernel", "a real-time process", "a filter of system calls", "it does nothing"],
)
def test_where_there_are_none_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, short: bool, asked: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: type("libc", (), {"syscall": kernel}))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert turns.ask_for_short_turns() is short
    assert kernel.asked == asked


def test_on_a_machine_that_is_not_known_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "m68k")
    assert not turns.ask_for_short_turns()
