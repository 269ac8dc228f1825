"""What a query may say: on either database no number is too large, and no text too odd, to be answered by a problem."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from databases import Databases
from office import Office, free_server, open_office, serving
from sealwright.registration.login import login, new_challenge
from sealwright.registration.registry import system_clock
from sealwright.registration.rosters import publish_roster
from world import make_world

LARGEST = 2**31 - 1
"""That PostgreSQL's integer holds; SQLite's holds 2^63 - 1."""

NUMBERS = ("/v1/certificates?before=", "/v1/certificates?limit=", "/v1/requests?limit=", "/v1/roster?after=")
TEXTS = ("/v1/requests?state=", "/v1/requests?after=", "/v1/requests/", "/v1/certificates/", "/v1/receipts/")


@pytest.fixture
def office(tmp_path: Path, databases: Databases) -> Iterator[Office]:
    world = make_world(tmp_path / "world")
    world.clock = system_clock  # type: ignore[assignment]  # the registry's clock is the machine's
    with open_office(world, tmp_path, free_server(), database=databases.new("registry")) as office:
        publish_roster(office.registry, office.sign(world.roster(), "olga", "omar"))
        yield office


@pytest.fixture
def http(office: Office) -> Iterator[httpx.Client]:
    given = new_challenge(office.registry)
    fields = {"server": given.server, "challenge": given.nonce}
    token = login(office.registry, office.sign(office.world.statement("login", "alice", days=0.002, **fields))).token
    headers = {"Authorization": f"Bearer {token}"}
    with (
        serving(office.config) as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as client,
    ):
        yield client


def test_a_query_that_no_database_can_answer_is_a_problem(http: httpx.Client) -> None:
    numbers = ("-1", str(LARGEST + 1), str(2**63), str(10**20), "9" * 5000, "1e3", "1.5", "x", "\x00")
    texts = ("\x00", "a\x00b", "\ufffd", "9" * 5000, str(10**20), "'")
    tiles = [f"/tlog/tile/{level}/x999/x999/x999/x999/x999/999{part}" for level in ("0", "63") for part in ("", ".p/1")]
    asked = [f"{path}{quote(value)}" for path in NUMBERS for value in numbers]
    asked += [f"{path}{quote(value)}" for path in TEXTS for value in texts]
    got = {path[:80]: http.get(path) for path in (*asked, *tiles, "/v1/pinned/%00", "/tlog/%00")}
    odd = {path: answer.status_code for path, answer in got.items() if answer.status_code not in {400, 404}}
    assert odd == {}
    assert {answer.headers["content-type"] for answer in got.values()} == {"application/problem+json"}


def test_the_largest_numbers_are_answered(http: httpx.Client) -> None:
    for path in (f"/v1/certificates?before={LARGEST}", "/v1/certificates?before=0", f"/v1/roster?after={LARGEST}"):
        assert http.get(path).status_code == 200
    for team in ("x" * 5000, "\ufffd"):
        assert http.get("/v1/certificates", params={"team": team}).json()["certificates"] == []
    assert http.get("/v1/certificates?team=%00").status_code in {200, 400}
