"""An answering process: one snapshot, listening sockets that it inherits, one event loop. Nothing else at hand.

Its configuration is the first line of standard input; the end of standard input, or SIGTERM, ends it. SIGUSR1 asks it
to leave: it takes no new connection, answers those it has with ``Connection: close``, and goes when the last is gone.
Run as ``python -m sealwright.validation.worker`` by ``service``, which starts another when one dies.
"""

import asyncio
import gc
import logging
import mmap
import os
import resource
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import uvloop

from sealwright.errors import IntegrityError, SealwrightError
from sealwright.logs import log_to_stderr
from sealwright.validation.config import WorkerConfig
from sealwright.validation.counts import open_memory
from sealwright.validation.http import Connections
from sealwright.validation.quick import TICK_SECONDS, Clock, ShortWay
from sealwright.validation.responder import Responder
from sealwright.validation.snapshot import SnapshotReader
from sealwright.validation.turns import ask_for_short_turns

log = logging.getLogger("sealwright.validation")

_BACKLOG: Final = 1024
_STOP_SECONDS: Final = 5.0
_SWEEP_SECONDS: Final = 1.0
_LEAVE_SWEEP_SECONDS: Final = 0.1


def main() -> int:
    log_to_stderr("validation-worker")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us in order
    config = WorkerConfig.from_json(sys.stdin.buffer.readline())
    damaged = False
    snapshot = None
    try:
        snapshot = SnapshotReader.open(Path(config.snapshot), config.pki) if config.snapshot else None
    except SealwrightError as error:
        log.error("%s", error)  # noqa: TRY400  # one line for a person, no trace
        if not isinstance(error, IntegrityError):
            return error.exit_code
        damaged = True
    most = _allow_many_files()
    # What was loaded stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    try:
        uvloop.run(_serve(config, snapshot, most, damaged=damaged))
    finally:
        if snapshot is not None:
            snapshot.close()
    return 0


async def _serve(config: WorkerConfig, snapshot: SnapshotReader | None, most: int, *, damaged: bool) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_reader(sys.stdin.fileno(), _watch_parent, stop)
    clock = Clock(config.max_age_seconds)
    short = ShortWay(snapshot, clock, config.prefix)
    answers = Responder(snapshot, max_age=config.max_age_seconds, prefix=config.prefix, short=short)
    connections = Connections(
        answers,
        short,
        clock,
        header_seconds=config.header_seconds,
        idle_seconds=config.idle_seconds,
        most=most,
        give_way=os.sched_yield if ask_for_short_turns() else None,
    )
    connections.counts.damaged = damaged
    memory = None if config.counts < 0 else open_memory(config.counts)
    servers = [
        await loop.create_server(connections.connect, sock=socket.socket(fileno=os.dup(number)), backlog=_BACKLOG)
        for number in config.listeners
    ]
    _tell(connections, memory, config.slot, snapshot)

    def leave() -> None:
        for server in servers:
            server.close()
        connections.end()

    def tick() -> None:
        short.tick()
        loop.call_later(TICK_SECONDS, tick)

    tick()
    loop.add_signal_handler(signal.SIGUSR1, leave)
    while not (stop.is_set() or (connections.ending and not connections.all)):
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _LEAVE_SWEEP_SECONDS if connections.ending else _SWEEP_SECONDS)
        connections.sweep(time.monotonic())
        _tell(connections, memory, config.slot, snapshot)
    leave()
    connections.close_idle()
    deadline = time.monotonic() + _STOP_SECONDS
    while connections.all and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    _tell(connections, memory, config.slot, snapshot)


def _tell(connections: Connections, memory: mmap.mmap | None, slot: int, snapshot: SnapshotReader | None) -> None:
    if memory is None:
        return
    counts = connections.counts
    counts.ready, counts.open_connections = True, len(connections.all)
    if snapshot is not None:
        try:
            progress, freshness = snapshot.progress(), snapshot.freshness()
        except (IntegrityError, ValueError) as error:
            if not counts.damaged:
                log.error("the snapshot cannot be read: %s", error)  # noqa: TRY400  # the disk's fault
            counts.damaged = True
        else:
            counts.looked = 0 if progress is None else progress.looked
            counts.freshness = freshness
    counts.write(memory, slot)


def _watch_parent(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _allow_many_files() -> int:
    """As many as the system lets this user have. Gives how many connections that is: what comes in one turn of the loop
    has to find a file before anybody is let go."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        files = 1 << 20
    return files - min(files // 4, _BACKLOG + 64)


if __name__ == "__main__":
    sys.exit(main())
