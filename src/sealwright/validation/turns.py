"""Short turns on the processor, for who answers in microseconds.

When more wants to run than there are processors, Linux gives each a turn of some milliseconds, and whoever waits for
an answer waits for that long. A worker asks for turns of 0.1 ms (sched_setattr(2); Linux 6.12, which also lets who has
short ones go first when it wakes up), and gives its turn up after a few answers. Where the kernel knows no such turns
the worker keeps its own: it would give up a whole one each time.
"""

import ctypes
import platform
from typing import Any, Final

ANSWERS: Final = 32
"""In one turn: some 0.2 ms."""

_SLICE_NS: Final = 100_000
_SYSTEM_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Numbers of sched_setattr and sched_getattr; libc has no name for them."""
_NORMAL: Final = (0, 3)
"""SCHED_OTHER and SCHED_BATCH."""


class Attributes(ctypes.Structure):
    """struct sched_attr, in its second size (Linux 5.3)."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
        ("util_min", ctypes.c_uint32),
        ("util_max", ctypes.c_uint32),
    )
    policy: int
    runtime: int


def ask_for_short_turns() -> bool:
    """For this thread. False where there are none, or they are not ours to ask for; then nothing is changed."""
    numbers = _SYSTEM_CALLS.get(platform.machine())
    if numbers is None:
        return False
    call: Any = ctypes.CDLL(None).syscall
    found = _attributes(call, numbers[1])
    if found is None or found.policy not in _NORMAL or not found.runtime:  # 0: an older kernel
        return False
    found.runtime = _SLICE_NS  # the rest as it was: nice, for one
    if call(numbers[0], 0, ctypes.byref(found), 0) != 0:
        return False
    now = _attributes(call, numbers[1])
    return now is not None and now.runtime == _SLICE_NS


def _attributes(call: Any, number: int) -> Attributes | None:
    found = Attributes()
    done = call(number, 0, ctypes.byref(found), ctypes.sizeof(found), 0) == 0
    return found if done else None
