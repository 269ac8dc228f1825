"""The adversary has one officer's key, and a registry that passes on whatever it is given.

One officer can take away and never give: suspend, revoke, and nothing else. Each try to do more is refused by a rule,
named in the answer, and in the ledger.
"""

import base64
from datetime import timedelta
from typing import Any

import pytest

from adversary import good, order, refused
from exports import audit
from sealwright.errors import InputError, Unavailable
from world import World, call, new_person, wire_time


def suspend(world: World, statement: dict[str, Any], *signers: str, namespace: str | None = None) -> None:
    call(world, "suspend", suspension=world.signed(statement, *signers, namespace=namespace).to_wire())


def lie(world: World, statement: dict[str, Any], *signers: str, namespace: str | None = None) -> str:
    return refused(world, world.signed(statement, *signers, namespace=namespace).to_wire(), "suspend")


def test_one_officer_suspends_at_once_and_it_is_in_the_ledger(world: World) -> None:
    request, decision = good(world)
    suspend(world, world.suspension("bob"))
    assert refused(world, order(request, decision)) == "SUSPENDED"
    assert refused(world, order(request, world.signed(world.decision(request)))) == "SUSPENDED"
    call(world, "issue", order=order(request, world.signed(world.decision(request, "carol"))))


def test_a_suspended_requester_s_request_is_dead(world: World) -> None:
    request, decision = good(world)
    suspend(world, world.suspension("alice"))
    assert refused(world, order(request, decision)) == "SUSPENDED"


def test_a_suspended_person_revokes_nothing(world: World) -> None:
    call(world, "issue", order=world.order())
    assert world.authority is not None
    serial = f"{next(iter(world.authority.index.issued_for.values())):x}"
    suspend(world, world.suspension("alice"))
    forged = world.signed(world.revocation(serial)).to_wire()
    assert refused(world, {"revocation": forged}, "revoke") == "SUSPENDED"


def test_a_suspension_outlives_a_restart(world: World) -> None:
    request, decision = good(world)
    suspend(world, world.suspension("bob"))
    world.stop()
    assert world.start().last_roster().suspended == ("bob",)
    assert refused(world, order(request, decision)) == "SUSPENDED"


def test_only_a_later_roster_lifts_it_and_old_approvals_stay_dead(world: World) -> None:
    request, decision = good(world)
    early = world.signed(world.roster(2), "olga", "omar").to_wire()
    world.clock.pass_(minutes=1)
    suspend(world, world.suspension("bob"))
    world.clock.pass_(minutes=1)
    call(world, "publish-roster", roster=early)
    assert refused(world, order(request, decision)) == "SUSPENDED"
    late = world.signed(world.roster(3), "olga", "omar").to_wire()
    world.clock.pass_(minutes=1)
    call(world, "publish-roster", roster=late)
    assert refused(world, order(request, decision)) == "SUSPENDED"
    call(world, "issue", order=order(request, world.signed(world.decision(request))))


def test_an_order_that_was_judged_before_the_suspension_is_judged_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The officer's word comes between the check and the signature."""
    request, decision = good(world)
    assert world.authority is not None
    lint = world.authority.lint

    def slow(draft: Any) -> Any:
        suspend(world, world.suspension("bob"))
        return lint(draft)

    monkeypatch.setattr(world.authority, "lint", slow)
    assert refused(world, order(request, decision)) == "SUSPENDED"


def held_up(world: World, monkeypatch: pytest.MonkeyPatch, **duration: float) -> None:
    """The process is frozen, or its machine paused, between the judgement of an order and its turn."""
    assert world.authority is not None
    lint = world.authority.lint

    def slow(draft: Any) -> Any:
        world.clock.pass_(**duration)
        return lint(draft)

    monkeypatch.setattr(world.authority, "lint", slow)


def test_an_order_that_was_judged_by_a_roster_that_ran_out_meanwhile_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.authority is not None
    assert world.authority.roster is not None
    world.clock.now = world.authority.roster.expires_at - timedelta(seconds=1)
    lie = order(*good(world))
    held_up(world, monkeypatch, seconds=1)
    assert refused(world, lie) == "ROSTER-EXPIRED"


@pytest.mark.parametrize(("seconds", "issued"), [(60, True), (61, False)])
def test_an_order_whose_turn_comes_too_late_is_not_carried_out_and_not_used(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: int, issued: bool
) -> None:
    late = order(*good(world))
    held_up(world, monkeypatch, seconds=seconds)
    assert world.authority is not None
    size = world.authority.ledger.size
    if not issued:
        with pytest.raises(Unavailable, match="it was its turn at"):
            call(world, "issue", order=late)
        assert world.authority.ledger.size == size  # no serial was spent
        monkeypatch.undo()
    assert call(world, "issue", order=late)["receipt"]


def test_an_order_whose_draft_says_what_a_roster_changed_meanwhile_is_drafted_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.authority is not None
    lint, settings = world.authority.lint, world.installed.folder / "ca/pki.toml"

    def slow(draft: Any) -> Any:
        settings.write_text(settings.read_text().replace("http://pki.example.org", "http://pki.example.net"))
        call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
        return lint(draft)

    late = order(*good(world))
    with monkeypatch.context() as patch:
        patch.setattr(world.authority, "lint", slow)
        with pytest.raises(Unavailable, match="changed by a roster"):
            call(world, "issue", order=late)
    assert call(world, "issue", order=late)["receipt"]
    assert audit(world).problems == []


@pytest.mark.parametrize(
    ("suspended", "person", "signer", "rule"),
    [
        ("bob", "alice", "alice", "SUSPEND-OFFICER"),
        ("bob", "stranger", "stranger", "SUSPEND-OFFICER"),
        ("bob", "olga", "alice", "STMT-SIGNER"),
        ("stranger", "olga", "olga", "SUSPEND-PERSON"),
    ],
)
def test_refuses_a_suspension(world: World, suspended: str, person: str, signer: str, rule: str) -> None:
    assert lie(world, world.suspension(suspended, person), signer) == rule


def test_refuses_a_suspension_by_two_or_for_another_purpose(world: World) -> None:
    assert lie(world, world.suspension("bob", "olga"), "olga", "omar") == "STMT-ALONE"
    assert lie(world, world.suspension("bob", "olga"), namespace="login@sealwright.v1") == "STMT-NAMESPACE"
    assert lie(world, {**world.suspension("bob"), "pki": "0" * 64}) == "STMT-PKI"


def test_refuses_a_suspension_twice_replayed_or_late(world: World) -> None:
    first = world.suspension("bob")
    suspend(world, first)
    assert lie(world, first) == "SUSPEND-ALREADY"
    old = world.suspension("carol")
    world.clock.pass_(days=2)
    assert lie(world, old) == "STMT-EXPIRED"
    assert lie(world, {**world.suspension("carol"), "expires_at": "2027-11-23T12:00:00Z"}) == "STMT-LIFETIME"
    future = {**world.suspension("carol"), "issued_at": "2026-11-27T12:00:00Z", "expires_at": "2026-11-28T12:00:00Z"}
    assert lie(world, future) == "STMT-FUTURE"


def test_refuses_a_suspension_that_a_roster_lifted(world: World) -> None:
    """Nobody takes a person away a second time with the officer's word of then, and the audit says so too."""
    first = world.suspension("bob")
    suspend(world, first)
    world.clock.pass_(minutes=5)
    call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
    assert lie(world, first) == "SUSPEND-STALE"
    assert audit(world).problems == []


def test_every_field_of_a_suspension_is_under_the_signature(world: World) -> None:
    signed = world.signed(world.suspension("bob"))
    for name, value in signed.statement.items():
        if name == "kind":
            continue
        changed = {
            "issued_at": "2026-11-24T11:59:00Z",
            "expires_at": "2026-11-25T11:00:00Z",
            "person": "omar",
            "suspended": "carol",
        }.get(name, "f" * len(value) if value else "x")
        assert changed != value
        forged = {**signed.to_wire(), "statement": {**signed.statement, name: changed}}
        refused(world, forged, "suspend")


def test_an_officer_s_word_serves_no_other_kind(world: World) -> None:
    """A roster, a request or an approval in the place of a suspension, and the other way round."""
    assert lie(world, world.request(), "olga") == "STMT-KIND"
    assert (
        refused(world, world.signed(world.suspension("bob"), "olga", "omar").to_wire(), "publish-roster") == "STMT-KIND"
    )
    request, _ = good(world)
    assert refused(world, order(request, world.signed(world.suspension("bob")))) == "STMT-KIND"
    assert refused(world, order(world.signed(world.suspension("bob")))) == "STMT-KIND"


def test_one_officer_neither_asks_nor_approves(world: World) -> None:
    request, _ = good(world)
    assert refused(world, order(request, world.signed(world.decision(request, "olga")))) == "DEC-PERSON"
    asked = world.signed(world.request("olga"))
    assert refused(world, order(asked, world.signed(world.decision(asked)))) == "REQ-PERSON"


def test_one_officer_changes_no_roster(world: World) -> None:
    for change in (
        {"threshold": 1},
        {"officers": [{"name": "olga", "key": world.people["olga"].key}], "threshold": 1},
        {"people": [], "teams": []},
        {},
    ):
        forged = world.signed(world.roster(2, **change), "olga").to_wire()
        assert refused(world, forged, "publish-roster") in {"ROSTER-QUORUM", "ROSTER-THRESHOLD", "ROSTER-EMPTY"}
    assert refused(world, world.signed(world.roster(2), "olga", "olga").to_wire(), "publish-roster") == "ROSTER-QUORUM"


def test_a_suspended_officer_takes_nobody_away_and_cannot_stop_the_quorum(world: World) -> None:
    """The thief was first and suspended everybody: the next roster undoes it and drops the stolen key."""
    for name in ("omar", "odile", "alice", "bob"):
        suspend(world, world.suspension(name, "olga"))
    assert lie(world, world.suspension("carol", "omar")) == "SUSPENDED"
    world.clock.pass_(minutes=1)
    people = [each for each in world.roster()["officers"] if each["name"] != "olga"]
    world.people["vera"] = new_person(world.installed.folder, "vera")
    officers = [*people, {"name": "vera", "key": world.people["vera"].key}]
    statement = {**world.roster(2, officers=officers), "person": "omar"}
    world.clock.pass_(minutes=1)
    call(world, "publish-roster", roster=world.signed(statement, "omar", "odile").to_wire())
    assert world.authority is not None
    assert world.authority.last_roster().suspended == ()
    assert lie(world, world.suspension("bob", "olga")) == "SUSPEND-OFFICER"
    call(world, "issue", order=world.order())


def test_officers_keys_rotate_by_the_thresholds_of_both_rosters(world: World) -> None:
    for name in ("vera", "viktor"):
        world.people[name] = new_person(world.installed.folder, name)
    officers = [{"name": name, "key": world.people[name].key} for name in ("olga", "vera", "viktor")]
    statement = world.roster(2, officers=officers)
    new_alone = world.signed(statement, "vera", "viktor").to_wire()
    assert refused(world, new_alone, "publish-roster") == "ROSTER-QUORUM"
    old_alone = world.signed(statement, "omar", "odile").to_wire()
    assert refused(world, old_alone, "publish-roster") == "ROSTER-QUORUM"
    call(world, "publish-roster", roster=world.signed(statement, "olga", "omar", "vera").to_wire())
    third = world.roster(3, officers=officers)
    assert refused(world, world.signed(third, "omar", "odile").to_wire(), "publish-roster") == "STMT-SIGNER"
    call(world, "publish-roster", roster=world.signed(third, "vera", "viktor").to_wire())


def test_a_person_s_key_is_replaced_and_the_old_one_counts_no_more(world: World) -> None:
    request, decision = good(world)
    old, new = world.people["bob"], new_person(world.installed.folder, "bob-2")
    people = [{**each, "keys": [new.key]} if each["name"] == "bob" else each for each in world.roster()["people"]]
    call(world, "publish-roster", roster=world.signed(world.roster(2, people=people), "olga", "omar").to_wire())
    assert refused(world, order(request, decision)) == "STMT-SIGNER"
    world.people["bob"] = old
    assert refused(world, order(request, world.signed(world.decision(request)))) == "STMT-SIGNER"
    world.people["bob"] = new
    call(world, "issue", order=order(request, world.signed(world.decision(request))))


def test_a_suspension_with_a_field_that_it_does_not_have_is_none(world: World) -> None:
    with pytest.raises(InputError, match="until"):
        suspend(world, {**world.suspension("bob"), "until": wire_time(world.clock())})
    with pytest.raises(InputError):
        call(world, "suspend", suspension={"statement": base64.b64encode(b"x").decode(), "signatures": []})
