"""Suspensions: one officer's word, removal only, until a later roster."""

from datetime import timedelta
from typing import Any

import pytest

from cast import NOW, Cast
from sealwright.errors import PolicyViolation
from sealwright.pki.serials import parse_serial
from sealwright.statements.kinds import LoginStatement
from sealwright.statements.revocations import RevocationOrder, verify_revocation
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.suspensions import suspend

CAST = Cast()
ROSTER = CAST.verified_roster()
LATER = NOW + timedelta(minutes=2)


def suspension(suspended: str = "bob", person: str = "olga", **changes: Any) -> dict[str, Any]:
    return CAST.statement("suspend", person) | {"suspended": suspended, "comment": ""} | changes


def refused(rule: str, statement: dict[str, Any], *signers: str, roster: VerifiedRoster = ROSTER) -> None:
    with pytest.raises(PolicyViolation) as caught:
        suspend(CAST.signed(statement, *signers), roster=roster, now=NOW)
    assert caught.value.rule == rule


def test_one_officer_suspends_a_person() -> None:
    roster = suspend(CAST.signed(suspension()), roster=ROSTER, now=NOW)
    assert roster.suspended == ("bob",)
    assert ROSTER.suspended == ()


def test_suspend_officer() -> None:
    refused("SUSPEND-OFFICER", suspension(person="carol"))
    refused("STMT-SIGNER", suspension(), "carol")


def test_suspend_person() -> None:
    refused("SUSPEND-PERSON", suspension("stranger"))
    assert suspend(CAST.signed(suspension("omar")), roster=ROSTER, now=NOW).suspended == ("omar",)


def test_suspend_already() -> None:
    refused("SUSPEND-ALREADY", suspension(), roster=suspend(CAST.signed(suspension()), roster=ROSTER, now=NOW))


def test_a_suspended_officer_suspends_and_revokes_nobody() -> None:
    roster = suspend(CAST.signed(suspension("olga", "omar")), roster=ROSTER, now=NOW)
    refused("SUSPENDED", suspension(), roster=roster)
    revocation = CAST.statement("revocation", "olga") | {
        "serials": ["1f"],
        "reason": "superseded",
        "revocation_date": None,
        "comment": "",
    }
    order = RevocationOrder(revocation=CAST.signed(revocation), countersignature=None)
    with pytest.raises(PolicyViolation) as caught:
        verify_revocation(order, roster=roster, teams={parse_serial("1f"): "payments"}, now=NOW)
    assert caught.value.rule == "SUSPENDED"


def next_roster(roster: VerifiedRoster, minutes: float) -> VerifiedRoster:
    signed = CAST.signed(CAST.roster(2, at=NOW + timedelta(minutes=minutes)), "olga", "omar")
    return check_roster(signed, anchor=CAST.anchor, previous=roster, now=NOW + timedelta(minutes=minutes + 1))


def test_suspended_ends_with_a_later_roster_and_not_for_what_was_said_before() -> None:
    roster = next_roster(suspend(CAST.signed(suspension()), roster=ROSTER, now=NOW), 1)
    assert roster.suspended == ()
    before = CAST.signed(CAST.statement("login", "bob", server="s", challenge="0123456789abcdef")).content
    after = CAST.signed(CAST.statement("login", "bob", at=LATER, server="s", challenge="0123456789abcdef")).content
    assert isinstance(before, LoginStatement)
    with pytest.raises(PolicyViolation) as caught:
        roster.check_not_suspended(before)
    assert caught.value.rule == "SUSPENDED"
    roster.check_not_suspended(after)


def test_suspend_stale() -> None:
    roster = next_roster(suspend(CAST.signed(suspension()), roster=ROSTER, now=NOW), 1)
    refused("SUSPEND-STALE", suspension(), roster=roster)
    again = CAST.signed(CAST.statement("suspend", "olga", at=LATER) | {"suspended": "bob", "comment": ""})
    assert suspend(again, roster=roster, now=LATER).suspended == ("bob",)
    assert suspend(CAST.signed(suspension("carol")), roster=roster, now=NOW).suspended == ("carol",)


def test_a_roster_that_was_drafted_before_the_suspension_lifts_nothing() -> None:
    roster = suspend(CAST.signed(suspension()), roster=ROSTER, now=LATER)
    assert next_roster(roster, 1).suspended == ("bob",)


def test_a_suspended_officer_still_signs_rosters() -> None:
    """Otherwise one officer's key could lock out the quorum."""
    roster = suspend(CAST.signed(suspension("omar", "odile")), roster=ROSTER, now=NOW)
    assert next_roster(roster, 1).version == 2
