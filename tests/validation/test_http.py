"""The public edge: headers as RFC 9919 wants them, and whatever a hostile client sends."""

import base64
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge import (
    BODY,
    LONG_CRL,
    MALFORMED,
    NOW,
    TRY_LATER,
    UNAUTHORIZED,
    Edge,
    fill,
    parse,
    query,
    read_all,
    running_worker,
)
from sealwright.validation.responder import Reply, Request, Responder

OCSP_TARGET = f"/ocsp/{quote(base64.b64encode(query(1)).decode(), safe='')}"


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    folder = tmp_path_factory.mktemp("http") / "snapshot"
    fill(folder).close()
    with running_worker(folder) as edge:
        yield edge


def test_a_good_answer_has_the_headers_of_rfc_9919(edge: Edge) -> None:
    status, headers, body = edge.post(query(1))
    assert (status, body) == ("200 OK", BODY)
    assert headers["content-type"] == "application/ocsp-response"
    assert parsedate_to_datetime(headers["last-modified"]) == NOW
    assert parsedate_to_datetime(headers["expires"]) == NOW + timedelta(days=2)
    assert headers["etag"] == f'"{hashlib.sha256(BODY).hexdigest()}"'
    assert headers["cache-control"] == "max-age=45, public, no-transform, must-revalidate"
    assert abs(parsedate_to_datetime(headers["date"]) - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "encoded",
    [
        quote(base64.b64encode(query(1)).decode(), safe=""),
        base64.b64encode(query(1)).decode(),
        base64.b64encode(query(1)).decode().rstrip("="),
        quote(base64.b64encode(query(1)).decode().rstrip("="), safe="/+"),
        "/" + base64.b64encode(query(1)).decode() + "==",
        base64.b64encode(query(1)).decode() + "?x=1",
    ],
)
def test_a_get_is_read_however_it_is_escaped_and_padded(edge: Edge, encoded: str) -> None:
    assert edge.get(f"/ocsp/{encoded}")[2] == BODY


def test_a_slash_and_a_plus_may_stand_unescaped(edge: Edge) -> None:
    encodings = (base64.b64encode(query(n * 0x9E3779B97F4A7C15F39CC0605CEDC835)).decode() for n in range(1, 5000))
    encoded = next(each for each in encodings if {"/", "+"} <= set(each))
    assert edge.get(f"/ocsp/{encoded}")[2] == UNAUTHORIZED  # read well, never issued


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (query(3), UNAUTHORIZED),
        (query(2), TRY_LATER),  # all that is there is over
        (b"", MALFORMED),
        (b"garbage", MALFORMED),
        (query(1) + b"\x00", MALFORMED),
        (b"\x30" * 10_000, MALFORMED),
    ],
)
def test_what_has_no_answer_is_told_so_by_an_ocsp_status(edge: Edge, body: bytes, answer: bytes) -> None:
    status, headers, got = edge.post(body)
    assert (status, got) == ("200 OK", answer)
    assert headers["content-type"] == "application/ocsp-response"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/ocsp", "/ocsp/", "/ocsp/%", "/ocsp/%%%", "/ocsp/!!!!", "/ocsp/MEIw", "/ocsp/a%20b"])
def test_a_malformed_get_is_told_so(edge: Edge, path: str) -> None:
    assert edge.get(path)[::2] == ("200 OK", MALFORMED)


def test_an_etag_that_is_known_is_answered_with_304(edge: Edge) -> None:
    etag = edge.get(OCSP_TARGET)[1]["etag"]
    for given_etag in (etag, f"W/{etag}", f'"x", {etag}', "*"):
        status, headers, body = edge.get(OCSP_TARGET, f"If-None-Match: {given_etag}")
        assert (status, body) == ("304 Not Modified", b"")
        assert headers["etag"] == etag
        assert "content-length" not in headers
        assert "max-age" in headers["cache-control"]
    assert edge.get(OCSP_TARGET, 'If-None-Match: "x"')[0] == "200 OK"


@pytest.mark.parametrize("target", ["/crl/issuing-1.crl", OCSP_TARGET], ids=["crl", "ocsp"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_what_was_not_modified_since_is_answered_with_304(edge: Edge, target: str, method: str, form: str) -> None:
    """RFC 9110 13.1.3, in each of the three ways of 5.6.7. Java's URICertStore asks so, and only so."""
    _, known, _ = edge.get(target)
    modified = parsedate_to_datetime(known["last-modified"])
    for since, wanted in ((-1, "200 OK"), (0, "304 Not Modified"), (3600, "304 Not Modified")):
        said = f"If-Modified-Since: {modified + timedelta(seconds=since):{form}}"
        status, headers, body = edge.get(target, said, method=method)
        assert status == wanted
        assert headers["last-modified"] == known["last-modified"]
        assert (body == b"") == (wanted != "200 OK" or method == "HEAD")


def test_an_etag_counts_for_more_than_a_date(edge: Edge) -> None:
    _, known, _ = edge.get("/crl/issuing-1.crl")
    since = f"If-Modified-Since: {known['last-modified']}"
    assert edge.get("/crl/issuing-1.crl", 'If-None-Match: "x"', since)[0] == "200 OK"
    old = "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"
    assert edge.get("/crl/issuing-1.crl", f"If-None-Match: {known['etag']}", old)[0] == "304 Not Modified"


@pytest.mark.parametrize(
    "since",
    [
        "",
        "0",
        "yesterday",
        "Sun, 31 Feb 2094 08:49:37 GMT",
        "Sat, 06 Nov 2094 08:49:37 +0100",
        "\xff",
        "Sun," + " " * 9000,
    ],
    ids=range(7),
)
def test_a_date_that_is_none_is_ignored(edge: Edge, since: str) -> None:
    assert edge.get("/crl/issuing-1.crl", f"If-Modified-Since: {since}")[0] == "200 OK"


def test_a_date_is_nothing_to_a_post_and_to_what_has_none(edge: Edge) -> None:
    since = "If-Modified-Since: Sat, 06 Nov 2094 08:49:37 GMT"
    assert edge.get("/ca/issuing-1.cer", since)[0] == "200 OK"
    head = (
        f"POST /ocsp HTTP/1.1\r\nHost: pki\r\nConnection: close\r\n{since}\r\nContent-Length: {len(query(1))}\r\n\r\n"
    )
    assert parse(edge.say(head.encode() + query(1)))[2] == BODY


def test_a_date_goes_with_its_own_request_only(edge: Edge) -> None:
    one = b"GET /crl/issuing-1.crl HTTP/1.1\r\nHost: pki\r\n"
    since = b"If-Modified-Since: Sat, 06 Nov 2094 08:49:37 GMT\r\n"
    reply = edge.say(one + since + b"\r\n" + one + b"Connection: close\r\n\r\n")
    assert re.findall(rb"HTTP/1\.1 (\d+)", reply) == [b"304", b"200"]


def test_head_says_what_get_would_without_the_body(edge: Edge) -> None:
    target = "/ca/issuing-1.cer"
    status, headers, body = edge.get(target, method="HEAD")
    wanted_status, wanted, content = edge.get(target)
    assert (status, body) == (wanted_status, b"")
    assert content == b"certificate"
    assert headers == wanted | {"date": headers["date"]}
    assert headers["cache-control"].startswith("max-age=3600")


def test_the_last_good_crl_stays_up_and_is_not_cached(edge: Edge) -> None:
    status, headers, body = edge.get("/crl/issuing-1.crl")
    assert (status, body == LONG_CRL) == ("200 OK", True)
    assert headers["cache-control"] == "max-age=0, public, no-transform, must-revalidate"


def test_health_says_how_old_the_snapshot_is(edge: Edge) -> None:
    status, _, body = edge.get("/healthz")
    assert status == "200 OK"
    assert b'"change": 7' in body


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("PUT", "/ocsp", "405 Method Not Allowed", "GET, HEAD, POST"),
        ("DELETE", "/crl/issuing-1.crl", "405 Method Not Allowed", "GET, HEAD"),
        ("OPTIONS", "*", "405 Method Not Allowed", "GET, HEAD"),
        ("GET", "/", "404 Not Found", None),
        ("GET", "/crl/", "404 Not Found", None),
        ("GET", "/ca/../keys.json", "404 Not Found", None),
        ("GET", "/ca/%2e%2e/keys.json", "404 Not Found", None),
        ("GET", "/crl/" + "a" * 600, "404 Not Found", None),
        ("GET", "/crl/\xff", "400 Bad Request", None),
        ("GET", "/ocspx", "404 Not Found", None),
    ],
)
def test_odd_methods_and_paths_get_plain_refusals(
    edge: Edge, method: str, target: str, status: str, allow: str | None
) -> None:
    got, headers, body = edge.get(target, method=method)
    assert got == status or (status.startswith("400") and got == "404 Not Found")
    assert headers.get("allow") == allow
    assert b"Traceback" not in body
    assert len(body) < 100


def test_a_megabyte_is_refused_before_it_is_read_and_the_client_hears_it(edge: Edge) -> None:
    assert edge.post(bytes(1_000_000))[0] == "413 Content Too Large"
    assert edge.post(bytes(10_001))[0] == "413 Content Too Large"
    assert edge.post(bytes(10_000))[2] == MALFORMED


def test_a_megabyte_in_chunks_is_refused_too(edge: Edge) -> None:
    chunk = b"400\r\n" + bytes(1024) + b"\r\n"
    head = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert parse(edge.say(head + chunk * 1000))[0] == "413 Content Too Large"
    body = query(1)
    small = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = head.replace(b"Host: pki\r\n", b"Host: pki\r\nConnection: close\r\n")
    assert parse(edge.say(head + small))[2] == BODY


def test_a_body_in_chunks_of_one_octet_costs_no_more_than_another(edge: Edge) -> None:
    head = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = edge.busy
    assert parse(edge.say(head + b"1\r\nX\r\n" * 10_000 + b"0\r\n\r\n"))[2] == MALFORMED
    assert edge.busy - before < 1  # when each chunk summed those before it, this took the worker 2.6 s


@pytest.mark.parametrize("tail", [b"0\r\nA: ", b"1;"], ids=["trailer", "chunk-extension"])
def test_what_follows_a_chunk_is_not_kept_without_end(edge: Edge, tail: bytes) -> None:
    head = b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nX\r\n"
    assert parse(edge.say(head + tail + b"a" * 1_000_000))[0] == "413 Content Too Large"


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\nHost: pki\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: pki\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: pki\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n123456",
        b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: -5\r\n\r\n",
        b"POST /ocsp HTTP/1.1\r\nHost: pki\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"GET /healthz HTTP/1.1\nHost: pki\r\nX : y\r\n\r\n",
    ],
    ids=range(10),
)
def test_what_is_no_request_is_refused_in_one_reply_and_the_connection_closed(edge: Edge, data: bytes) -> None:
    status, headers, body = parse(edge.say(data))
    assert status.split(" ")[0] in {"400", "413", "414", "431"}
    assert headers["connection"] == "close"
    assert len(body) < 100


def test_pipelined_requests_are_answered_in_their_order(edge: Edge) -> None:
    one = b"GET /ca/issuing-1.cer HTTP/1.1\r\nHost: pki\r\n\r\n"
    two = b"GET /nothing HTTP/1.1\r\nHost: pki\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: pki\r\nConnection: close\r\n\r\n"
    reply = edge.say(one + two + one + last + one)
    assert re.findall(rb"HTTP/1\.1 (\d+)", reply) == [b"200", b"404", b"200", b"200"]  # and nothing after the close


def test_a_flood_of_pipelined_requests_for_something_long_is_not_a_flood_of_memory(edge: Edge) -> None:
    before = edge.resident
    with edge.connect() as connection:
        connection.settimeout(0.5)
        request = b"GET /crl/issuing-1.crl HTTP/1.1\r\nHost: pki\r\n\r\n"
        with suppress(TimeoutError):
            for _ in range(40):
                connection.sendall(request * 100)  # 4,000 times 3 MB, and nothing is read
        time.sleep(0.3)
        assert edge.resident - before < 40_000_000
    assert edge.get("/healthz")[0] == "200 OK"


def test_a_client_that_never_ends_its_request_is_let_go(edge: Edge) -> None:
    said = 0
    with edge.connect() as connection:
        with suppress(OSError):
            for octet in b"GET /healthz HTTP/1.1\r\nHost: slow" + b"w" * 1000:
                connection.sendall(bytes((octet,)))
                said += 1
                time.sleep(0.05)
        received = b""
        with suppress(ConnectionError):
            received = read_all(connection)
    assert said < 1000  # 50 s; it is given one
    assert received == b"" or b"408 Request Timeout" in received


def test_idle_connections_end_and_meanwhile_others_are_answered(edge: Edge) -> None:
    idle = [edge.connect() for _ in range(200)]
    assert edge.get("/healthz")[0] == "200 OK"
    idle[0].settimeout(6)
    assert idle[0].recv(1) == b""
    for connection in idle:
        connection.close()


def test_an_offer_of_http2_is_answered_in_http1(edge: Edge) -> None:
    status, headers, body = edge.get(
        "/ca/issuing-1.cer",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
    )
    assert (status, body) == ("200 OK", b"certificate")
    assert headers["connection"] == "close"


def test_a_client_that_waits_for_100_gets_it(edge: Edge) -> None:
    body = query(1)
    with edge.connect() as connection:
        head = f"POST /ocsp HTTP/1.1\r\nHost: pki\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert parse(read_all(connection))[2] == BODY


def test_http_1_0_is_answered_and_closed(edge: Edge) -> None:
    status, headers, body = parse(edge.say(b"GET /ca/issuing-1.cer HTTP/1.0\r\n\r\n"))
    assert (status, body, headers["connection"]) == ("200 OK", b"certificate", "close")


@pytest.fixture(scope="module")
def responder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Responder]:
    writer = fill(tmp_path_factory.mktemp("responder") / "snapshot")
    yield Responder(writer.reader(), max_age=45)
    writer.close()


@given(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT"]),
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda tail: b"/ocsp/" + tail),
        st.binary(max_size=200).map(lambda data: b"/ocsp/" + base64.b64encode(data)),
        st.binary(max_size=300).map(lambda tail: b"/crl/" + tail),
    ),
    st.binary(max_size=200),
    st.binary(max_size=50),
    st.one_of(st.binary(max_size=50), st.datetimes().map(lambda each: f"{each:%a, %d %b %Y %H:%M:%S GMT}".encode())),
)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_makes_the_responder_raise(
    responder: Responder, method: bytes, target: bytes, body: bytes, etag: bytes, since: bytes
) -> None:
    reply = responder.answer(Request(method, target, body, etag, since), int(NOW.timestamp()))
    assert isinstance(reply, Reply)
    assert reply.head.split(b" ")[1] in {b"200", b"404", b"405"}


@pytest.mark.parametrize(
    ("later", "lifetime"),
    [
        (0, 45),
        (43200 - 46, 45),
        (43200 - 20, 19),  # the refresh is due in 20 s
        (43200, 0),
        (172800 - 1, 0),
    ],
)
def test_no_cache_keeps_an_answer_beyond_its_refresh(responder: Responder, later: int, lifetime: int) -> None:
    reply = responder.answer(Request(b"POST", b"/ocsp", query(1)), int(NOW.timestamp()) + later)
    assert b"max-age=%d," % lifetime in reply.head


def test_a_public_url_with_a_path_is_served_under_it(tmp_path: Path) -> None:
    writer = fill(tmp_path / "snapshot")
    responder = Responder(writer.reader(), max_age=45, prefix="/pki")
    now = int(NOW.timestamp())
    assert responder.answer(Request(b"POST", b"/pki/ocsp", query(1)), now).body == BODY
    assert responder.answer(Request(b"GET", b"/pki/ca/issuing-1.cer", b""), now).body == b"certificate"
    writer.close()


def test_the_worker_holds_no_key_and_no_database() -> None:
    program = (
        "import sys, sealwright.validation.worker; loaded = {m.split('.')[0] for m in sys.modules};"
        "print(sorted(loaded & {'cryptography', 'sqlalchemy', 'sqlmodel', 'pkcs11', 'pydantic'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
