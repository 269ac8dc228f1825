"""The adversary has one approver's key (bob's), and a registry that passes on whatever it is given.

With it bob's one word can be said, and revocations for bob's team: every try to make more of it is refused by a rule,
named in the answer, and in the ledger.
"""

from typing import Any

import pytest

from adversary import good, order, refused
from world import World, call


def test_the_key_alone_gets_no_certificate(world: World) -> None:
    own = world.signed(world.request("bob"))
    assert refused(world, order(own, world.signed(world.decision(own)))) == "REQ-ROLE"
    as_alice = world.signed(world.request("alice"), "bob")
    assert refused(world, order(as_alice, world.signed(world.decision(as_alice)))) == "STMT-SIGNER"


def test_who_both_asks_and_approves_cannot_do_both(world: World) -> None:
    """carol's key: a requester's and an approver's at once."""
    own = world.signed(world.request("carol"))
    assert refused(world, order(own, world.signed(world.decision(own, "carol")))) == "ORDER-SELF"
    as_bob = world.signed(world.decision(own, "bob"), "carol")
    assert refused(world, order(own, as_bob)) == "STMT-SIGNER"


def test_one_key_is_one_word(world: World) -> None:
    release = world.signed(world.request(profile="code-signing-release"))
    first, second = (world.signed(world.decision(release)) for _ in range(2))
    assert refused(world, order(release, first)) == "ORDER-QUORUM"
    assert refused(world, order(release, first, second)) == "ORDER-SAME-PERSON"
    as_carol = world.signed(world.decision(release, "carol"), "bob")
    assert refused(world, order(release, first, as_carol)) == "STMT-SIGNER"


def test_not_for_another_team(world: World) -> None:
    games = world.signed(world.request("mallory", team="games", project="chess"))
    assert refused(world, order(games, world.signed(world.decision(games)))) == "DEC-TEAM"


def test_an_approval_is_of_one_request_and_of_no_other(world: World) -> None:
    request, decision = good(world)
    call(world, "issue", order=order(request, decision))
    other = world.signed(world.request())
    assert refused(world, order(other, decision)) == "DEC-REQUEST"
    moved = {**decision.to_wire(), "statement": {**decision.statement, "request_sha256": other.sha256}}
    assert refused(world, {"request": other.to_wire(), "decisions": [moved]}) == "STMT-SIGNATURE"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"pki": "0" * 64}, "STMT-PKI"),
        ({"person": "alice"}, "STMT-SIGNER"),
        ({"person": "carol"}, "STMT-SIGNER"),
        ({"person": "olga"}, "DEC-PERSON"),
        ({"issued_at": "2026-11-20T00:00:00Z", "expires_at": "2026-11-21T00:00:00Z"}, "STMT-EXPIRED"),
        ({"issued_at": "2026-11-25T00:00:00Z", "expires_at": "2026-11-26T00:00:00Z"}, "STMT-FUTURE"),
        ({"expires_at": "2027-11-23T00:00:00Z"}, "STMT-LIFETIME"),
        ({"request_sha256": "0" * 64}, "DEC-REQUEST"),
        ({"verdict": "deny"}, "ORDER-DENIED"),
    ],
)
def test_refuses_what_the_thief_signs(world: World, changes: dict[str, Any], rule: str) -> None:
    request, _ = good(world)
    forged = world.signed({**world.decision(request), **changes}, "bob")
    assert refused(world, order(request, forged)) == rule


def test_every_field_of_a_decision_is_under_the_signature(world: World) -> None:
    request, decision = good(world)
    for name, value in decision.statement.items():
        if name == "kind":
            continue
        changed = {
            "issued_at": "2026-11-24T11:59:00Z",
            "expires_at": "2026-11-25T11:00:00Z",
            "person": "carol",
            "verdict": "deny",
        }.get(name, "f" * len(value) if value else "x")
        assert changed != value
        lie = order(request, decision)
        lie["decisions"][0]["statement"][name] = changed
        refused(world, lie)


def test_the_key_takes_nobody_away_and_makes_no_exception(world: World) -> None:
    for person in ("bob", "olga"):
        lie = world.signed(world.suspension("alice", person), "bob").to_wire()
        assert refused(world, lie, "suspend") in {"SUSPEND-OFFICER", "STMT-SIGNER"}
    lie = world.signed({**world.roster(2), "person": "bob"}, "bob", "bob").to_wire()
    assert refused(world, lie, "publish-roster") in {"ROSTER-EDITOR", "STMT-SIGNER"}


def test_it_revokes_for_its_own_team_only(world: World) -> None:
    call(world, "issue", order=world.order())
    call(world, "issue", order=world.order(person="mallory", team="games", project="chess"))
    assert world.authority is not None
    own, other = (f"{serial:x}" for serial in world.authority.index.issued_for.values())
    lie = world.signed(world.revocation(other, "bob")).to_wire()
    assert refused(world, {"revocation": lie}, "revoke") == "REV-ALLOWED"
    lie = world.signed(world.revocation(own, "bob", revocation_date="2026-01-01T00:00:00Z")).to_wire()
    assert refused(world, {"revocation": lie}, "revoke") == "REV-BACKDATE"
    call(world, "revoke", order={"revocation": world.signed(world.revocation(own, "bob")).to_wire()})


def test_every_field_of_a_revocation_is_under_the_signature(world: World) -> None:
    call(world, "issue", order=world.order())
    assert world.authority is not None
    (serial,) = (f"{each:x}" for each in world.authority.index.issued_for.values())
    call(world, "issue", order=world.order())
    other = f"{world.authority.index.issued.newest:x}"
    signed = world.signed(world.revocation(serial, "bob"))
    for name, value in signed.statement.items():
        if name == "kind":
            continue
        changed = {
            "issued_at": "2026-11-24T11:59:00Z",
            "expires_at": "2026-11-25T11:00:00Z",
            "person": "carol",
            "serials": [other],
            "reason": "keyCompromise",
            "revocation_date": "2026-11-24T11:00:00Z",
        }.get(name, "f" * len(value) if value else "x")
        lie = {**signed.to_wire(), "statement": {**signed.statement, name: changed}}
        refused(world, {"revocation": lie}, "revoke")
    assert not world.authority.index.revoked
