"""Orders that wait at the same time: one append for all of them, and each judged and answered for itself."""

import base64
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import sealwright.issuing.issuance as module
from exports import audit
from sealwright.errors import SealwrightError, StorageError, TokenError
from sealwright.issuing import gate
from sealwright.issuing.gate import Claims
from sealwright.issuing.line import LARGEST, Line, LintHere
from sealwright.issuing.recovery import record_start
from sealwright.issuing.rosters import suspend_person
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RevocationRecord, parse_entry
from sealwright.ledger.receipt import check_receipt
from sealwright.pki.certificates import CertificateDraft, LintedDraft, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind
from sealwright.pki.serials import parse_serial
from sealwright.points import Point, listen
from sealwright.statements.receipts import Receipt
from softpki import soft_pki, software_key
from together import all_at_once, ask, given, rules, together
from world import World, call, make_world


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


# The line alone


class Item:
    def __init__(self, draft: CertificateDraft, wrong: Exception | None = None) -> None:
        self._draft, self._wrong = draft, wrong
        self.outcome: object = None
        self.told = threading.Event()

    @property
    def is_settled(self) -> bool:
        return self.outcome is not None

    def judge(self) -> CertificateDraft:
        if self._wrong is not None:
            raise self._wrong
        return self._draft

    def take(self, linted: LintedDraft) -> None:
        assert linted.draft is self._draft

    def fail(self, error: BaseException) -> None:
        self.outcome = error

    def leave(self) -> None:
        assert self.is_settled
        self.told.set()


@pytest.fixture(scope="module")
def linted() -> LintedDraft:
    return lint_draft(soft_pki(KeyKind.P384).draft(software_key(KeyKind.P256, "leaf")))


@pytest.fixture
def linting(linted: LintedDraft) -> LintHere:
    return LintHere(lambda _: linted)


def run(line: Line[Item], linting: Any, items: Sequence[Item], act: Callable[[tuple[Item, ...]], None]) -> None:
    with all_at_once(line):
        for item in items:
            line.add(item, linting, act)
    assert all(item.told.wait(10) for item in items)


def done(batch: Sequence[Item]) -> None:
    for each in batch:
        each.outcome = "done"


def test_a_batch_is_bounded_and_everybody_is_told(linted: LintedDraft, linting: LintHere) -> None:
    sizes, items = [], [Item(linted.draft) for _ in range(LARGEST + 5)]

    def act(batch: tuple[Item, ...]) -> None:
        sizes.append(len(batch))
        assert not any(item.told.is_set() for item in batch)
        done(batch)

    run(Line(), linting, items, act)
    assert sizes == [LARGEST, 5]
    assert {item.outcome for item in items} == {"done"}


def test_what_is_left_is_in_the_next_batch(linted: LintedDraft, linting: LintHere) -> None:
    seen = []

    def act(batch: tuple[Item, ...]) -> None:
        seen.append(len(batch))
        done(batch[:1])

    run(Line(), linting, [Item(linted.draft) for _ in range(4)], act)
    assert seen == [4, 3, 2, 1]


def test_an_error_fails_the_whole_batch_and_nothing_is_tried_twice(linted: LintedDraft, linting: LintHere) -> None:
    tried: list[Item] = []

    def act(batch: tuple[Item, ...]) -> None:
        tried.extend(batch)
        raise SealwrightError("no")

    line: Line[Item] = Line()
    items = [Item(linted.draft) for _ in range(4)]
    run(line, linting, items, act)
    assert tried == items
    assert all(isinstance(item.outcome, SealwrightError) for item in items)
    run(line, linting, [late := Item(linted.draft)], done)
    assert late.outcome == "done"


def test_who_is_refused_holds_nobody_up(linted: LintedDraft) -> None:
    wrong = SealwrightError("not this one")

    def lint(draft: CertificateDraft) -> LintedDraft:
        if draft is unlintable:
            raise wrong
        return linted

    unlintable = soft_pki(KeyKind.P384).draft(software_key(KeyKind.P256, "leaf"))
    items = [Item(linted.draft), Item(linted.draft, wrong), Item(unlintable), Item(linted.draft)]
    run(Line(), LintHere(lint), items, done)
    assert [item.outcome for item in items] == ["done", wrong, wrong, "done"]


class Elsewhere(LintHere):
    """Answers when it is told to; ``wake`` is all that ends its waiting."""

    def __init__(self, linted: LintedDraft) -> None:
        super().__init__(lambda _: linted)
        self.waits, self.ready, self._bell = threading.Event(), False, threading.Event()

    def answers(self, *, wait: bool) -> Sequence[tuple[Any, Any]]:
        if self.ready:
            return super().answers(wait=wait)
        if wait:
            self.waits.set()
            assert self._bell.wait(10)
            self._bell.clear()
        return []

    def wake(self) -> None:
        self._bell.set()


def test_an_order_that_comes_while_others_are_linted_is_judged_at_once(linted: LintedDraft) -> None:
    line, elsewhere, sizes = Line[Item](), Elsewhere(linted), []

    def act(batch: tuple[Item, ...]) -> None:
        sizes.append(len(batch))
        done(batch)

    first, second = Item(linted.draft), Item(linted.draft)
    line.add(first, elsewhere, act)
    assert elsewhere.waits.wait(10)
    elsewhere.waits.clear()
    line.add(second, elsewhere, act)
    assert elsewhere.waits.wait(10), "it was judged, and both are waited for"
    elsewhere.ready = True
    elsewhere.wake()
    line.close()
    assert sizes == [2]
    assert first.told.is_set()
    assert second.told.is_set()


def test_linters_that_break_leave_nobody_waiting_and_the_line_goes_on(
    linted: LintedDraft, linting: LintHere, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(LintHere):
        def answers(self, *, wait: bool) -> Sequence[tuple[Any, Any]]:
            raise OSError("no more processes")

    line: Line[Item] = Line()
    items = [Item(linted.draft) for _ in range(LARGEST + 3)]
    run(line, Broken(lambda _: linted), items, done)
    assert all(isinstance(item.outcome, OSError) for item in items)
    assert "the line broke" in caplog.text
    run(line, linting, [late := Item(linted.draft)], done)
    assert late.outcome == "done"


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_who_cannot_be_told_keeps_nobody_from_it(
    linted: LintedDraft, linting: LintHere, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
) -> None:
    class Gone(Item):
        def leave(self) -> None:
            super().leave()
            raise kind("gone")

    run(Line(), linting, [Gone(linted.draft), Item(linted.draft)], done)
    assert "could not be told" in caplog.text
