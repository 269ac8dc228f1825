"""What a worker leaves in shared memory is what the parent reads, and what has ended stays counted."""

import os

from sealwright.validation.counts import Counts, Kind, add_up, clear, make_memory, open_memory
from sealwright.validation.snapshot import Freshness


def made(looked: int, freshness: Freshness) -> Counts:
    counts = Counts()
    counts.replies[Kind.ANSWERED], counts.quick, counts.connections, counts.open_connections = 3, 4, 5, 2
    counts.looked, counts.freshness = looked, freshness
    return counts


def test_every_figure_comes_back() -> None:
    descriptor, memory = make_memory()
    with memory, open_memory(descriptor) as of_the_worker:
        made(1000, Freshness(90, 3, 2, 1, 1)).write(of_the_worker, 7)
        read = Counts.read(memory, 7)
        assert (read.replies[Kind.ANSWERED], read.connections, read.open_connections) == (7, 5, 2)
        assert (read.looked, read.freshness) == (1000, Freshness(90, 3, 2, 1, 1))
        assert (read.crls_overdue, read.crls_over) == (1, 1)
        clear(memory, 7)
        assert Counts.read(memory, 7).freshness == Freshness(0, 0, 0)
    os.close(descriptor)


def test_of_the_snapshot_the_best_informed_is_believed() -> None:
    total = add_up([made(1000, Freshness(90, 3, 2, 1, 1)), made(999, Freshness(80, 0, 0))])
    assert (total.connections, total.open_connections) == (10, 4)
    assert (total.looked, total.freshness) == (1000, Freshness(90, 3, 2, 1, 1))
