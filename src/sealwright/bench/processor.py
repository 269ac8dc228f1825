"""Processor time by process, from Linux's /proc: who pays for what while several processes share the cores."""

import os
from pathlib import Path


def processor_ms(*pids: int) -> float:
    """User and system time so far of these processes, all their threads included, in milliseconds."""
    return sum(map(_ticks, pids)) * 1000 / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> tuple[int, ...]:
    """The processes that this one started and that still run, the oldest first."""
    lists = (each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children"))
    return tuple(sorted(int(child) for each in lists for child in each))


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # a name may have spaces; proc(5)
    return int(fields[11]) + int(fields[12])
