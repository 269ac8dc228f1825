"""Denials and withdrawals: recorded once, as they were signed, and no certificate afterwards."""

from typing import Any

import pytest

from exports import audit
from sealwright.errors import PolicyViolation
from sealwright.issuing.gate import check_order, check_still
from sealwright.issuing.index import LedgerIndex
from sealwright.ledger.entries import DenialEntry, parse_entry
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.signed import SignedStatement
from world import World, call


def denial(world: World, request: SignedStatement, person: str = "bob", **changes: Any) -> dict[str, Any]:
    decision = world.signed(world.decision(request, person, **{"verdict": "deny"} | changes))
    return {"request": request.to_wire(), "decision": decision.to_wire()}


def order(world: World, request: SignedStatement) -> dict[str, Any]:
    return {"request": request.to_wire(), "decisions": [world.signed(world.decision(request)).to_wire()]}


def denials(world: World) -> list[DenialEntry]:
    assert world.authority is not None
    entries = map(parse_entry, world.authority.ledger.iterate())
    return [entry for entry in entries if isinstance(entry, DenialEntry)]


@pytest.mark.parametrize("person", ["bob", "alice"])
def test_a_denial_and_a_withdrawal_are_entries_as_they_were_signed(world: World, person: str) -> None:
    request = world.signed(world.request())
    said = denial(world, request, person)
    place = call(world, "deny", **said)["entry"]
    assert world.authority is not None
    entry = parse_entry(world.authority.ledger.read(place))
    assert isinstance(entry, DenialEntry)
    assert (entry.request.to_wire(), entry.decision.to_wire()) == (said["request"], said["decision"])
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order=order(world, request))
    assert caught.value.rule == "ORDER-DENIED"
    world.stop()
    assert audit(world).problems == []


def test_who_denies_again_gets_the_same_answer_and_no_second_entry(world: World) -> None:
    request = world.signed(world.request())
    answers = [call(world, "deny", **denial(world, request, person)) for person in ("bob", "carol", "alice", "bob")]
    assert answers == [answers[0]] * 4
    assert len(denials(world)) == 1


def test_what_was_issued_is_not_denied_any_more(world: World) -> None:
    request = world.signed(world.request())
    call(world, "issue", order=order(world, request))
    with pytest.raises(PolicyViolation) as caught:
        call(world, "deny", **denial(world, request))
    assert caught.value.rule == "ORDER-USED"
    assert denials(world) == []


def test_a_denial_between_judgement_and_intent_counts(world: World) -> None:
    request = world.signed(world.request())
    assert world.authority is not None
    permitted = check_order(world.authority, IssuanceOrder.parse(order(world, request)), world.clock())
    call(world, "deny", **denial(world, request))
    with pytest.raises(PolicyViolation) as caught:
        check_still(world.authority, permitted, world.clock())
    assert caught.value.rule == "ORDER-DENIED"


def test_a_denial_counts_after_a_start_from_the_file_and_from_the_ledger(world: World) -> None:
    request = world.signed(world.request())
    place = call(world, "deny", **denial(world, request))["entry"]
    world.stop()
    authority = world.start()
    assert authority.index.denied == {request.sha256: place}
    assert LedgerIndex.replay(authority.ledger).denied == {request.sha256: place}
    assert call(world, "deny", **denial(world, request, "alice"))["entry"] == place


def test_a_clock_that_is_not_believed_stops_no_denial(world: World) -> None:
    request = world.signed(world.request())
    said, place = denial(world, request), order(world, request)
    world.clock.jump(hours=2)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order=place)
    assert caught.value.rule == "CLOCK-AHEAD"
    call(world, "deny", **said)
    assert len(denials(world)) == 1
