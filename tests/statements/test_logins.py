"""Logins: somebody of the roster, at this server, for this challenge."""

from typing import Any

import pytest

from cast import NOW, Cast
from sealwright.errors import PolicyViolation
from sealwright.statements.logins import VerifiedLogin, verify_login
from sealwright.statements.signed import SignedStatement

CAST = Cast()
ROSTER = CAST.verified_roster()
SERVER, CHALLENGE = "https://registry.example", "c2l4dGVlbiBvY3RldHM="


def login(person: str, **changes: Any) -> dict[str, Any]:
    return CAST.statement("login", person) | {"server": SERVER, "challenge": CHALLENGE} | changes


def verify(signed: SignedStatement) -> VerifiedLogin:
    return verify_login(signed, roster=ROSTER, server=SERVER, challenge=CHALLENGE, now=NOW)


def refused(rule: str, signed: SignedStatement) -> None:
    with pytest.raises(PolicyViolation) as caught:
        verify(signed)
    assert caught.value.rule == rule


def test_people_and_officers_log_in() -> None:
    alice = verify(CAST.signed(login("alice")))
    assert (alice.name, alice.person, alice.officer) == ("alice", ROSTER.person("alice"), False)
    olga = verify(CAST.signed(login("olga")))
    assert (olga.name, olga.person, olga.officer) == ("olga", None, True)


def test_login_person() -> None:
    refused("LOGIN-PERSON", CAST.signed(login("stranger")))
    refused("STMT-SIGNER", CAST.signed(login("alice"), "stranger"))


def test_login_server() -> None:
    refused("LOGIN-SERVER", CAST.signed(login("alice", server="https://phishing.example")))


def test_login_challenge() -> None:
    refused("LOGIN-CHALLENGE", CAST.signed(login("alice", challenge="YW5vdGhlciBjaGFsbGVuZ2U=")))


def test_a_signature_for_another_purpose_is_no_login() -> None:
    refused("STMT-NAMESPACE", CAST.signed(login("alice"), namespace="request@sealwright.v1"))


def test_a_login_is_good_for_five_minutes_at_most() -> None:
    verify(CAST.signed(login("alice", expires_at="2026-11-23T12:05:00Z")))
    refused("STMT-LIFETIME", CAST.signed(login("alice", expires_at="2026-11-23T12:05:01Z")))
