"""PostgreSQL goes away under a running registry: a 503 that says so, no trace, and back by itself."""

import threading
from pathlib import Path

import httpx
import pytest

from office import free_server, open_office, serving
from postgres import PASSWORD, running_cluster
from sealwright.registration.registry import system_clock
from sealwright.registration.rosters import publish_roster
from world import make_world


def test_the_registry_says_503_while_its_database_is_away_and_comes_back_by_itself(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    world = make_world(tmp_path / "world")
    world.clock = system_clock  # type: ignore[assignment]  # the registry's clock is the machine's
    with (
        running_cluster(fsync="off") as cluster,
        open_office(world, tmp_path, free_server(), database=cluster.new("registry")) as office,
    ):
        publish_roster(office.registry, office.sign(world.roster(), "olga", "omar"))
        with serving(office.config) as url, httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
            request = office.request().to_bytes()
            cluster.stop()
            for answer in (
                http.get("/healthz"),
                http.post("/v1/login/challenge"),
                http.post("/v1/requests", content=request, headers={"Content-Type": "application/json"}),
            ):
                assert answer.status_code == 503
                said = answer.json()
                assert said["type"] == "urn:sealwright:error:Unavailable"
                assert "does not answer" in said["detail"]
                assert said["hint"]
            threading.Event().wait(2.5)  # its upkeep meets it too
            cluster.start()
            assert http.get("/healthz").status_code == 200
            answer = http.post("/v1/requests", content=request, headers={"Content-Type": "application/json"})
            assert answer.status_code == 201
    logged = capfd.readouterr().err
    assert "does not answer" in logged
    assert "Traceback" not in logged
    assert PASSWORD not in logged
