"""Refusals are part of the record, and a flood of them is not."""

import pytest

from sealwright.errors import PolicyViolation
from sealwright.issuing.refusals import BURST, PER_MINUTE, RefusalGate
from sealwright.ledger.entries import MESSAGE_LIMIT, RefusalEntry, parse_entry
from softpki import NOW
from world import World, call


def refuse(world: World, order: dict[str, object]) -> None:
    with pytest.raises(PolicyViolation):
        call(world, "issue", order=order)


def test_the_same_thing_refused_again_is_recorded_once_and_counted(world: World) -> None:
    assert world.authority is not None
    ledger = world.authority.ledger
    order = {**world.order(), "decisions": []}
    before = ledger.size
    for _ in range(5):
        refuse(world, order)
    assert ledger.size == before + 1
    refuse(world, {**world.order(), "decisions": []})
    assert ledger.size == before + 2
    entry = parse_entry(ledger.read(before + 1))
    assert isinstance(entry, RefusalEntry)
    assert "4 refusals before it were not recorded" in entry.message


@pytest.mark.parametrize(("length", "left_out", "kept"), [(0, 0, 0), (1, 0, -1), (0, 7, -46), (9999, 7, -46)])
def test_a_message_is_cut_to_what_an_entry_holds_and_the_count_is_not(length: int, left_out: int, kept: int) -> None:
    message = "x" * (MESSAGE_LIMIT + length)
    entry = RefusalEntry.of(at=NOW, call="issue", rule="RULE", message=message, left_out=left_out, sha256="0" * 64)
    assert len(entry.message) == MESSAGE_LIMIT
    if length or left_out:
        assert entry.message.partition("…")[0] == "x" * (MESSAGE_LIMIT + kept)
    assert entry.message.endswith(" (and 7 refusals before it were not recorded)") is bool(left_out)
    assert parse_entry(entry.to_bytes()) == entry


def test_a_flood_is_cut_to_a_rate_and_counted(world: World) -> None:
    gate, clock = RefusalGate(), world.clock
    admitted = [gate.admit((str(n), "RULE"), clock()) for n in range(BURST + 100)]
    assert admitted == [0] * BURST + [None] * 100
    clock.pass_(minutes=1)
    again = [gate.admit((f"later {n}", "RULE"), clock()) for n in range(PER_MINUTE + 1)]
    assert again == [100] + [0] * (PER_MINUTE - 1) + [None]
