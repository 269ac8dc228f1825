"""The primary is killed and its standby promoted, under load: the ledger brings back what the standby never got."""

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from office import Office, open_office
from postgres import Cluster, running_cluster
from sealwright.errors import NotFound, SealwrightError, Unavailable
from sealwright.ledger.entries import CertificateEntry, parse_entry
from sealwright.ledger.receipt import check_receipt
from sealwright.registration.certificates import list_certificates
from sealwright.registration.decisions import decide
from sealwright.registration.projection import project_ledger
from sealwright.registration.receipts import find_receipt
from sealwright.registration.registry import Registry
from sealwright.registration.requests import submit_request
from sealwright.registration.rosters import publish_roster
from sealwright.registration.upkeep import keep_up
from sealwright.store.roles import REGISTRY
from world import make_world

BACK_WITHIN = 30.0


@contextmanager
def pair_of_servers() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary and its streaming replica."""
    with running_cluster(fsync="off") as primary, ExitStack() as resources:
        replica = Cluster.place(fsync="off")
        resources.callback(replica.remove)
        replica.follow(primary)
        yield primary, replica


class Team:
    """People who ask and approve, one request after another, until they are told to stop."""

    def __init__(self, office: Office, registry: Registry) -> None:
        self._office, self._registry = office, registry
        self._stop = threading.Event()
        self.issued: list[tuple[float, str]] = []
        self.errors: list[SealwrightError] = []
        self._threads = [threading.Thread(target=self._work) for _ in range(3)]

    def __enter__(self) -> "Team":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self) -> None:
        while not self._stop.is_set():
            request = self._office.request()
            try:
                submit_request(self._registry, request)
                record = decide(self._registry, self._office.decision(request))
            except SealwrightError as error:
                self.errors.append(error)
                self._stop.wait(0.2)
                continue
            if record.row.state == "issued":
                self.issued.append((time.monotonic(), record.row.serial or ""))

    def wait_for(self, count: int, *, after: float = 0.0, seconds: float = 60.0) -> float:
        """Until so many were issued after that moment. When the last of these was."""
        deadline = time.monotonic() + seconds
        while True:
            moments = [moment for moment, _ in self.issued if moment > after]
            if len(moments) >= count:
                return moments[count - 1]
            assert time.monotonic() < deadline, f"only {len(moments)} were issued; {self.errors[-1:]}"
            time.sleep(0.02)


def signed_serials(registry: Registry) -> set[str]:
    """Every certificate that the signer ever signed, as its ledger says."""
    serials: set[str] = set()
    start, size = 0, 1
    while start < size:
        answer = registry.signer.call("entries", start=start, count=1000)
        for each in answer["entries"]:
            entry = parse_entry(base64.b64decode(each))
            if isinstance(entry, CertificateEntry):
                serials.add(entry.serial)
        start, size = start + len(answer["entries"]), answer["size"]
    return serials


@pytest.mark.slow
def test_no_certificate_is_missing_after_a_failover_and_the_registry_is_back_in_time(tmp_path: Path) -> None:
    with pair_of_servers() as (primary, replica), ExitStack() as resources:
        name = primary.new("registry").split("?", maxsplit=1)[0].rpartition("/")[2]
        url = (
            f"postgresql://{REGISTRY}@127.0.0.1:{primary.port},127.0.0.1:{replica.port}/{name}"
            f"?passfile={primary.passfile}"
        )
        world = make_world(tmp_path / "world")
        office = resources.enter_context(open_office(world, tmp_path, database=url))
        registry = office.registry
        publish_roster(registry, office.sign(world.roster(), "olga", "omar"))
        stop = threading.Event()
        upkeep = threading.Thread(target=keep_up, args=(registry, stop))
        upkeep.start()
        resources.callback(upkeep.join, 30)
        resources.callback(stop.set)

        with Team(office, registry) as team:
            team.wait_for(10)
            behind = project_ledger(registry)
            replica.wait_until(name, b"SELECT next_index >= %s FROM projection", behind)
            replica.stop_following()
            cut = time.monotonic()
            team.wait_for(10, after=cut)  # these are in the ledger, and in the primary only
            lost = project_ledger(registry)
            primary.kill()
            killed = time.monotonic()
            with replica.connect(name) as connection:
                (kept,) = connection.execute("SELECT next_index FROM projection").fetchone() or (0,)
            replica.promote()
            back = team.wait_for(5, after=killed) - killed
            team.wait_for(10, after=killed)
        print(f"back after {back:.1f} s")
        assert back < BACK_WITHIN
        stop.set()
        upkeep.join(30)

        assert kept < lost  # the standby really was behind: its tail came back from the ledger
        project_ledger(registry)
        ledger = signed_serials(registry)
        assert {each.row.serial for each in list_certificates(registry)} == ledger
        assert {serial for _, serial in team.issued} <= ledger
        assert all(isinstance(error, Unavailable | NotFound) for error in team.errors), team.errors
        key, origin = registry.last_roster().ledger_key, world.installed.anchor.ledger_origin
        for record in list_certificates(registry):
            check_receipt(find_receipt(registry, record.row.request_sha256 or ""), origin=origin, ledger_key=key)
