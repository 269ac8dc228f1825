"""The HTTP edge: what is public, what needs a login, and how everything that goes wrong looks. The signer is real."""

import asyncio
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from office import Office, free_server, open_office, serving
from sealwright.api.guard import Guard
from sealwright.api.serve import serve_registry
from sealwright.errors import InputError, NotFound, NotReady, PolicyViolation, Unavailable
from sealwright.ledger.bundles import split_bundle
from sealwright.registration.registry import system_clock
from sealwright.registration.rosters import publish_roster
from sealwright.statements.signed import SignedStatement
from world import make_world


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    world = make_world(folder / "world")
    world.clock = system_clock  # type: ignore[assignment]  # the registry's clock is the machine's
    with open_office(world, folder, free_server()) as office:
        publish_roster(office.registry, office.sign(office.world.roster(), "olga", "omar"))
        yield office


@pytest.fixture(scope="module")
def http(office: Office) -> Iterator[httpx.Client]:
    """The registry as it runs: granian, in a process of its own."""
    with serving(office.config) as url, httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def alice(office: Office, http: httpx.Client) -> dict[str, str]:
    """Headers of alice's login."""
    given = http.post("/v1/login/challenge").json()
    fields = {"server": given["server"], "challenge": given["challenge"]}
    signed = office.sign(office.world.statement("login", "alice", days=0.002, **fields))
    answer = post(http, "/v1/login", signed)
    assert answer.status_code == 201
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def post(http: httpx.Client, path: str, signed: SignedStatement, **headers: str) -> Any:
    return http.post(path, content=signed.to_bytes(), headers={"Content-Type": "application/json", **headers})


def problem(answer: Any, status: int, error: str, **members: str) -> dict[str, Any]:
    """The answer is an RFC 9457 problem document of this class."""
    value: dict[str, Any] = answer.json()
    assert answer.status_code == status, value
    assert answer.headers["content-type"] == "application/problem+json"
    assert value["type"] == f"urn:sealwright:error:{error}"
    assert (value["status"], bool(value["title"]), bool(value["detail"])) == (status, True, True)
    assert members.items() <= value.items()
    assert "Traceback" not in answer.text
    return value


READS = ("/v1/roster", "/v1/pinned/pki.toml", "/v1/requests", "/v1/certificates", "/v1/receipts/abc")


def test_what_identifies_the_pki_is_public(http: httpx.Client, office: Office) -> None:
    answer = http.get("/v1/pki").json()
    assert (answer["pki"], answer["rehearsal"]) == (office.world.pki, True)
    health = http.get("/healthz").json()
    assert (health["status"], health["pki"]) == ("ok", office.world.pki)


@pytest.mark.parametrize("path", READS)
def test_a_read_needs_a_login(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    problem(answer, 401, "AccessDenied")
    assert answer.headers["www-authenticate"] == "Bearer"
    problem(http.get(path, headers={"Authorization": "Basic abc"}), 401, "AccessDenied")


def test_a_request_travels_from_open_to_issued(http: httpx.Client, office: Office, alice: dict[str, str]) -> None:
    request = office.request()
    made = post(http, "/v1/requests", request)
    assert (made.status_code, made.json()["state"]) == (201, "open")
    key = made.json()["id"]
    early = problem(http.get(f"/v1/receipts/{key}", headers=alice), 409, "NotReady")
    assert "show" in early["hint"]
    decided = post(http, "/v1/decisions", office.decision(request)).json()
    assert decided["state"] == "issued"
    detail = http.get(f"/v1/requests/{key}", headers=alice).json()
    assert detail["request"] == request.to_wire()
    assert [each["person"] for each in detail["decisions"]] == ["bob"]
    assert decided["serial"] in [each["serial"] for each in detail["team_certificates"]]
    assert http.get(f"/v1/receipts/{key}", headers=alice).status_code == 200
    certificate = http.get(f"/v1/certificates/{decided['serial'].upper()}", headers=alice).json()
    assert (certificate["state"], certificate["team"]) == ("valid", "payments")
    revoked = post(http, "/v1/revocations", office.revocation(decided["serial"]))
    assert revoked.status_code == 201
    (listed,) = [
        each
        for each in http.get("/v1/certificates?team=payments", headers=alice).json()["certificates"]
        if each["serial"] == decided["serial"]
    ]
    assert (listed["state"], listed["revocation"]["reason"]) == ("revoked", "superseded")


def test_a_refusal_carries_its_rule_and_a_hint(http: httpx.Client, office: Office) -> None:
    request = office.request("carol")
    post(http, "/v1/requests", request)
    value = problem(post(http, "/v1/decisions", office.decision(request, "carol")), 403, "PolicyViolation")
    assert value["rule"] == "ORDER-SELF"
    assert value["hint"]


def test_pinned_files_are_those_of_the_roster_and_no_others(http: httpx.Client, alice: dict[str, str]) -> None:
    assert "[organisation]" in http.get("/v1/pinned/pki.toml", headers=alice).json()["text"]
    assert http.get("/v1/pinned/profiles/code-signing.toml", headers=alice).status_code == 200
    for name in ("../anchor.json", "%2e%2e/keys.json", "profiles/../../keys.json", "roster.toml"):
        assert http.get(f"/v1/pinned/{name}", headers=alice).status_code == 404


def test_the_roster_comes_as_a_chain(http: httpx.Client, alice: dict[str, str]) -> None:
    answer = http.get("/v1/roster", headers=alice).json()
    assert (answer["latest"], len(answer["rosters"]), answer["proposed"]) == (1, 1, [])
    assert http.get("/v1/roster?after=1", headers=alice).json()["rosters"] == []
    problem(http.get("/v1/roster?after=x", headers=alice), 400, "InputError")


@pytest.mark.parametrize("path", ["/v1/requests", "/v1/decisions", "/v1/revocations", "/v1/roster", "/v1/login"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"garbage",
        b"[]",
        b"{}",
        b'{"statement":{},"signatures":[]}',
        b'{"signatures":["x"],"statement":{}}',
        b"\xff\xfe",
        b'{"a":1,"a":1}',
        b"[" * 20_000,
        b'{"statement":' + b"9" * 5000 + b"}",
    ],
)
def test_garbage_is_a_problem_and_not_an_error(http: httpx.Client, path: str, body: bytes) -> None:
    problem(http.post(path, content=body, headers={"Content-Type": "application/json"}), 400, "InputError")


def test_a_signed_garbage_statement_is_a_problem(http: httpx.Client, office: Office) -> None:
    statement = office.world.request()
    for changes in ({"kind": "nothing"}, {"team": "UPPER"}, {"csr": "!"}, {"issued_at": "now"}, {"extra": 1}):
        signed = office.sign({**statement, **changes}, "alice", namespace="request@sealwright.v1")
        problem(post(http, "/v1/requests", signed), 400, "InputError")


def test_a_statement_of_another_kind_is_refused(http: httpx.Client, office: Office) -> None:
    problem(post(http, "/v1/decisions", office.request()), 403, "PolicyViolation", rule="STMT-KIND")


def test_a_body_over_64_kib_is_too_large(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    problem(http.post("/v1/requests", content=b" " * (64 * 1024 + 1), headers=headers), 413, "InputError")

    def chunks() -> Iterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    problem(http.post("/v1/requests", content=chunks(), headers=headers), 413, "InputError")


def test_a_body_of_another_type_is_refused(http: httpx.Client) -> None:
    problem(http.post("/v1/requests", content=b"{}", headers={"Content-Type": "text/plain"}), 400, "InputError")


def test_unknown_paths_and_methods_are_problems_too(http: httpx.Client) -> None:
    problem(http.get("/v1/nothing"), 404, "NotFound")
    problem(http.put("/v1/requests"), 405, "InputError")
    problem(http.get("/v1/pki/"), 404, "NotFound")


def test_an_unknown_state_is_a_problem(http: httpx.Client, alice: dict[str, str]) -> None:
    problem(http.get("/v1/requests?state=lost", headers=alice), 400, "InputError")


def test_an_unexpected_failure_shows_no_trace() -> None:
    async def fails(*_: object) -> None:
        raise ZeroDivisionError("division by a secret")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": "GET", "path": "/v1/requests", "headers": []}
    asyncio.run(Guard(fails)(scope, receive, send))
    assert sent[0]["status"] == 500
    body = json.loads(sent[1]["body"])
    assert "secret" not in str(body)
    assert "ZeroDivisionError" in body["detail"]


def test_the_console_is_a_page_without_script_that_names_nobody(http: httpx.Client, office: Office) -> None:
    answer = http.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "REHEARSAL" in answer.text
    assert office.world.pki in answer.text
    assert "<script" not in answer.text
    assert "alice" not in answer.text


def test_nothing_is_cached(http: httpx.Client) -> None:
    for path in ("/", "/v1/pki", "/v1/requests"):
        assert http.get(path).headers["cache-control"] == "no-store"


def test_requests_that_are_approved_at_once_are_all_issued(
    http: httpx.Client, office: Office, alice: dict[str, str]
) -> None:
    requests = [office.request() for _ in range(8)]
    decisions = [office.decision(each) for each in requests]

    def both(pair: tuple[SignedStatement, SignedStatement]) -> str:
        assert post(http, "/v1/requests", pair[0]).status_code == 201
        said = post(http, "/v1/decisions", pair[1]).json()
        # A database that is busy for longer than it is waited for leaves it at "approved": upkeep asks again.
        deadline = time.monotonic() + 20
        while said["state"] == "approved" and time.monotonic() < deadline:
            time.sleep(0.2)
            said = http.get(f"/v1/requests/{said['id']}", headers=alice).json()
        assert said["state"] == "issued", said
        return str(said["serial"])

    with ThreadPoolExecutor(8) as pool:
        serials = list(pool.map(both, zip(requests, decisions, strict=True)))
    assert len(set(serials)) == len(serials)


def test_refuses_to_serve_off_loopback_without_tls(office: Office) -> None:
    with pytest.raises(PolicyViolation) as caught:
        serve_registry(office.config, listen="0.0.0.0:8790")
    assert caught.value.rule == "API-TLS"


def test_refuses_half_a_tls_configuration_and_files_that_are_not_there(office: Office, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="go together"):
        serve_registry(office.config, listen="127.0.0.1:8790", tls=(tmp_path / "a", None))
    with pytest.raises(InputError, match="not there"):
        serve_registry(office.config, listen="127.0.0.1:8790", tls=(tmp_path / "a", tmp_path / "b"))


def test_refuses_to_serve_without_tables_or_without_an_installed_folder(office: Office, tmp_path: Path) -> None:
    empty = dataclasses.replace(office.config, database=f"sqlite:///{tmp_path}/empty.db")
    with pytest.raises(NotReady, match="no tables"):
        serve_registry(empty, listen="127.0.0.1:8790")
    with pytest.raises(NotFound, match=r"anchor\.json"):
        serve_registry(dataclasses.replace(office.config, folder=tmp_path), listen="127.0.0.1:8790")


def test_a_busy_port_is_one_clear_error(office: Office) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Unavailable, match="in use"):
            serve_registry(office.config, listen=f"127.0.0.1:{taken.getsockname()[1]}")
    with pytest.raises(InputError, match="HOST:PORT"):
        serve_registry(office.config, listen="8790")


def test_the_ledger_is_served_to_anybody_as_tiles(office: Office, http: httpx.Client) -> None:
    for _ in range(200):  # the registry follows the signer by itself
        checkpoint = http.get("/tlog/checkpoint")
        if checkpoint.status_code == 200:
            break
        threading.Event().wait(0.05)
    assert checkpoint.headers["content-type"] == "text/plain; charset=utf-8"
    assert checkpoint.headers["cache-control"] == "no-store"
    origin, size, *_ = checkpoint.text.split("\n")
    assert origin == office.world.installed.anchor.ledger_origin
    bundle = http.get(f"/tlog/tile/entries/000.p/{size}")
    assert bundle.headers["cache-control"].endswith("immutable")
    assert len(split_bundle(bundle.content)[0]) == int(size)
    problem(http.get("/tlog/tile/0/001"), 404, "NotFound")
