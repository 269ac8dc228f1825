"""What an answering process counts, and how it tells its parent: a slot of shared memory, written once a second.

Nobody waits for anybody: a number may be a second old, and what a killed process counted in its last second is lost.
"""

import mmap
import os
import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import Final


class Kind(IntEnum):
    """What a reply was, for those who look at the numbers."""

    ANSWERED = 0
    NOT_MODIFIED = 1
    MALFORMED = 2
    UNAUTHORIZED = 3
    TRY_LATER = 4
    REFUSED = 5
    """4xx: no OCSP request and no file of ours, or too much, or too slow."""
    FAILED = 6
    """5xx: ours, or the disk's."""

    @property
    def label(self) -> str:
        return self.name.lower()


_SLOT: Final = struct.Struct(f"={len(Kind) + 10}Q")
SLOTS: Final = 256
"""Of workers at one time; those that are ending count too."""


class Counts:
    """Of one process, since it began."""

    def __init__(self) -> None:
        self.replies = [0] * len(Kind)
        self.quick = 0
        """Of the answered ones, those that went the short way; they are in ``replies`` from ``write`` on."""
        self.connections = 0
        self.open_connections = 0
        self.ready = self.damaged = False
        """It answers; the snapshot was found damaged."""
        self.looked = self.answers = self.overdue = self.over = self.crls_overdue = self.crls_over = 0
        """What the snapshot says of itself: ``snapshot.Progress``, ``snapshot.Freshness``."""

    @property
    def freshness(self) -> tuple[int, ...]:
        """As ``snapshot.Freshness`` has it."""
        return self.answers, self.overdue, self.over, self.crls_overdue, self.crls_over

    @freshness.setter
    def freshness(self, found: tuple[int, ...]) -> None:
        self.answers, self.overdue, self.over, self.crls_overdue, self.crls_over = found

    def write(self, memory: mmap.mmap, slot: int) -> None:
        answered, *others = self.replies
        now = (self.connections, self.open_connections, int(self.ready), int(self.damaged))
        snapshot = (self.looked, *self.freshness)
        _SLOT.pack_into(memory, slot * _SLOT.size, answered + self.quick, *others, *now, *snapshot)

    @classmethod
    def read(cls, memory: mmap.mmap, slot: int) -> "Counts":
        counts = cls()
        fields = _SLOT.unpack_from(memory, slot * _SLOT.size)
        counts.replies = list(fields[: len(Kind)])
        counts.connections, counts.open_connections, ready, damaged = fields[len(Kind) : len(Kind) + 4]
        counts.ready, counts.damaged = bool(ready), bool(damaged)
        counts.looked, *freshness = fields[len(Kind) + 4 :]
        counts.freshness = tuple(freshness)
        return counts


def clear(memory: mmap.mmap, slot: int) -> None:
    """For the next process that gets this slot."""
    Counts().write(memory, slot)


def make_memory() -> tuple[int, mmap.mmap]:
    """(file descriptor to inherit, memory)."""
    descriptor = os.memfd_create("sealwright-counts", 0)
    os.ftruncate(descriptor, SLOTS * _SLOT.size)
    return descriptor, mmap.mmap(descriptor, SLOTS * _SLOT.size)


def open_memory(descriptor: int) -> mmap.mmap:
    """In the process that inherited it."""
    return mmap.mmap(descriptor, SLOTS * _SLOT.size)


def add_up(counts: Iterable[Counts]) -> Counts:
    """Replies and connections of all; of the snapshot what the best informed says."""
    total = Counts()
    for each in counts:
        total.replies = [a + b for a, b in zip(total.replies, each.replies, strict=True)]
        total.connections += each.connections
        total.open_connections += each.open_connections
        if each.looked >= total.looked:
            total.looked, total.freshness = each.looked, each.freshness
    return total
