"""The adversary holds one person's key, or the registry, and wants to revoke, to change, or to undo a revocation.

Every lie is refused by a rule that the answer names, is in the ledger, and changes nothing of what is revoked.
"""

import copy
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from sealwright.errors import InputError, PolicyViolation
from sealwright.ledger.entries import RefusalEntry, parse_entry
from sealwright.statements.receipts import Receipt
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement
from world import World, call, make_world, wire_time


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all of them: what is refused changes nothing."""
    world = make_world(tmp_path_factory.mktemp("world"))
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    yield world
    world.stop()


def issue(world: World) -> str:
    receipt = Receipt.parse(call(world, "issue", order=world.order())["receipt"])
    return f"{receipt.load_certificate().serial_number:x}"


def earlier(world: World) -> str:
    return wire_time(world.clock.now - timedelta(hours=2))


def backdated(world: World, person: str = "alice", **changes: Any) -> SignedStatement:
    return world.signed(world.revocation(issue(world), person, revocation_date=earlier(world), **changes))


def correction(world: World, person: str = "alice", **changes: Any) -> SignedStatement:
    """Of a certificate that is revoked, from an hour ago on."""
    serial = issue(world)
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    world.clock.pass_(hours=1)
    fields = {"serials": [serial], "reason": "keyCompromise", "revocation_date": earlier(world), "comment": ""}
    return world.signed(world.statement("correction", person, **(fields | changes)))


def order(world: World, signed: SignedStatement, second: str | None = "olga", **changes: Any) -> dict[str, Any]:
    countersigned = world.signed(world.countersignature(signed, second, **changes)) if second else None
    return RevocationOrder(revocation=signed, countersignature=countersigned).to_wire()


def refused(world: World, lie: dict[str, Any]) -> str:
    assert world.authority is not None
    before = dict(world.authority.index.revoked)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "revoke", order=lie)
    entry = parse_entry(world.authority.ledger.read(world.authority.ledger.size - 1))
    assert isinstance(entry, RefusalEntry)
    assert entry.rule == caught.value.rule
    assert world.authority.index.revoked == before
    return caught.value.rule


Lie = Callable[[World], dict[str, Any]]


def countersigned_by_a_stranger(world: World) -> dict[str, Any]:
    return order(world, backdated(world), "stranger")


def countersigned_in_the_name_of_an_officer(world: World) -> dict[str, Any]:
    signed = backdated(world)
    forged = world.signed(world.countersignature(signed, "olga"), "alice")
    return RevocationOrder(revocation=signed, countersignature=forged).to_wire()


def a_countersignature_moved_to_another_order(world: World) -> dict[str, Any]:
    seen = order(world, backdated(world))
    return {**order(world, backdated(world)), "countersignature": seen["countersignature"]}


def an_approval_of_a_request_as_countersignature(world: World) -> dict[str, Any]:
    signed = backdated(world)
    decision = world.signed(world.decision(signed, "olga"))
    return RevocationOrder(revocation=signed, countersignature=decision).to_wire()


def a_revocation_as_countersignature(world: World) -> dict[str, Any]:
    signed = backdated(world)
    return RevocationOrder(revocation=signed, countersignature=backdated(world, "olga")).to_wire()


def the_date_taken_out(world: World) -> dict[str, Any]:
    lie = order(world, backdated(world), None)
    lie["revocation"]["statement"]["revocation_date"] = None
    return lie


def an_old_countersignature(world: World) -> dict[str, Any]:
    signed = backdated(world)
    past = {"issued_at": wire_time(world.clock.now - timedelta(days=8)), "expires_at": earlier(world)}
    return order(world, signed, **past)


def another_serial(world: World) -> dict[str, Any]:
    lie = order(world, backdated(world))
    lie["revocation"]["statement"]["serials"] = [issue(world)]
    return lie


def several_by_one_officer(world: World) -> dict[str, Any]:
    return order(world, world.signed(world.revocation("", "olga", serials=[issue(world), issue(world)])), None)


def two_of_the_team_and_no_officer(world: World) -> dict[str, Any]:
    return order(world, backdated(world), "bob")


def an_officer_twice(world: World) -> dict[str, Any]:
    return order(world, backdated(world, "olga"), "olga")


def an_officer_alone(world: World) -> dict[str, Any]:
    return order(world, backdated(world, "olga"), None)


def another_team_with_an_officer(world: World) -> dict[str, Any]:
    return order(world, backdated(world, "mallory"))


def an_officer_with_another_team(world: World) -> dict[str, Any]:
    return order(world, backdated(world, "olga"), "nina")


def one_person_corrects(world: World) -> dict[str, Any]:
    return order(world, correction(world, "olga"), None)


def a_correction_into_the_future(world: World) -> dict[str, Any]:
    return order(world, correction(world, revocation_date=wire_time(world.clock.now + timedelta(days=30))))


def somebody_elses_key_revocation(world: World) -> dict[str, Any]:
    assert world.authority is not None
    issue(world)
    key = next(iter(world.authority.index.issued.values())).secret_sha256
    statement = world.statement("key-revocation", "alice", spki_sha256=key, comment="")
    return order(world, world.signed(statement), None)


LIES: dict[str, tuple[Lie, str]] = {
    "countersigned by a stranger": (countersigned_by_a_stranger, "REV-PERSON"),
    "countersigned in an officer's name": (countersigned_in_the_name_of_an_officer, "STMT-SIGNER"),
    "a countersignature of another order": (a_countersignature_moved_to_another_order, "REV-COUNTERSIGNED"),
    "an approval as countersignature": (an_approval_of_a_request_as_countersignature, "STMT-KIND"),
    "a revocation as countersignature": (a_revocation_as_countersignature, "STMT-KIND"),
    "the date taken out": (the_date_taken_out, "STMT-SIGNATURE"),
    "an old countersignature": (an_old_countersignature, "STMT-LIFETIME"),
    "another serial": (another_serial, "STMT-SIGNATURE"),
    "several by one officer": (several_by_one_officer, "REV-ALONE"),
    "two of the team": (two_of_the_team_and_no_officer, "REV-OFFICER"),
    "an officer twice": (an_officer_twice, "REV-SAME-PERSON"),
    "an officer alone": (an_officer_alone, "REV-BACKDATE"),
    "another team with an officer": (another_team_with_an_officer, "REV-ALLOWED"),
    "an officer with another team": (an_officer_with_another_team, "REV-ALLOWED"),
    "one person corrects": (one_person_corrects, "REV-ALONE"),
    "a correction into the future": (a_correction_into_the_future, "REV-DATE"),
    "a key revoked by another key": (somebody_elses_key_revocation, "REV-KEY-PROOF"),
}


@pytest.mark.parametrize("lie", LIES)
def test_no_lie_revokes_or_changes_anything(world: World, lie: str) -> None:
    make, rule = LIES[lie]
    assert refused(world, make(world)) == rule


@pytest.fixture(scope="module")
def good(world: World) -> dict[str, dict[str, Any]]:
    """Orders that would be taken; a test changes a copy."""
    return {"revocation": order(world, backdated(world)), "correction": order(world, correction(world))}


FIELDS = ["pki", "id", "person", "issued_at", "expires_at", "serials", "reason", "revocation_date", "comment"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("kind", ["revocation", "correction"])
def test_no_field_can_be_changed_after_it_was_signed(world: World, good: Any, kind: str, field: str) -> None:
    lie = copy.deepcopy(good[kind])
    other = good["correction" if kind == "revocation" else "revocation"]["revocation"]["statement"]["serials"]
    _change(world, lie["revocation"]["statement"], field, other)
    assert refused(world, lie) in {"STMT-SIGNATURE", "STMT-SIGNER", "STMT-PKI"}


@pytest.mark.parametrize("field", ["pki", "id", "person", "issued_at", "expires_at", "statement_sha256", "comment"])
def test_no_field_of_a_countersignature_can_be_changed(world: World, good: Any, field: str) -> None:
    lie = copy.deepcopy(good["revocation"])
    _change(world, lie["countersignature"]["statement"], field, [])
    assert refused(world, lie) in {"STMT-SIGNATURE", "STMT-SIGNER", "STMT-PKI"}


def _change(world: World, statement: dict[str, Any], field: str, serials: list[str]) -> None:
    now = world.clock.now
    changed = {
        "pki": "f" * 64,
        "id": "f" * 32,
        "person": "omar",
        "issued_at": wire_time(now - timedelta(hours=2, minutes=7)),
        "expires_at": wire_time(now + timedelta(hours=2, minutes=7)),
        "serials": serials,
        "reason": "privilegeWithdrawn",
        "revocation_date": wire_time(now - timedelta(hours=2, minutes=7)),
        "comment": "changed",
        "statement_sha256": "f" * 64,
    }[field]
    assert statement[field] != changed
    statement[field] = changed


@pytest.mark.parametrize("kind", ["revocation", "correction"])
def test_the_orders_that_were_changed_are_good_ones(world: World, good: Any, kind: str) -> None:
    """The last word on the tests above: it was the change that was refused."""
    assert call(world, "revoke", order=good[kind])["act"] == kind


@pytest.mark.parametrize("field", ["hold", "certificateHold", "remove", "good", "until"])
def test_a_field_that_no_statement_has_is_no_order(world: World, good: Any, field: str) -> None:
    lie = copy.deepcopy(good["revocation"])
    lie["revocation"]["statement"][field] = True
    with pytest.raises(InputError, match=field):
        call(world, "revoke", order=lie)


@pytest.mark.parametrize("reason", ["certificateHold", "removeFromCRL", "unspecified", "cACompromise"])
def test_there_is_no_hold_and_no_way_back(world: World, good: Any, reason: str) -> None:
    lie = copy.deepcopy(good["revocation"])
    lie["revocation"]["statement"]["reason"] = reason
    with pytest.raises(InputError, match="reason"):
        call(world, "revoke", order=lie)


def test_a_correction_that_was_replayed_or_kept_back_changes_nothing(world: World) -> None:
    kept_back = order(world, correction(world))
    serials = kept_back["revocation"]["statement"]["serials"]
    world.clock.pass_(minutes=1)
    fields = {"serials": serials, "reason": "superseded", "revocation_date": earlier(world), "comment": ""}
    second = order(world, world.signed(world.statement("correction", "alice", **fields)))
    world.clock.pass_(minutes=1)
    call(world, "revoke", order=second)
    assert refused(world, second) == "REV-USED"
    assert refused(world, kept_back) == "REV-STALE"


def test_a_revocation_that_is_played_again_after_a_correction_changes_nothing(world: World) -> None:
    serial = issue(world)
    first = {"revocation": world.signed(world.revocation(serial)).to_wire()}
    call(world, "revoke", order=first)
    assert refused(world, first) == "REV-ALREADY"
