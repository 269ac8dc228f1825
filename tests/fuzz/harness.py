"""libFuzzer at one target, in a process of its own: ``harness.py TARGET REPORT CORPUS -runs=N``.

REPORT gets, as JSON, how many inputs there were, the slowest in milliseconds of this thread's own time (a busy machine
is no fault of the parser), and the resident memory after the first tenth and at the end.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["sealwright"]):
    from sealwright.errors import InputError
    from sealwright.pki.ocsp_query import parse_ocsp_query
    from sealwright.validation.http import Connections
    from sealwright.validation.quick import Clock, ShortWay
    from sealwright.validation.responder import Responder

from edge import fill  # what is served in the tests of the edge

Parse = Callable[[bytes], None]


def query(_: Path) -> Parse:
    """The OCSP request alone."""

    def parse(data: bytes) -> None:
        with suppress(InputError):
            parse_ocsp_query(data)

    return parse


class Transport:
    """Throws away what is written, once it looks like an answer."""

    closed = False

    def write(self, data: bytes) -> None:
        assert data.startswith((b"HTTP/1.1 ", b"\r\n")) or b"HTTP/1.1 5" not in data, data

    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed


class Turns:
    """The loop's: a connection with much to answer goes on in its next one."""

    def __init__(self) -> None:
        self._waiting: list[Callable[[], None]] = []

    def call_soon(self, call: Callable[[], None]) -> None:
        self._waiting.append(call)

    def take(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()


def edge(folder: Path) -> Parse:
    """All of a worker but its sockets: a connection gets the octets in two pieces, the first octet says where."""
    clock = Clock(45)
    snapshot = fill(folder / "snapshot").reader()
    short = ShortWay(snapshot, clock)
    connections = Connections(
        Responder(snapshot, max_age=45, short=short), short, clock, header_seconds=10, idle_seconds=60
    )

    turns = Turns()
    asyncio._set_running_loop(turns)  # type: ignore[arg-type]  # what a connection needs of one

    def parse(data: bytes) -> None:
        connection, transport = connections.connect(), Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]  # what a connection needs of one
        cut = data[0] if data else 0
        for piece in (data[1 : 1 + cut], data[1 + cut :]):
            if piece and not transport.closed:
                connection.data_received(piece)
            turns.take()
        connection.connection_lost(None)

    return parse


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


SLOW = 5.0
"""Milliseconds from which an input is tried again."""


def timed(parse: Callable[[bytes], None], data: bytes) -> float:
    """Milliseconds of this thread's own time."""
    begun = time.thread_time()
    parse(data)
    return (time.thread_time() - begun) * 1000


def main() -> None:
    target, report, *arguments = sys.argv[1:]
    runs = int(next(each for each in arguments if each.startswith("-runs="))[6:])
    folder = Path(tempfile.mkdtemp(dir=Path(report).parent))
    parse = {"query": query, "edge": edge}[target](folder)
    seen = {"inputs": 0, "slowest_ms": 0.0, "early": 0, "late": 0}

    def one(data: bytes) -> None:
        took = timed(parse, data)
        if took > SLOW:  # the collector's turn, or the fuzzer's own: an input that is slow stays slow
            took = min(took, timed(parse, data), timed(parse, data))
        seen["inputs"] += 1
        seen["slowest_ms"] = max(seen["slowest_ms"], took)
        if seen["inputs"] == runs // 10:
            seen["early"] = resident()
        if seen["inputs"] >= runs:
            Path(report).write_text(json.dumps({**seen, "late": resident()}))

    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


main()
