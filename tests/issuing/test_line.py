"""Orders that wait at the same time: one append for all of them, and each judged and answered for itself."""

import base64
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import sealwright.issuing.issuance as module
from exports import audit
from sealwright.errors import PolicyViolation, SealwrightError, StorageError, TokenError
from sealwright.issuing import gate
from sealwright.issuing.batches import LARGEST, Batches
from sealwright.issuing.gate import Claims
from sealwright.issuing.recovery import record_start
from sealwright.issuing.rosters import suspend_person
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RevocationRecord, parse_entry
from sealwright.ledger.receipt import check_receipt
from sealwright.pki.certificates import sign_certificate
from sealwright.pki.serials import parse_serial
from sealwright.points import Point, listen
from sealwright.statements.receipts import Receipt
from world import World, call, make_world

Answer = Receipt | BaseException


def ask(world: World, order: dict[str, Any]) -> Answer:
    try:
        return Receipt.parse(call(world, "issue", order=order)["receipt"])
    except BaseException as error:  # the answer is what is looked at
        return error


def together(
    world: World, orders: Sequence[dict[str, Any]], meanwhile: Callable[[], object] = lambda: None
) -> list[Answer]:
    """The answers to orders that all wait for the ledger before the first of them gets it."""
    authority = world.authority
    assert authority is not None
    with ThreadPoolExecutor(len(orders)) as pool:
        with authority.lock:
            answers = [pool.submit(ask, world, order) for order in orders]
            for _ in range(3000):
                if len(authority.issuances._waiting) == len(orders):
                    break
                threading.Event().wait(0.01)
            assert len(authority.issuances._waiting) == len(orders)
            meanwhile()
        return [answer.result() for answer in answers]


def given(answers: Sequence[Answer]) -> list[Receipt]:
    return [answer for answer in answers if isinstance(answer, Receipt)]


def rules(answers: Sequence[Answer]) -> list[str]:
    return [answer.rule for answer in answers if isinstance(answer, PolicyViolation)]


def acts(world: World, start: int) -> list[tuple[str, str]]:
    """Kind and serial of what was recorded from ``start`` on."""
    assert world.authority is not None
    told = []
    for entry in map(parse_entry, world.authority.ledger.iterate(start)):
        match entry:
            case IntentEntry():
                told.append(("intent", entry.serial))
            case CertificateEntry():
                told.append(("certificate", entry.serial))
            case RevocationRecord():
                told.append(("revocation", entry.serials[0]))
    return told


@pytest.fixture
def appends(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each append had."""
    assert world.authority is not None
    append, sizes = world.authority.ledger.append, []

    def counted(*entries: bytes) -> tuple[int, ...]:
        sizes.append(len(entries))
        return append(*entries)

    monkeypatch.setattr(world.authority.ledger, "append", counted)
    return sizes


def test_orders_that_wait_share_one_append_for_intents_and_one_for_certificates(
    world: World, appends: list[int]
) -> None:
    assert world.authority is not None
    record_start(world.authority)
    before = world.authority.ledger.size
    appends.clear()
    receipts = given(together(world, [world.order() for _ in range(5)]))
    assert appends == [5, 5]
    for receipt in receipts:
        check_receipt(receipt, origin=world.installed.anchor.ledger_origin, ledger_key=world.ledger_key.public_key())
    told = acts(world, before)
    assert [kind for kind, _ in told] == ["intent"] * 5 + ["certificate"] * 5
    assert [serial for _, serial in told[:5]] == [serial for _, serial in told[5:]]
    assert {f"{each.load_certificate().serial_number:x}" for each in receipts} == {serial for _, serial in told}
    assert audit(world).problems == []


def test_a_signature_that_fails_closes_its_own_intent_and_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.authority is not None
    before, failed, lock = world.authority.ledger.size, [], threading.Lock()

    def once(linted: Any, key: Any) -> Any:
        with lock:
            if not failed:
                failed.append(linted.certificate.serial_number)
                raise TokenError("the token is gone")
        return sign_certificate(linted, key)

    orders = [world.order() for _ in range(4)]
    monkeypatch.setattr(module, "sign_certificate", once)
    answers = together(world, orders)
    assert len(given(answers)) == 3
    (lost,) = failed
    assert [serial for kind, serial in acts(world, before) if kind == "revocation"] == [f"{lost:x}"]
    assert list(world.authority.index.revoked) == [lost]
    assert not world.authority.index.intents
    (again,) = (order for order, answer in zip(orders, answers, strict=True) if isinstance(answer, TokenError))
    assert isinstance(ask(world, again), Receipt)
    assert audit(world).problems == []


def test_an_order_that_comes_twice_at_once_is_answered_once(world: World) -> None:
    order = world.order()
    answers = together(world, [order, order, world.order()])
    assert len(given(answers)) == 2
    assert rules(answers) == ["ORDER-USED"]


@pytest.mark.parametrize("rule", ["ORDER-USED", "CS-KEY-OTHER-TEAM"])
def test_an_auditor_names_a_signer_that_judged_a_batch_as_if_its_orders_were_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    assert world.authority is not None
    record_start(world.authority)
    orders = [world.order()] * 2 if rule == "ORDER-USED" else two_teams_one_key(world)
    monkeypatch.setattr(Claims, "leave_nothing_for", lambda *_: False)
    assert len(given(together(world, orders))) == 2
    (problem,) = audit(world).problems
    assert problem.claim == "AUDIT-USE"
    assert problem.rule == rule


def test_an_order_whose_double_failed_at_the_token_is_not_refused_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[bool] = []

    def once(linted: Any, key: Any) -> Any:
        if not failed:
            failed.append(True)
            raise TokenError("the token is gone")
        return sign_certificate(linted, key)

    monkeypatch.setattr(module, "sign_certificate", once)
    order = world.order()
    answers = together(world, [order, order])
    assert len(given(answers)) == 1
    assert not rules(answers)


def two_teams_one_key(world: World) -> list[dict[str, Any]]:
    key = ec.generate_private_key(ec.SECP256R1())
    ours = world.order(csr=base64.b64encode(world.csr(key=key)).decode())
    csr = base64.b64encode(world.csr("games", "chess", key)).decode()
    return [ours, world.order(team="games", person="mallory", project="chess", csr=csr)]


def test_a_key_serves_one_team_also_when_two_ask_at_once(world: World) -> None:
    answers = together(world, two_teams_one_key(world))
    assert len(given(answers)) == 1
    assert rules(answers) == ["CS-KEY-OTHER-TEAM"]


def test_no_batch_takes_more_places_than_a_team_has(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    profile = world.installed.folder / "ca/profiles/code-signing.toml"
    profile.write_text(profile.read_text().replace("live_certificates = 100000", "live_certificates = 3"))
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    assert isinstance(ask(world, world.order()), Receipt)
    answers = together(world, [world.order() for _ in range(5)])
    assert len(given(answers)) == 2
    assert rules(answers) == ["ORDER-LIVE"] * 3
    world.stop()


@pytest.mark.parametrize("is_batch", [False, True], ids=["one by one", "in a batch"])
def test_an_auditor_counts_what_a_team_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_batch: bool) -> None:
    world = make_world(tmp_path)
    profile = world.installed.folder / "ca/profiles/code-signing.toml"
    profile.write_text(profile.read_text().replace("live_certificates = 100000", "live_certificates = 3"))
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    first = ask(world, world.order())
    assert isinstance(first, Receipt)
    serial = f"{first.load_certificate().serial_number:x}"
    assert all(isinstance(ask(world, world.order()), Receipt) for _ in range(2))
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    assert isinstance(ask(world, world.order()), Receipt), "what is revoked does not count"
    assert audit(world).problems == []
    monkeypatch.setattr(gate, "check_live", lambda *_: None)
    monkeypatch.setattr(Claims, "leave_nothing_for", lambda *_: False)
    orders = [world.order() for _ in range(2)]
    answers = together(world, orders) if is_batch else [ask(world, order) for order in orders]
    assert len(given(answers)) == 2
    assert [(each.claim, each.rule) for each in audit(world).problems] == [("AUDIT-USE", "ORDER-LIVE")] * 2
    world.stop()


def test_who_is_suspended_while_an_order_waits_gets_nothing(world: World) -> None:
    authority = world.authority
    assert authority is not None
    suspension = {"suspension": world.signed(world.suspension("alice")).to_wire()}
    theirs = world.order(team="games", person="mallory", project="chess")
    answers = together(world, [world.order(), world.order(), theirs], lambda: suspend_person(authority, suspension))
    assert len(given(answers)) == 1
    assert len(rules(answers)) == 2


@pytest.mark.parametrize("point", [Point.INTENT_DURABLE, Point.CERTIFICATE_SIGNED])
def test_what_a_batch_left_open_is_revoked_before_anything_else_is_signed(world: World, point: Point) -> None:
    class PowerCut(BaseException):
        pass

    def cut(reached: Point) -> None:
        if reached is point:
            raise PowerCut

    authority = world.authority
    assert authority is not None
    record_start(authority)
    orders = [world.order() for _ in range(3)]
    with listen(cut):
        answers = together(world, orders)
    assert [type(answer) for answer in answers] == [PowerCut] * 3
    lost = set(authority.index.intents)
    assert len(lost) == 3
    before = authority.ledger.size
    assert len(given(together(world, orders))) == 3
    assert {parse_serial(serial) for kind, serial in acts(world, before)[:3] if kind == "revocation"} == lost
    assert lost == set(authority.index.revoked)
    assert audit(world).problems == []


def test_a_disk_that_is_full_reserves_nothing_for_any_of_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: bytes) -> tuple[int, ...]:
        raise StorageError("the disk is full")

    authority = world.authority
    assert authority is not None
    before, orders = authority.ledger.size, [world.order() for _ in range(3)]
    with monkeypatch.context() as patch:
        patch.setattr(authority.ledger, "append", full)
        answers = together(world, orders)
    assert [type(answer) for answer in answers] == [StorageError] * 3
    assert authority.ledger.size == before
    assert len(given(together(world, orders))) == 3
    assert not authority.index.revoked


# Batches alone


@dataclass(eq=False)
class Item:
    number: int
    outcome: object = None

    @property
    def is_settled(self) -> bool:
        return self.outcome is not None

    def fail(self, error: BaseException) -> None:
        self.outcome = error


def settle_all(batches: Batches[Item], lock: threading.RLock, items: Sequence[Item], act: Callable[..., None]) -> None:
    with ThreadPoolExecutor(len(items)) as pool, lock:
        for item in items:
            pool.submit(batches.settle, item, act)
        while len(batches._waiting) < len(items):
            threading.Event().wait(0.001)


def test_a_batch_is_bounded_and_everybody_is_settled() -> None:
    lock, sizes = threading.RLock(), []
    batches: Batches[Item] = Batches(lock)

    def act(batch: tuple[Item, ...]) -> None:
        sizes.append(len(batch))
        for each in batch:
            each.outcome = "done"

    items = [Item(n) for n in range(LARGEST + 5)]
    settle_all(batches, lock, items, act)
    assert sizes == [LARGEST, 5]
    assert {item.outcome for item in items} == {"done"}


def test_what_is_left_is_in_the_next_batch() -> None:
    lock, seen = threading.RLock(), []
    batches: Batches[Item] = Batches(lock)

    def act(batch: tuple[Item, ...]) -> None:
        seen.append(len(batch))
        batch[0].outcome = "done"

    items = [Item(n) for n in range(4)]
    settle_all(batches, lock, items, act)
    assert seen == [4, 3, 2, 1]
    assert all(item.is_settled for item in items)


def test_an_error_fails_the_whole_batch_and_nothing_is_tried_twice() -> None:
    lock, tried = threading.RLock(), []
    batches: Batches[Item] = Batches(lock)

    def act(batch: tuple[Item, ...]) -> None:
        tried.extend(batch)
        raise SealwrightError("no")

    items = [Item(n) for n in range(4)]
    settle_all(batches, lock, items, act)
    assert sorted(item.number for item in tried) == [0, 1, 2, 3]
    assert all(isinstance(item.outcome, SealwrightError) for item in items)
    batches.settle(late := Item(9), lambda batch: batch[0].fail(ValueError()))
    assert late.is_settled
