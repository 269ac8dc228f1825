"""Hostile clients at the door: memory stays bounded, the worker lives, and good clients go on being answered."""

import base64
import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from edge import BODY, LONG_CRL, MALFORMED, NOW, Edge, fill, parse, query, read_all, running_worker
from sealwright.validation.snapshot import make_record

POST = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"
GOOD = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(query(1)), query(1))
GROWTH = 60_000_000
"""Octets by which a worker may grow under all of it: a few thousand connections are some."""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("hostile") / "snapshot"
    fill(folder).close()
    with running_worker(folder, header_seconds=4.0, idle_seconds=30.0) as edge:
        yield edge


def check_good(edge: Edge) -> None:
    """A client that does nothing wrong gets its answer, by both methods."""
    assert parse(edge.say(GOOD))[2] == BODY
    assert edge.get("/ocsp/" + quote(base64.b64encode(query(1)).decode(), safe=""))[2] == BODY


@contextlib.contextmanager
def bounded(edge: Edge) -> Iterator[None]:
    """It lives, it has not grown, it answers."""
    check_good(edge)
    before = edge.resident
    yield
    assert edge.process.poll() is None
    assert edge.resident - before < GROWTH
    check_good(edge)


def test_slow_clients_are_let_go_and_nobody_waits_for_them(edge: Edge) -> None:
    beginnings = [b"G", b"GET /ocsp/", b"GET / HTTP/1.1\r\nHost: ", GOOD[:-20], CHUNKED + b"\r\n1\r\n"]
    with bounded(edge), ExitStack() as stack:
        slow = [stack.enter_context(edge.connect()) for _ in range(300)]
        for number, connection in enumerate(slow):
            connection.sendall(beginnings[number % len(beginnings)])
        ended = 0
        while ended < len(slow):
            check_good(edge)
            for connection in slow:
                with suppress(OSError):
                    connection.sendall(b"X")  # one octet at a time keeps nobody
            ended = sum(_is_ended(connection) for connection in slow)


def _is_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_ten_thousand_idle_connections(edge: Edge) -> None:
    """As many as this machine's limits allow, and that has to be ten thousand."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 < hard < 11_500:
        pytest.skip(f"`ulimit -Hn` is {hard}: ten thousand connections want 11,500; raise it and run this again")
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with bounded(edge), ExitStack() as stack:
            for number in range(10_000):
                stack.enter_context(edge.connect())
                if number % 1000 == 0:
                    check_good(edge)
            assert _connections(edge) >= 10_000
            check_good(edge)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_takes_all_connections_keeps_nobody_out(tmp_path: Path) -> None:
    """Those that ask nothing go first, the oldest of them; who asks now and then stays."""
    fill(tmp_path).close()
    request = GOOD.replace(b"Connection: close\r\n", b"")
    with running_worker(tmp_path, header_seconds=600.0, idle_seconds=600.0, files=120) as small, ExitStack() as stack:
        kept, greedy = stack.enter_context(small.connect()), []
        for number in range(300):
            greedy.append(stack.enter_context(small.connect()))
            if number % 20 == 0:
                check_good(small)
                kept.sendall(request)
                assert kept.recv(1 << 16).endswith(BODY)
        check_good(small)
        assert _connections(small) <= 120
        ended = [_is_ended(connection) for connection in greedy]
        assert ended == sorted(ended, reverse=True)
        assert 200 < sum(ended) < 300


def _connections(edge: Edge) -> int:
    return len(list(Path(f"/proc/{edge.process.pid}/fd").iterdir()))


def test_floods_of_pipelined_requests(edge: Edge) -> None:
    requests = [
        b"GET /crl/issuing-1.crl HTTP/1.1\r\nHost: pki\r\n\r\n",
        GOOD.replace(b"Connection: close\r\n", b""),
        b"GET /nothing HTTP/1.1\r\nHost: pki\r\n\r\n",
        b"DELETE / HTTP/1.1\r\nHost: pki\r\n\r\n",
    ]
    with bounded(edge), ExitStack() as stack:
        for number in range(40):
            flood = stack.enter_context(edge.connect())
            flood.setblocking(False)
            with suppress(BlockingIOError):
                for _ in range(50):
                    flood.send(requests[number % len(requests)] * 200)  # and nothing is read
            if number % 10 == 0:
                check_good(edge)


@pytest.mark.parametrize("more", ["HEAD", "If-None-Match", "If-Modified-Since"])
def test_to_be_told_of_a_long_crl_and_not_to_take_it_costs_no_more_than_anything_else(edge: Edge, more: str) -> None:
    _, headers, body = edge.get("/crl/issuing-1.crl")
    assert body == LONG_CRL
    conditions = {"If-None-Match": headers["etag"], "If-Modified-Since": headers["last-modified"]}
    condition = f"{more}: {conditions[more]}\r\n" if more in conditions else ""
    request = f"{'GET' if condition else more} /crl/issuing-1.crl HTTP/1.1\r\nHost: pki\r\n{condition}".encode()
    before = edge.busy
    reply = edge.say((request + b"\r\n") * 1999 + request + b"Connection: close\r\n\r\n")
    assert reply.count(b"HTTP/1.1 ") == 2000
    assert LONG_CRL[:100] not in reply
    assert edge.busy - before < 1  # when each of them read the CRL through, this took the worker 5.6 s


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 4_000_000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 4_000_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 700_000,
        b"X" * 4_000_000,
        b"GET / HTTP/1.1\r\n" + b"a" * 4_000_000,
        b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: 4000000\r\n\r\n" + bytes(4_000_000),
        CHUNKED + b"\r\n" + b"1\r\nX\r\n" * 700_000,
        CHUNKED + b"\r\nFFFFFFFF\r\n" + bytes(4_000_000),
        CHUNKED + b"\r\n1;" + b"x" * 4_000_000,
        CHUNKED + b"\r\n0\r\n" + b"X: y\r\n" * 700_000,
        b"\r\n" * 2_000_000,
    ],
    ids=[
        "target",
        "header",
        "headers",
        "method",
        "name",
        "body",
        "chunks",
        "chunk",
        "extension",
        "trailers",
        "nothing",
    ],
)
def test_too_much_of_anything_is_refused(edge: Edge, data: bytes) -> None:
    with bounded(edge), edge.connect() as connection:
        connection.settimeout(20)
        with suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        with suppress(OSError):
            received = read_all(connection)
        # It hears why, or is cut off; nothing of it was taken for a request.
        assert received == b"" or parse(received)[0].split(" ")[0] in {"400", "413", "414", "431"}


@pytest.mark.parametrize(
    "method", ["TRACE", "CONNECT", "PATCH", "PROPFIND", "PURGE", "M-SEARCH", "SOURCE", "QUERY", "get", "G\x00T", "G ET"]
)
def test_odd_methods(edge: Edge, method: str) -> None:
    with bounded(edge):
        status, headers, body = edge.get("/ocsp", method=method)
        assert status.split(" ")[0] in {"400", "405"}
        assert headers["connection"] == "close"
        assert method.encode() not in body


@pytest.mark.parametrize(
    "target",
    [
        "/ca/..%2f..%2fkeys.json",
        "/ca/%2e%2e/%2e%2e/anchor.json",
        "/crl/../../../../etc/passwd",
        "/crl//issuing-1.crl",
        "//crl/issuing-1.crl",
        "/crl/issuing-1.crl/",
        "/crl/issuing-1.crl%00.txt",
        "/CRL/ISSUING-1.CRL",
        "/crl%2fissuing-1.crl",
        "/crl/./issuing-1.crl",
        "\\crl\\issuing-1.crl",
        "/crl/issuing-1.crl;x=y",
        "http://pki.example.org/keys.json",
        "/ca/\u0131ssuing-1.cer",
    ],
)
def test_path_tricks_find_nothing(edge: Edge, target: str) -> None:
    with bounded(edge):
        assert edge.get(target)[0] in {"404 Not Found", "400 Bad Request"}


def test_absolute_form_is_read_as_http_asks(edge: Edge) -> None:
    """RFC 9112 3.2.2: a server takes it, whatever its Host header says."""
    target = f"http://pki.example.org/ocsp/{quote(base64.b64encode(query(1)).decode(), safe='')}"
    assert edge.get(target)[2] == BODY
    assert edge.get("http://pki.example.org/ca/issuing-1.cer")[2] == b"certificate"
    assert edge.get("http://pki.example.org")[0] == "404 Not Found"


HIDDEN = b"GET /ca/issuing-1.cer HTTP/1.1\r\nHost: pki\r\n\r\n"
"""A request that a server which disagrees with the one before it would see."""

SMUGGLING = {
    "CL and TE": POST + b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": CHUNKED + b"Content-Length: %d\r\n\r\n0\r\n\r\n",
    "two CL": POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n",
    "CL with a sign": POST + b"Content-Length: +%d\r\n\r\n",
    "CL as a list": POST + b"Content-Length: %d, 0\r\n\r\n",
    "CL in hex": POST + b"Content-Length: 0x%d\r\n\r\n",
    "obs-fold": POST + b"X: a\r\n Content-Length: %d\r\n\r\n",
    "TE folded": POST + b"Transfer-Encoding:\r\n chunked\r\nX: %d\r\n\r\n",
    "TE twice": POST + b"Transfer-Encoding: chunked, identity\r\nX: %d\r\n\r\n",
    "TE unknown": POST + b"Transfer-Encoding: xchunked\r\nX: %d\r\n\r\n",
    "TE after another": POST + b"Transfer-Encoding: gzip, chunked\r\nX: %d\r\n\r\n0\r\n\r\n",
    "two TE": CHUNKED + b"Transfer-Encoding: identity\r\nX: %d\r\n\r\n0\r\n\r\n",
    "two Hosts": POST + b"Host: other\r\nX: %d\r\nContent-Length: 0\r\n\r\n",
    "no Host": b"POST /ocsp HTTP/1.1\r\nX: %d\r\nContent-Length: 0\r\n\r\n",
    "bare LF": b"POST /ocsp HTTP/1.1\nHost: pki\nContent-Length: %d\n\n",
    "bare CR": b"POST /ocsp HTTP/1.1\r\nHost: pki\rContent-Length: %d\r\n\r\n",
    "space before colon": POST + b"Content-Length : %d\r\n\r\n",
    "NUL in a value": POST + b"X: \x00\r\nContent-Length: %d\r\n\r\n",
    "chunk with a bare LF": CHUNKED + b"X: %d\r\n\r\n0\n\n",
    "chunk of negative size": CHUNKED + b"X: %d\r\n\r\n-1\r\n\r\n",
}


@pytest.mark.parametrize("shape", SMUGGLING)
def test_what_two_servers_would_read_differently_is_refused_with_all_that_follows(edge: Edge, shape: str) -> None:
    with bounded(edge):
        reply = edge.say(SMUGGLING[shape] % len(HIDDEN) + HIDDEN)
        assert parse(reply)[0].split(" ")[0] in {"400", "413"}
        assert reply.count(b"HTTP/1.1 ") == 1
        assert b"certificate" not in reply


def test_a_body_goes_with_its_own_request_only(edge: Edge) -> None:
    """What is in a body is never a request, and what follows it always is."""
    body = HIDDEN
    request = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    reply = edge.say(request + GOOD)
    assert reply.count(b"HTTP/1.1 200 OK") == 2
    assert MALFORMED in reply
    assert reply.endswith(BODY)
    assert b"certificate" not in reply


def test_connections_that_break_in_every_place(edge: Edge) -> None:
    with bounded(edge):
        for at in range(0, len(GOOD), 3):
            connection = edge.connect()
            connection.sendall(GOOD[:at])
            if at % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # RST
            connection.close()


def test_who_asks_and_never_reads_is_cut_off(edge: Edge) -> None:
    with bounded(edge), ExitStack() as stack:
        request = b"GET /crl/issuing-1.crl HTTP/1.1\r\nHost: pki\r\n\r\n"
        lazy = [stack.enter_context(edge.connect()) for _ in range(20)]
        for connection in lazy:
            connection.sendall(request * 3)
        while not all(map(_is_cut_off, lazy)):
            check_good(edge)
            time.sleep(0.2)


def _is_cut_off(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        connection.send(b"G")
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


VERY_LONG = 16_000_000
"""Octets of a CRL: more than what the system takes at once from a worker, and in a second over a slow line."""


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """It gives everybody one second."""
    folder = tmp_path_factory.mktemp("hasty") / "snapshot"
    writer = fill(folder)
    with writer.write() as transaction:
        record = make_record(content_type="application/pkix-crl", body=bytes(VERY_LONG), this_update=NOW)
        transaction.put_object("/crl/very-long.crl", record)
    writer.close()
    with running_worker(folder, header_seconds=1.0) as edge:
        yield edge


def _ask_for_the_very_long(edge: Edge, more: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 128 * 1024)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", edge.port))
    connection.sendall(b"GET /crl/very-long.crl HTTP/1.1\r\nHost: pki\r\n" + more + b"\r\n")
    return connection


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["keep-alive", "close"])
def test_what_takes_longer_than_a_request_may_is_taken_whole(hasty: Edge, more: bytes) -> None:
    """A long CRL over a slow line, by a client that reads what it gets."""
    got = 0
    with _ask_for_the_very_long(hasty, more) as connection:
        while got < VERY_LONG:
            data = connection.recv(200_000)
            assert data, f"cut off after {got}"
            got += len(data)
            time.sleep(len(data) / 3_000_000)  # five seconds in all


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"], ids=["keep-alive", "close"])
def test_who_takes_next_to_nothing_is_cut_off(hasty: Edge, more: bytes) -> None:
    got, before = 0, _connections(hasty)
    with _ask_for_the_very_long(hasty, more) as connection:
        got += len(connection.recv(1000))
        while _connections(hasty) > before:
            got += len(connection.recv(1000))
            assert got < VERY_LONG // 20  # that is half a minute's
            time.sleep(0.04)
