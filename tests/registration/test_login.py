"""Logins: a challenge is answered once, by a key on the roster, for this very server."""

from datetime import timedelta

import pytest

from office import SERVER, Office
from sealwright.errors import AccessDenied, PolicyViolation
from sealwright.registration import login as room
from sealwright.registration.login import check_token, login, new_challenge
from sealwright.registration.rosters import publish_roster
from sealwright.statements.signed import SignedStatement


def answer(office: Office, person: str = "alice", **changes: object) -> SignedStatement:
    fields = {"server": SERVER, "challenge": new_challenge(office.registry).nonce}
    return office.sign(office.world.statement("login", person, days=0.002, **(fields | changes)))


def test_a_signed_challenge_becomes_a_token_that_names_the_person(office: Office) -> None:
    token = login(office.registry, answer(office)).token
    assert check_token(office.registry, token) == "alice"


def test_the_database_has_no_token(office: Office) -> None:
    token = login(office.registry, answer(office)).token
    with office.registry.database.reading() as tx:
        row = tx.session(token.partition(".")[0])
    assert row is not None
    assert token.partition(".")[2] not in str(row.model_dump())


def test_a_token_ends_after_a_quarter_of_an_hour(office: Office) -> None:
    token = login(office.registry, answer(office)).token
    office.world.clock.now += timedelta(minutes=14, seconds=59)
    check_token(office.registry, token)
    office.world.clock.now += timedelta(seconds=1)
    with pytest.raises(AccessDenied, match="over"):
        check_token(office.registry, token)


@pytest.mark.parametrize("token", [None, "", "nothing", "0" * 32 + ".", "0" * 32 + ".secret"])
def test_refuses_a_token_that_was_never_given(office: Office, token: str | None) -> None:
    with pytest.raises(AccessDenied):
        check_token(office.registry, token)


def test_refuses_another_secret_for_a_session_that_is_there(office: Office) -> None:
    token = login(office.registry, answer(office)).token
    with pytest.raises(AccessDenied):
        check_token(office.registry, token[:-1] + ("A" if token[-1] != "A" else "B"))


def test_a_challenge_is_used_once(office: Office) -> None:
    signed = answer(office)
    login(office.registry, signed)
    with pytest.raises(AccessDenied, match="used"):
        login(office.registry, signed)


def test_a_challenge_that_was_never_given_is_refused(office: Office) -> None:
    with pytest.raises(AccessDenied):
        login(office.registry, answer(office, challenge="0" * 64))


def test_a_login_for_another_server_is_refused(office: Office) -> None:
    with pytest.raises(AccessDenied, match=r"for 'http://127\.0\.0\.1:1'"):
        login(office.registry, answer(office, server="http://127.0.0.1:1"))


def test_somebody_unknown_cannot_log_in(office: Office) -> None:
    with pytest.raises(AccessDenied, match="stranger"):
        login(office.registry, answer(office, "stranger"))


def test_another_persons_key_cannot_log_in(office: Office) -> None:
    fields = {"server": SERVER, "challenge": new_challenge(office.registry).nonce}
    statement = office.world.statement("login", "alice", days=0.002, **fields)
    with pytest.raises(PolicyViolation) as caught:
        login(office.registry, office.sign(statement, "mallory"))
    assert caught.value.rule == "STMT-SIGNER"


def test_a_decision_is_no_login(office: Office) -> None:
    signed = office.decision(office.request())
    with pytest.raises(PolicyViolation) as caught:
        login(office.registry, signed)
    assert caught.value.rule == "STMT-KIND"


def test_before_the_first_roster_the_anchors_officers_log_in(empty: Office) -> None:
    token = login(empty.registry, answer(empty, "olga")).token
    assert check_token(empty.registry, token) == "olga"
    with pytest.raises(AccessDenied, match="has none yet"):
        login(empty.registry, answer(empty, "alice"))


def test_who_leaves_the_roster_is_logged_out(office: Office) -> None:
    token = login(office.registry, answer(office)).token
    roster = office.world.roster(version=2)
    roster["people"] = [each for each in roster["people"] if each["name"] != "alice"]
    publish_roster(office.registry, office.sign(roster, "olga", "omar"))
    with pytest.raises(AccessDenied, match="no longer"):
        check_token(office.registry, token)


def test_challenges_that_nobody_answers_fill_no_disk_and_lock_nobody_out(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "CHALLENGES_OPEN", 3)
    first = answer(office)
    for _ in range(2):
        office.world.clock.now += timedelta(seconds=1)
        new_challenge(office.registry)
    assert login(office.registry, first).person == "alice"
    forgotten = answer(office)
    for _ in range(3):
        office.world.clock.now += timedelta(seconds=1)
        newest = answer(office)
    with pytest.raises(AccessDenied, match="challenge"):
        login(office.registry, forgotten)
    assert login(office.registry, newest).person == "alice"
