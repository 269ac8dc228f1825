"""The short way says what the long way says, whatever comes and however it is cut into pieces."""

import base64
import re
from collections.abc import Iterator, Sequence
from typing import cast
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import BODY, HASHES, NOW, fill
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.validation.counts import Kind
from sealwright.validation.http import HEADER_LIMIT, Connection, Connections
from sealwright.validation.quick import Clock, ShortWay
from sealwright.validation.responder import Responder
from sealwright.validation.snapshot import SnapshotReader, make_record
from sealwright.validation.turns import ANSWERS

SHA256_HASHES = (bytes(range(32)), bytes(range(32, 64)))
KNOWN = [(1 << 158) + number for number in range(5)]
HIGH = 0x80 << 152  # as a DER INTEGER it takes 21 octets


class Transport:
    """Takes what is written, at once; says whether it was closed."""

    def __init__(self) -> None:
        self.written = b""
        self.closed = False

    def set_write_buffer_limits(self, high: int) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnapshotReader]:
    writer = fill(tmp_path_factory.mktemp("quick") / "snapshot")
    with writer.write() as transaction:
        for form, issuer in ((CertIDForm.SHA1, HASHES), (CertIDForm.SHA256, SHA256_HASHES)):
            for serial in KNOWN:
                record = make_record(
                    content_type="application/ocsp-response",
                    body=BODY + form.encode() + b"%x" % serial,
                    this_update=NOW,
                    next_update=NOW.replace(year=NOW.year + 1),
                    fresh_until=NOW.replace(year=NOW.year + 1),
                )
                transaction.put_answer(form, issuer, serial, record)
    yield writer.reader()
    writer.close()


class Worker:
    """All of a worker but its sockets. ``short`` False: it knows only the long way."""

    def __init__(self, snapshot: SnapshotReader, *, short: bool) -> None:
        clock = Clock(45)
        self.short = ShortWay(snapshot, clock)
        self.short.open = short
        answers = Responder(snapshot, max_age=45, short=self.short)
        self.connections = Connections(answers, self.short, clock, header_seconds=10, idle_seconds=60)

    def connect(self) -> tuple[Connection, Transport]:
        connection, transport = self.connections.connect(), Transport()
        connection.connection_made(transport)  # type: ignore[arg-type]  # what a connection needs of one
        return connection, transport

    def say(self, pieces: Sequence[bytes]) -> tuple[list[tuple[bytes, frozenset[bytes], bytes]], bool]:
        """The replies, and whether the connection was closed."""
        connection, transport = self.connect()
        for piece in pieces:
            if not transport.closed:
                connection.data_received(piece)
        return replies(transport.written), transport.closed


def test_a_worker_gives_way_after_some_answers(snapshot: SnapshotReader) -> None:
    worker, turns = Worker(snapshot, short=True), []
    worker.connections.give_way = lambda: turns.append(worker.connections.counts.quick)
    connection, _ = worker.connect()
    for _ in range(3 * ANSWERS):
        connection.data_received(post(query(KNOWN[0])))
    assert turns == [ANSWERS, 2 * ANSWERS]  # the first request went the long way


def replies(written: bytes) -> list[tuple[bytes, frozenset[bytes], bytes]]:
    """Status, headers in no order and without Date, and body of each."""
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        has_body = length and not rest.startswith(b"HTTP/1.1 ")  # to HEAD there is none
        size = int(length[1]) if length and has_body else 0
        found.append((status, frozenset(each for each in lines if not each.startswith(b"Date:")), rest[:size]))
        written = rest[size:]
    return found


def query(serial: int, *, sha256: bool = False, nonce: bytes | None = None) -> bytes:
    issuer, algorithm = (SHA256_HASHES, hashes.SHA256()) if sha256 else (HASHES, hashes.SHA1())  # noqa: S303  # a CertID's
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*issuer, serial, algorithm)
    if nonce is not None:
        from cryptography import x509

        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def get(data: bytes, headers: bytes = b"Host: pki\r\n", *, safe: str = "") -> bytes:
    return b"GET /ocsp/" + quote(base64.b64encode(data), safe=safe).encode() + b" HTTP/1.1\r\n" + headers + b"\r\n"


def post(data: bytes, headers: bytes = b"Host: pki\r\n", path: bytes = b"/ocsp") -> bytes:
    length = b"Content-Length: %d\r\n\r\n" % len(data)
    return b"POST " + path + b" HTTP/1.1\r\n" + headers + length + data


SERIALS = st.sampled_from([*KNOWN, 1, 2, HIGH, KNOWN[0] + 99])
QUERIES = st.one_of(
    st.builds(query, SERIALS, sha256=st.booleans()),
    st.builds(query, SERIALS, sha256=st.booleans(), nonce=st.just(b"n" * 16)),
    st.tuples(st.builds(query, SERIALS), st.integers(0, 86), st.integers(0, 255)).map(
        lambda each: each[0][: each[1]] + bytes((each[2],)) + each[0][each[1] + 1 :]
    ),
    st.builds(lambda data, tail: data + tail, st.builds(query, SERIALS), st.binary(max_size=3)),
    st.binary(max_size=100),
)
HEADERS = st.sampled_from(
    [
        b"Host: pki\r\n",
        b"Host: pki\r\n",
        b"Host: pki\r\nUser-Agent: Java/17\r\n",
        b"Host: pki\r\nConnection: close\r\n",
        b"Host: pki\r\nIf-None-Match: *\r\n",
        b"Host: pki\r\nIf-Modified-Since: Sat, 06 Nov 2094 08:49:37 GMT\r\n",
        b"Host: pki\r\nExpect: 100-continue\r\n",
        b"Host: pki\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
        b"Host: pki\r\nContent-Length: 0\r\n",
    ]
)
REQUESTS = st.one_of(
    st.builds(get, QUERIES, HEADERS, safe=st.sampled_from(["", "/", "/+=", "+"])),
    st.builds(post, QUERIES, HEADERS.filter(lambda each: b"Content-Length" not in each)),
    st.builds(post, QUERIES, path=st.sampled_from([b"/ocsp", b"/ocsp/", b"/ocsp?x", b"/crl/x", b"//ocsp"])),
    st.builds(get, QUERIES).map(lambda each: each.replace(b"GET", b"HEAD")),
    st.builds(get, QUERIES).map(lambda each: each.replace(b"HTTP/1.1", b"HTTP/1.0")),
    st.builds(get, QUERIES).map(lambda each: each.replace(b"\r\n", b"\n")),
    st.sampled_from([b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: pki\r\n\r\n", b" HTTP/1.1\r\nHost: pki\r\n\r\n"]),
)


@given(requests=st.lists(REQUESTS, min_size=1, max_size=8), cuts=st.lists(st.integers(1, 2000), max_size=4))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_ways_say_the_same(snapshot: SnapshotReader, requests: list[bytes], cuts: list[int]) -> None:
    short, long = Worker(snapshot, short=True), Worker(snapshot, short=False)
    for warm in (get(query(KNOWN[0])), post(query(KNOWN[1])), get(query(KNOWN[0], sha256=True))):
        short.say([warm])
    assert short.say(requests) == long.say(requests)
    # And cut anywhere, not where a request ends.
    stream, places = b"".join(requests), sorted({0, *cuts})
    pieces = [stream[a:b] for a, b in zip(places, [*places[1:], len(stream)], strict=True) if stream[a:b]]
    assert short.say(pieces) == long.say(pieces)


def test_a_second_request_of_a_kind_goes_the_short_way(snapshot: SnapshotReader) -> None:
    worker = Worker(snapshot, short=True)
    for number, request in enumerate(
        [get(query(KNOWN[0])), get(query(KNOWN[1])), post(query(KNOWN[2])), post(query(KNOWN[3]))], start=1
    ):
        ((status, _, body),) = worker.say([request])[0]
        assert (status, body) == (b"HTTP/1.1 200 OK", BODY + b"sha1%x" % KNOWN[number - 1])
    assert worker.connections.counts.quick == 2
    assert worker.connections.counts.replies[Kind.ANSWERED] == 2
    worker.say([post(query(KNOWN[2], sha256=True)), post(query(KNOWN[3], sha256=True))])
    assert worker.connections.counts.quick == 3


def test_what_is_remembered_is_bounded(snapshot: SnapshotReader) -> None:
    worker = Worker(snapshot, short=True)
    for number in range(2000):
        worker.say([get(query(KNOWN[0]), b"Host: pki\r\nX: %d\r\n" % number)])
    worker.say([get(query(KNOWN[0]), b"Host: pki\r\nX: " + b"x" * 2000 + b"\r\n")])
    known = cast("dict[bytes, int]", worker.short._heads)  # its size is the point
    assert len(known) <= 512
    assert max(map(len, known)) <= 1024


def test_a_worker_that_ends_closes_with_its_next_answer(snapshot: SnapshotReader) -> None:
    worker = Worker(snapshot, short=True)
    worker.say([get(query(KNOWN[0]))])
    connection, transport = worker.connect()
    worker.connections.end()
    connection.data_received(get(query(KNOWN[1])))
    ((status, headers, _),) = replies(transport.written)
    assert status == b"HTTP/1.1 200 OK"
    assert b"Connection: close" in headers
    assert transport.closed


@given(st.lists(st.one_of(st.binary(max_size=300), REQUESTS), max_size=20))
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_octets_make_the_edge_raise(snapshot: SnapshotReader, pieces: list[bytes]) -> None:
    for status, headers, _ in Worker(snapshot, short=True).say(pieces)[0]:
        assert re.fullmatch(rb"HTTP/1\.1 (100|200|304|400|404|405|408|413|414|431) [A-Za-z ]+", status)
        assert status.startswith(b"HTTP/1.1 100") or any(each.startswith(b"Cache-Control: ") for each in headers)


@given(
    st.sampled_from([b"GET /", b"GET / HTTP/1.1\r\nX: ", post(b"")[:-4] + b"\r\nX: "]),
    st.binary(min_size=1, max_size=8).filter(lambda each: b"\r\n\r\n" not in each * 4),  # that would be an end
)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_request_without_an_end_is_given_up(snapshot: SnapshotReader, begin: bytes, more: bytes) -> None:
    """Whatever it is made of: no buffer grows for ever."""
    connection, transport = Worker(snapshot, short=True).connect()
    connection.data_received(begin)
    said = 0
    while not (transport.written or transport.closed):
        connection.data_received(more * 64)
        said += len(more) * 64
        assert said < 8 * HEADER_LIMIT
    assert replies(transport.written)[-1][0].split(b" ")[1] in {b"400", b"404", b"413", b"414", b"431", b"405"}
