"""Two registries on one database and one signer: whoever is asked, each order is answered once."""

import base64
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from office import Office
from sealwright.channel import SignerChannel
from sealwright.errors import Conflict, SealwrightError
from sealwright.ledger.entries import CertificateEntry, parse_entry
from sealwright.pki.keys import KeyKind
from sealwright.pki.requests import build_csr
from sealwright.pki.signatures import default_scheme
from sealwright.registration.certificates import list_certificates
from sealwright.registration.decisions import decide, send_order
from sealwright.registration.login import new_challenge
from sealwright.registration.projection import project_ledger
from sealwright.registration.receipts import find_receipt
from sealwright.registration.registry import Registry
from sealwright.registration.requests import find_request, submit_request
from sealwright.registration.upkeep import Retries, keep_up_once
from sealwright.statements.signed import SignedStatement

Pair = tuple[Registry, Registry]


@pytest.fixture
def pair(office: Office) -> Iterator[Pair]:
    second = Registry.open(office.config, clock=office.world.clock)
    yield office.registry, second
    second.database.close()


def at_once(*acts: Callable[[], object]) -> list[object]:
    """All begun at the same moment. What each gave, or raised of ours."""
    barrier = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return act()
        except SealwrightError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        futures: list[Future[object]] = [pool.submit(run, act) for act in acts]
        return [future.result() for future in futures]


def certified(registry: Registry) -> Counter[str]:
    """How many certificates the ledger has for each request: the intents say whose they are."""
    with registry.database.reading() as tx:
        rows = tx.certificates(limit=1000)
    entries: list[str] = []
    while more := registry.signer.call("entries", start=len(entries), count=1000)["entries"]:
        entries += more  # as many as fit one message
    signed = sum(isinstance(parse_entry(base64.b64decode(each)), CertificateEntry) for each in entries)
    assert signed == len(rows)
    return Counter(str(row.request_sha256) for row in rows)


def release_request(office: Office) -> SignedStatement:
    """Wants two approvals."""
    csr = build_csr(ec.generate_private_key(ec.SECP384R1()), x509.Name([]), None, default_scheme(KeyKind.P384))
    return office.request(profile="code-signing-release", csr=base64.b64encode(csr).decode())


def test_two_approvals_at_once_on_two_registries_are_a_quorum(office: Office, pair: Pair) -> None:
    """Each must see the other's: two that counted one each would leave the request open for ever."""
    first, second = pair
    for _ in range(5):
        request = release_request(office)
        submit_request(first, request)
        bob, carol = office.decision(request, "bob"), office.decision(request, "carol")
        said = at_once(lambda d=bob: decide(first, d), lambda d=carol: decide(second, d))  # type: ignore[misc]  # bound now
        assert not [each for each in said if isinstance(each, SealwrightError)]
        assert find_request(second, request.sha256).row.state == "issued"
        assert certified(first)[request.sha256] == 1


def test_one_approval_sent_to_both_counts_once(office: Office, pair: Pair) -> None:
    first, second = pair
    request = release_request(office)
    submit_request(first, request)
    decision = office.decision(request, "bob")
    said = at_once(lambda: decide(first, decision), lambda: decide(second, decision))
    assert [type(each) for each in said].count(Conflict) == 1
    record = find_request(first, request.sha256)
    assert (record.row.state, len(record.decisions)) == ("open", 1)


def test_one_request_sent_to_both_is_taken_once(office: Office, pair: Pair) -> None:
    first, second = pair
    request = office.request()
    said = at_once(lambda: submit_request(first, request), lambda: submit_request(second, request))
    assert [type(each) for each in said].count(Conflict) == 1


def test_an_order_that_both_send_is_issued_once_and_neither_calls_it_refused(office: Office, pair: Pair) -> None:
    first, second = pair
    signer = first.signer
    requests = [office.request() for _ in range(4)]
    first.signer = SignerChannel(office.config.socket.with_name("nobody"))
    for request in requests:
        submit_request(first, request)
        assert decide(first, office.decision(request)).row.state == "approved"
    first.signer = signer
    at_once(lambda: keep_up_once(first, Retries()), lambda: keep_up_once(second, Retries()))
    for request in requests:
        at_once(lambda r=request: send_order(first, r.sha256), lambda r=request: send_order(second, r.sha256))  # type: ignore[misc]  # bound now
        assert find_request(first, request.sha256).row.state == "issued"
        assert find_receipt(first, request.sha256) == find_receipt(second, request.sha256)
    assert set(certified(first).values()) == {1}
    assert len(list_certificates(second)) == len(requests)


def test_both_follow_the_ledger_and_read_each_entry_once(office: Office, pair: Pair) -> None:
    first, second = pair
    for _ in range(5):
        first.signer.call("issue", order=office.world.order())
        sizes = at_once(*(lambda r=each: project_ledger(r) for each in (first, second, first, second)))  # type: ignore[misc]  # bound now
        assert len(set(sizes)) == 1
    with second.database.reading() as tx:
        leaves = tx.leaf_hashes(0, 1 << 30)
        assert len(leaves) == tx.projection_size() == sizes[0]
    assert len(list_certificates(first)) == 5


def test_under_load_every_request_is_issued_once(office: Office, pair: Pair) -> None:
    requests = [office.request() for _ in range(12)]
    decisions = [office.decision(request) for request in requests]
    stop = threading.Event()

    def upkeep(registry: Registry) -> None:
        while not stop.is_set():
            keep_up_once(registry, Retries())

    def work(number: int) -> None:
        registry, other = pair if number % 2 else (pair[1], pair[0])
        submit_request(registry, requests[number])
        new_challenge(other)
        with suppress(Conflict):
            decide(other, decisions[number])

    with ThreadPoolExecutor(6) as pool:
        keepers = [pool.submit(upkeep, registry) for registry in pair]
        workers = [pool.submit(work, number) for number in range(len(requests))]
        try:
            for worker in workers:
                worker.result(60)
        finally:
            stop.set()
        for keeper in keepers:
            keeper.result(60)
    for registry in pair:
        keep_up_once(registry, Retries())
        assert {find_request(registry, request.sha256).row.state for request in requests} == {"issued"}
        assert certified(registry) == Counter(request.sha256 for request in requests)
