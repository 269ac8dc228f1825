"""Who needs both takes the registry's lock first, and the database after it: nobody waits for who waits for him."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from office import Office
from sealwright.ledger.tiles import parse_tile
from sealwright.registration.decisions import decide
from sealwright.registration.projection import project_ledger, rebuild
from sealwright.registration.receipts import find_receipt
from sealwright.registration.requests import submit_request
from sealwright.registration.tiles import find_resource


class Watched:
    """A lock that tells when somebody comes to it."""

    def __init__(self, told: Callable[[], None]) -> None:
        self._lock, self._told = threading.Lock(), told

    def __enter__(self) -> None:
        self._told()
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


@pytest.fixture
def request_(office: Office) -> str:
    """Issued, and its receipt was lost: it is made from the projection."""
    request = office.request()
    submit_request(office.registry, request)
    decide(office.registry, office.decision(request))
    with office.registry.database.writing() as tx:
        tx.request(request.sha256).receipt = None
    return request.sha256


def test_a_receipt_is_made_while_another_thread_projects(
    office: Office, request_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, signer = office.registry, office.registry.signer
    projecting, waiting = threading.Event(), threading.Event()
    registry.lock = Watched(lambda: waiting.set() if projecting.is_set() else None)  # type: ignore[assignment]  # as one
    signer.call("issue", order=office.world.order())

    class Held:
        """The signer, whose entries come when somebody waits for who asked."""

        def call(self, name: str, **arguments: Any) -> Mapping[str, Any]:
            projecting.set()
            assert waiting.wait(60)
            return signer.call(name, **arguments)

    registry.signer = Held()  # type: ignore[assignment]  # as the channel
    with ThreadPoolExecutor(2) as pool:
        projected = pool.submit(project_ledger, registry)
        assert projecting.wait(60)
        made = pool.submit(find_receipt, registry, request_)
        size, receipt = projected.result(60), made.result(60)
    with registry.database.reading() as tx:
        assert tx.projection_size() == size
        assert tx.request(request_).receipt == receipt.to_bytes().decode()


def test_the_lock_is_never_taken_within_a_transaction(office: Office, request_: str) -> None:
    registry, authority = office.registry, office.world.authority
    assert authority is not None
    authority.ledger.append(*[authority.ledger.read(0)] * 256)
    pool, open_then = registry.database._engine.pool, []
    registry.lock = Watched(lambda: open_then.append(pool.checkedout()))  # type: ignore[assignment, attr-defined]  # as one
    tile = parse_tile("tile/1/000.p/1")
    assert tile is not None
    for act in (project_ledger, rebuild):
        act(registry)
    find_resource(registry, tile.name)
    find_receipt(registry, request_)
    assert len(open_then) >= 5
    assert set(open_then) == {0}
