"""From a request to an answer, bytes to bytes: the rules of the public server, without a socket and without a clock.

Routes, OCSP statuses, conditional requests and cache lifetimes (RFC 6960 A.1, RFC 9919, RFC 9110 13). Parsing HTTP is
``http``'s; finding is ``snapshot``'s. Nothing a client sends makes this raise.
"""

import binascii
import calendar
import json
import time
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from sealwright.errors import InputError
from sealwright.pki.ocsp_query import QUERY_LIMIT, parse_ocsp_query
from sealwright.validation.counts import Kind
from sealwright.validation.quick import ShortWay
from sealwright.validation.snapshot import Record, SnapshotReader

_TARGET_LIMIT: Final = 16_000
_STATIC_SECONDS: Final = 3600
"""Cache lifetime of what has no nextUpdate: CA certificates."""
_DATES: Final = ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y")
"""RFC 9110 5.6.7: how everybody writes a date, and two ways that a server has to know."""
_DATE_LIMIT: Final = 40


class Request(NamedTuple):
    """``target`` as it came; ``if_none_match`` and ``if_modified_since`` are headers' values, empty when absent."""

    method: bytes
    target: bytes
    body: bytes
    if_none_match: bytes = b""
    if_modified_since: bytes = b""


class Reply(NamedTuple):
    """``head``: status line and header lines, without Date and without the empty line."""

    head: bytes
    body: bytes
    kind: Kind = Kind.REFUSED


def _fixed(status: str, content_type: str, body: bytes, *more: str, kind: Kind = Kind.REFUSED) -> Reply:
    lines = [
        f"HTTP/1.1 {status}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        *more,
    ]
    return Reply("".join(f"{line}\r\n" for line in lines).encode("ascii"), body, kind)


def _ocsp_error(status: int, kind: Kind) -> Reply:
    return _fixed("200 OK", "application/ocsp-response", bytes((0x30, 3, 0x0A, 1, status)), kind=kind)


MALFORMED: Final = _ocsp_error(1, Kind.MALFORMED)
TRY_LATER: Final = _ocsp_error(3, Kind.TRY_LATER)
UNAUTHORIZED: Final = _ocsp_error(6, Kind.UNAUTHORIZED)
"""RFC 9919 3.2.3: what a responder with pre-signed answers says of a certificate it has none for."""


def _plain(status: str, *more: str) -> Reply:
    kind = Kind.FAILED if status.startswith("5") else Kind.REFUSED
    return _fixed(status, "text/plain; charset=utf-8", status.encode("ascii") + b"\n", *more, kind=kind)


NOT_FOUND: Final = _plain("404 Not Found")
BAD_REQUEST: Final = _plain("400 Bad Request", "Connection: close")
TIMEOUT: Final = _plain("408 Request Timeout", "Connection: close")
TOO_LARGE: Final = _plain("413 Content Too Large", "Connection: close")
URI_TOO_LONG: Final = _plain("414 URI Too Long", "Connection: close")
HEADERS_TOO_LARGE: Final = _plain("431 Request Header Fields Too Large", "Connection: close")
UNAVAILABLE: Final = _plain("503 Service Unavailable", "Retry-After: 5")
_READ_ONLY: Final = _plain("405 Method Not Allowed", "Allow: GET, HEAD")
_OCSP_METHODS: Final = _plain("405 Method Not Allowed", "Allow: GET, HEAD, POST")


class Responder:
    """Answers from one snapshot; None: there is none yet, and every answer is "later".

    ``max_age``: seconds that caches may keep an answer, at most. ``prefix``: of every path, when the PKI's URL has one.
    ``short`` is told what requests mean. Raises ``IntegrityError``, and what LMDB raises, when the snapshot is damaged.
    """

    def __init__(
        self, snapshot: SnapshotReader | None, *, max_age: int, prefix: str = "", short: ShortWay | None = None
    ) -> None:
        self._snapshot, self._max_age, self._prefix = snapshot, max_age, prefix.encode("ascii")
        self._short = short

    def answer(self, request: Request, now: int) -> Reply:
        """The reply; to HEAD with an empty body."""
        reply = self._answer(request, now)
        return reply._replace(body=b"") if request.method == b"HEAD" else reply

    def _answer(self, request: Request, now: int) -> Reply:
        path = request.target.partition(b"?")[0]
        if path[:7].lower() == b"http://":  # absolute-form: as a proxy has it (RFC 9112 3.2.2)
            path = b"/" + path[7:].partition(b"/")[2]
        path = path.removeprefix(self._prefix)
        if path == b"/ocsp" or path.startswith(b"/ocsp/"):
            return self._answer_ocsp(request, path[6:], now)
        if request.method not in (b"GET", b"HEAD"):
            return _READ_ONLY
        if path.startswith((b"/crl/", b"/ca/")):
            if self._snapshot is None:
                return UNAVAILABLE
            record = self._snapshot.find_object(path.decode("ascii", "replace"))
            return NOT_FOUND if record is None else self._serve(record, request, now)
        if path == b"/healthz":
            return self._health(now)
        return NOT_FOUND

    def _answer_ocsp(self, request: Request, encoded: bytes, now: int) -> Reply:
        match request.method:
            case b"POST":
                # A body goes with the bare URL; what follows it there is nobody's.
                data = request.body if not encoded else b""
            case b"GET" | b"HEAD":
                data = _decode_target(encoded)
            case _:
                return _OCSP_METHODS
        try:
            query = parse_ocsp_query(data)
        except InputError:
            return MALFORMED
        if self._snapshot is None:
            return TRY_LATER
        record = self._snapshot.find_answer(query)
        if record is None:
            return UNAUTHORIZED
        if self._short is not None:
            self._short.remember_query(data, query)
        if record.next_update <= now:  # older than it may be: nobody would believe it
            return TRY_LATER
        return self._serve(record, request, now)

    def _serve(self, record: Record, request: Request, now: int) -> Reply:
        cache = b"Cache-Control: max-age=%d, public, no-transform, must-revalidate\r\n" % self._lifetime(record, now)
        if request.method != b"POST" and _is_known(request, record):
            # RFC 9110 15.4.5: what a 200 would have said, without what describes the content.
            kept = record.head[record.head.index(b"\r\n", record.head.index(b"Content-Length:")) + 2 :]
            return Reply(b"HTTP/1.1 304 Not Modified\r\n" + kept + cache, b"", Kind.NOT_MODIFIED)
        return Reply(b"HTTP/1.1 200 OK\r\n" + record.head + cache, record.body, Kind.ANSWERED)

    def _lifetime(self, record: Record, now: int) -> int:
        """So that now + lifetime is before nextUpdate, and before the refresh."""
        if not record.next_update:
            return _STATIC_SECONDS
        return max(0, min(self._max_age, record.next_update - now - 1, record.fresh_until - now - 1))

    def _health(self, now: int) -> Reply:
        progress = None if self._snapshot is None else self._snapshot.progress()
        if progress is None:
            return _fixed("503 Service Unavailable", "application/json", b'{"status":"empty"}\n', kind=Kind.FAILED)
        state = {"status": "ok", "change": progress.change, "seconds_since_sync": max(0, now - progress.looked)}
        return _fixed("200 OK", "application/json", json.dumps(state).encode("ascii") + b"\n", kind=Kind.ANSWERED)


def _decode_target(encoded: bytes) -> bytes:
    """The request inside a GET's path (RFC 6960 A.1.1), however it was escaped and padded; nothing if it is none."""
    if len(encoded) > _TARGET_LIMIT:
        return b""
    if b"%" in encoded:
        encoded = unquote_to_bytes(encoded)
    encoded = encoded.lstrip(b"/").rstrip(b"=")  # a client that joins with "/" twice; DER in base64 begins with M
    if len(encoded) > QUERY_LIMIT * 4 // 3 + 4:
        return b""
    try:
        return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        return b""


def _is_known(request: Request, record: Record) -> bool:
    """The client has it already, and asks whether it was changed."""
    if request.if_none_match:  # RFC 9110 13.2.2: then the date is nothing
        return _matches(request.if_none_match, record.etag)
    return bool(request.if_modified_since) and 0 < record.this_update <= _read_date(request.if_modified_since)


def _read_date(value: bytes) -> int:
    """An HTTP-date in Unix seconds; 0 for what is none, and is ignored (RFC 9110 13.1.3)."""
    for form in _DATES if len(value) <= _DATE_LIMIT else ():
        with suppress(ValueError):
            return calendar.timegm(time.strptime(value.decode("ascii"), form))
    return 0


def _matches(if_none_match: bytes, etag: bytes) -> bool:
    # RFC 9110 13.1.2: weak comparison, any of a list.
    given = if_none_match.strip()
    return given == b"*" or any(each.strip().removeprefix(b"W/") == etag for each in given.split(b","))
