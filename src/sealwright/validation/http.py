"""HTTP/1.1 on a connection: bounded in octets and in time, pipelined, as bare as it can be.

httptools (llhttp) reads, strictly; this decides when enough is enough; ``responder`` says what to answer, and ``quick``
knows it already of most requests. Replies are made only while the client takes them, so that a flood of requests is not
a flood of memory.
"""

import asyncio
import fcntl
import heapq
import logging
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Final, NamedTuple, cast

import httptools

from sealwright.errors import IntegrityError
from sealwright.pki.ocsp_query import QUERY_LIMIT
from sealwright.validation import responder
from sealwright.validation.counts import Counts
from sealwright.validation.quick import Clock, ShortWay
from sealwright.validation.responder import Reply, Request, Responder
from sealwright.validation.turns import ANSWERS

log = logging.getLogger("sealwright.validation")

HEADER_LIMIT: Final = 32 * 1024
"""Octets of request line and headers; a GET of the largest request fits."""
_REQUEST_LIMIT: Final = HEADER_LIMIT + 8 * QUERY_LIMIT
"""Octets of a request however it is cut: a chunk of one octet takes six, and extensions and trailers are nobody's."""
_UNSENT_LIMIT: Final = 256 * 1024
"""Octets waiting for the client above which no further reply is made."""
_LEAST_TAKEN: Final = 64 * 1024
"""Octets that a client has to take in the time it has: a long CRL may take hours, if it is taken."""

_LINGER_LIMIT: Final = 8 << 20
"""Octets still taken, and thrown away, from a client that was refused, so that it reads the refusal and not a reset."""


class _EnoughError(Exception):
    """Thrown through the parser to stop it."""


class _Pending(NamedTuple):
    request: Request
    keep_alive: bool


class Connections:
    """All connections of a worker, with what they share; those that take too long are closed from here."""

    def __init__(
        self,
        answers: Responder,
        short: ShortWay,
        clock: Clock,
        *,
        header_seconds: float,
        idle_seconds: float,
        most: int = 1 << 20,
        give_way: Callable[[], object] | None = None,
    ) -> None:
        """``most``: connections at one time; for more, those that said nothing for the longest time are let go.
        ``give_way`` is called after each ``turns.ANSWERS``."""
        self.all: set[Connection] = set()
        self.answers, self.short, self.clock = answers, short, clock
        self.counts = Counts()
        self.ending = False
        self.give_way = give_way
        self._header_seconds, self._idle_seconds, self._most = header_seconds, idle_seconds, most

    def connect(self) -> "Connection":
        """For a client that has just come."""
        if len(self.all) >= self._most:
            self._make_room()
        return Connection(self)

    def _make_room(self) -> None:
        # Without a file for it the next client would be taken and dropped: whoever holds all connections and asks
        # nothing would keep everybody out. Some at a time, because finding them is a look at all.
        for connection in heapq.nsmallest(len(self.all) // 16 + 1, self.all, key=attrgetter("since")):
            self.all.discard(connection)
            connection.give_up()

    def sweep(self, now: float) -> None:
        """Close what has been idle, half said or not taken for too long. ``now`` by the monotonic clock."""
        for connection in tuple(self.all):
            allowed = self._header_seconds if connection.is_busy else self._idle_seconds
            if now - connection.since > allowed and not connection.has_taken(now):
                connection.give_up()

    def end(self) -> None:
        """The next answer is a connection's last. Who has just sent a request meets no closed door."""
        self.ending = True
        self.short.open = False

    def close_idle(self) -> None:
        """Let go of those that ask nothing; whoever is being answered gets it to the end."""
        for connection in tuple(self.all):
            connection.finish()


class Connection(asyncio.Protocol):
    """One client. ``since``: when it last began a request, ended one, or was found to have taken octets."""

    __slots__ = (
        "_body",
        "_body_size",
        "_closing",
        "_connections",
        "_counts",
        "_etag",
        "_expect",
        "_give_way",
        "_header_size",
        "_hosts",
        "_if_modified_since",
        "_in_headers",
        "_lingered",
        "_lingering",
        "_octets",
        "_parser",
        "_paused",
        "_pending",
        "_reading",
        "_refused",
        "_short",
        "_target",
        "_transport",
        "_untaken",
        "in_request",
        "since",
    )

    _transport: asyncio.Transport
    _parser: httptools.HttpRequestParser

    def __init__(self, connections: Connections) -> None:
        self._connections, self._short = connections, connections.short
        self._counts = connections.counts
        self._give_way = connections.give_way
        self._pending: deque[_Pending] = deque()
        self._paused = self._closing = self._lingering = False
        self._reading = True
        self._refused: Reply | None = None
        self._octets = self._lingered = self._untaken = 0
        self.since = time.monotonic()
        self.in_request = False
        self._begin()

    def _begin(self) -> None:
        self._target = self._etag = self._if_modified_since = b""
        self._body: list[bytes] = []
        self._body_size = self._header_size = self._hosts = 0
        self._in_headers = True
        self._expect = False

    # the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_UNSENT_LIMIT)
        self._parser = httptools.HttpRequestParser(self)
        self._connections.all.add(self)
        self._counts.connections += 1

    def connection_lost(self, _error: Exception | None) -> None:
        self._connections.all.discard(self)
        self._pending.clear()
        del self._parser  # it knows this connection: without the cycle both go at once

    def data_received(self, data: bytes) -> None:
        is_between = not (self.in_request or self._pending or self._closing or self._paused)
        if is_between and self._short.open:
            reply = self._short.answer(data)
            if reply is not None:
                self._counts.quick += 1
                self.since = time.monotonic()
                self._transport.write(reply)
                if self._give_way is not None and not self._counts.quick % ANSWERS:
                    self._give_way()
                return
        if self._closing:
            self._lingered += len(data)
            if self._lingered > _LINGER_LIMIT:
                self._transport.abort()
            return
        self._octets += len(data)
        try:
            self._parser.feed_data(data)
            if is_between and not self.in_request and len(self._pending) == 1 and not self._expect:
                request, keep_alive = self._pending[0]
                if keep_alive and not (request.if_none_match or request.if_modified_since):
                    self._short.remember_head(data, request.body)
        except httptools.HttpParserUpgrade:
            # A Java client offers h2c. It is answered in HTTP/1.1, as it allows, and on no further request.
            if self._pending:
                self._pending[-1] = self._pending[-1]._replace(keep_alive=False)
        except httptools.HttpParserError:
            self._refused = self._refused or responder.BAD_REQUEST
        # What the parser has not handed over yet (half a header, half a trailer) is counted here only.
        if self.in_request and self._in_headers and self._octets > HEADER_LIMIT:
            self._refused = self._refused or responder.HEADERS_TOO_LARGE
        elif self.in_request and self._octets > _REQUEST_LIMIT:
            self._refused = self._refused or responder.TOO_LARGE
        self._answer_pending()

    def eof_received(self) -> bool:
        # Half-closed: what was asked is still answered.
        self._closing = True
        return bool(self._pending)

    def pause_writing(self) -> None:
        self._paused = True
        self.since = time.monotonic()

    def resume_writing(self) -> None:
        self._paused = False
        self.since = time.monotonic()
        self._answer_pending()

    # llhttp

    def on_message_begin(self) -> None:
        self._begin()
        self.in_request = True
        self.since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > HEADER_LIMIT // 2:
            self._refuse(responder.URI_TOO_LONG)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_size += len(name) + len(value) + 4
        if self._header_size > HEADER_LIMIT:
            self._refuse(responder.HEADERS_TOO_LARGE)
        match name.lower():
            case b"if-none-match":
                self._etag = value
            case b"if-modified-since":
                self._if_modified_since = value
            case b"content-length":
                if not value.isdigit() or len(value) > 9 or int(value) > QUERY_LIMIT:
                    self._refuse(responder.TOO_LARGE)
            case b"transfer-encoding":
                if value.strip().lower() != b"chunked":  # what is coded otherwise, or twice, is not undone here
                    self._refuse(responder.BAD_REQUEST)
            case b"host":
                self._hosts += 1
            case b"expect":
                self._expect = value.lower() == b"100-continue"
            case _:
                pass

    def on_headers_complete(self) -> None:
        # RFC 9112 3.2. It decides nothing here, but a cache in front may go by one of two.
        if self._hosts > 1 or (not self._hosts and self._parser.get_http_version() == "1.1"):
            self._refuse(responder.BAD_REQUEST)
        self._in_headers = False
        if self._expect and not self._pending:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._body_size += len(body)
        if self._body_size > QUERY_LIMIT:
            self._refuse(responder.TOO_LARGE)

    def on_message_complete(self) -> None:
        self.in_request = False
        self._in_headers = True
        self._octets = 0
        body = b"".join(self._body)
        request = Request(self._parser.get_method(), self._target, body, self._etag, self._if_modified_since)
        self._pending.append(_Pending(request, self._parser.should_keep_alive()))

    def _refuse(self, reply: Reply) -> None:
        """Stop the parser in the middle: the rest of the request is not read."""
        self._refused = reply
        raise _EnoughError

    # answering

    def _answer_pending(self) -> None:
        if self._pending:
            self._send_pending()
        if not self._pending:
            self._end_of_queue()
        elif not self._closing and self._reading:
            self._reading = False
            self._transport.pause_reading()

    def _send_pending(self) -> None:
        clock, pending, counts = self._connections.clock, self._pending, self._counts
        now = clock.read()
        out: list[bytes] = []
        size = 0
        while pending and not self._paused and size < _UNSENT_LIMIT and not self._transport.is_closing():
            request, keep_alive = pending.popleft()
            try:
                head, body, kind = self._connections.answers.answer(request, now)
            except IntegrityError as error:
                log.error("no answer to %s: %s", request.target[:200], error)  # noqa: TRY400  # the disk's fault
                head, body, kind = responder.UNAVAILABLE
                counts.damaged = True
            except Exception:  # the edge: a fault of ours is a 503, and the trace is for the log alone
                log.exception("no answer to %s", request.target[:200])
                head, body, kind = responder.UNAVAILABLE
            counts.replies[kind] += 1
            if keep_alive and not self._connections.ending:
                out += (head, clock.date_line, b"\r\n")
            else:
                out += (head, b"Connection: close\r\n", clock.date_line, b"\r\n")
                self._closing = True
                pending.clear()
            if len(body) > _UNSENT_LIMIT:  # a long CRL is not copied once more
                self._transport.write(b"".join(out))
                self._transport.write(body)
                out = []
            else:
                out.append(body)
            size += len(head) + len(body)
        if out:
            self._transport.write(b"".join(out))
        self._untaken += size
        self.since = time.monotonic()
        if pending and not self._paused and not self._transport.is_closing():
            asyncio.get_running_loop().call_soon(self._answer_pending)

    def _end_of_queue(self) -> None:
        if self._transport.is_closing():
            return
        if self._refused is not None and not self._closing:
            self._closing = self._lingering = True
            self.since = time.monotonic()
            self._say(self._refused)
            self._transport.write_eof()  # the rest is read and thrown away until the client ends, or is too slow
        elif self._closing and not self._lingering:
            self._transport.close()
        elif not self._closing and not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _say(self, reply: Reply) -> None:
        """What is said to no request in particular."""
        self._counts.replies[reply.kind] += 1
        self._transport.write(b"".join((reply.head, self._connections.clock.date_line, b"\r\n", reply.body)))

    # from outside

    @property
    def is_busy(self) -> bool:
        """Something was begun that the client should end soon: a request, taking its answers, going away."""
        return self.in_request or self._paused or self._closing

    def has_taken(self, now: float) -> bool:
        """Its time is over, but it is busy taking what was written for it: then it has as much time again."""
        # The transport's own count is not enough: the system takes megabytes from it at a time, for a slow client
        # seldom. ``_untaken`` is what was untaken at the last look, and all that was written since.
        try:
            system = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # closed: this connection hears of it in the loop's next turn
            return False
        untaken = self._transport.get_write_buffer_size() + struct.unpack("i", system)[0]
        taken, self._untaken = self._untaken - untaken, untaken
        if not untaken or taken < _LEAST_TAKEN:
            return False
        self.since = now
        return True

    def give_up(self) -> None:
        """Too slow. Who has begun to ask is told so; who does not take its answer is cut off."""
        if self._paused or self._pending or self._closing:
            self._transport.abort()
            return
        self._closing = True
        if self.in_request:
            self._say(responder.TIMEOUT)
        self._transport.close()

    def finish(self) -> None:
        """The worker ends: no further request is waited for."""
        if not (self._pending or self.in_request or self._lingering):
            self._closing = True
            self._transport.close()
