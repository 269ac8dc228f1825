"""Who may not deny does not, however it is sent; and what is refused is on record. Fields: ``test_every_field``."""

from typing import Any

import pytest

from adversary import good
from sealwright.channel import SignerCall
from sealwright.errors import AccessDenied, InputError, PolicyViolation
from sealwright.ledger.entries import RefusalEntry, parse_entry
from sealwright.statements.signed import SignedStatement
from world import World, call, service


def refused(world: World, request: SignedStatement, decision: SignedStatement) -> str:
    """The rule, which is in the ledger too; and nothing was denied."""
    assert world.authority is not None
    before = world.authority.ledger.size
    with pytest.raises(PolicyViolation) as caught:
        call(world, "deny", request=request.to_wire(), decision=decision.to_wire())
    (entry,) = map(parse_entry, world.authority.ledger.iterate(before))
    assert isinstance(entry, RefusalEntry)
    assert (entry.call, entry.rule) == ("deny", caught.value.rule)
    assert world.authority.index.denied == {}
    return caught.value.rule


def no(world: World, request: SignedStatement, person: str, *signers: str, **changes: Any) -> SignedStatement:
    return world.signed(world.decision(request, person, **{"verdict": "deny"} | changes), *signers)


@pytest.mark.parametrize(
    ("person", "signer", "changes", "rule"),
    [
        ("mallory", "mallory", {}, "DEC-TEAM"),
        ("nina", "nina", {}, "DEC-TEAM"),
        ("olga", "olga", {}, "DEC-PERSON"),
        ("bob", "mallory", {}, "STMT-SIGNER"),
        ("alice", "mallory", {}, "STMT-SIGNER"),
        ("bob", "bob", {"verdict": "approve"}, "DEC-VERDICT"),
        ("alice", "alice", {"verdict": "approve"}, "ORDER-SELF"),
        ("bob", "bob", {"request_sha256": "0" * 64}, "DEC-REQUEST"),
        ("bob", "bob", {"pki": "0" * 64}, "STMT-PKI"),
    ],
)
def test_refuses(world: World, person: str, signer: str, changes: dict[str, Any], rule: str) -> None:
    request = world.signed(world.request())
    assert refused(world, request, no(world, request, person, signer, **changes)) == rule


def test_nobody_takes_back_what_another_of_the_team_asked_for(world: World) -> None:
    """Carol may say no as an approver; alice, who only asks, may not."""
    request = world.signed(world.request("carol"))
    assert refused(world, request, no(world, request, "alice")) == "DEC-ROLE"


def test_whoever_is_suspended_denies_nothing_more(world: World) -> None:
    request = world.signed(world.request())
    call(world, "suspend", suspension=world.signed(world.suspension("bob")).to_wire())
    world.clock.pass_(minutes=1)
    assert refused(world, request, no(world, request, "bob")) == "SUSPENDED"


def test_a_request_that_nobody_signed_is_not_denied(world: World) -> None:
    """Otherwise the ledger could be filled without a person's key."""
    request = world.signed(world.request(), "mallory")
    assert refused(world, request, no(world, request, "bob")) == "STMT-SIGNER"


def test_an_old_denial_is_not_brought_again(world: World) -> None:
    request = world.signed(world.request())
    decision = no(world, request, "bob")
    world.clock.pass_(days=8)
    assert refused(world, request, decision) == "STMT-EXPIRED"


def test_only_the_registrys_uid_calls_it(world: World) -> None:
    request, decision = good(world)
    with pytest.raises(AccessDenied):
        service(world).answer(SignerCall("deny", {"request": request.to_wire(), "decision": decision.to_wire()}, 4711))
    with pytest.raises(InputError):
        call(world, "deny", request=request.to_wire())
