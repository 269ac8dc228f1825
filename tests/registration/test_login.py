"""Logins: a challenge is answered once, by a key on the roster, for this very server."""

import base64
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from databases import Databases
from office import SERVER, Office
from sealwright.errors import AccessDenied, PolicyViolation
from sealwright.registration.login import check_token, login, new_challenge
from sealwright.registration.registry import Registry
from sealwright.registration.rosters import publish_roster
from sealwright.statements.signed import SignedStatement
from sealwright.store.models import ChallengeRow, SessionRow
from sealwright.store.registry import RegistryDB


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
    first = answer(office)
    with monkeypatch.context() as patch:
        patch.setattr(RegistryDB, "writing", None)
        assert len({new_challenge(office.registry).nonce for _ in range(2000)}) == 2000
    assert login(office.registry, first).person == "alice"


def test_a_challenge_is_good_after_a_restart_and_at_another_registry_of_the_database_and_once_at_all(
    office: Office,
) -> None:
    signed, another = answer(office), Registry.open(office.config, clock=office.world.clock)
    login(another, signed)
    for registry in (office.registry, another):
        with pytest.raises(AccessDenied, match="used"):
            login(registry, signed)
    another.database.close()


def test_a_challenge_that_is_sent_to_many_at_once_is_used_once(office: Office) -> None:
    signed, ready = answer(office), threading.Barrier(4)

    def send(_: int) -> bool:
        ready.wait()
        with contextlib.suppress(AccessDenied):
            return bool(login(office.registry, signed).token)
        return False

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(send, range(4))) == 1


def test_a_challenge_is_over_after_five_minutes(office: Office) -> None:
    late, last = new_challenge(office.registry), new_challenge(office.registry)
    office.world.clock.now += timedelta(minutes=4, seconds=59)
    login(office.registry, answer(office, challenge=last.nonce))
    office.world.clock.now += timedelta(seconds=1)
    with pytest.raises(AccessDenied, match="over"):
        login(office.registry, answer(office, challenge=late.nonce))


def test_a_challenge_that_was_changed_is_refused(office: Office) -> None:
    given = base64.b64decode(new_challenge(office.registry).nonce)
    for position in range(len(given)):
        changed = bytes(octet ^ (number == position) for number, octet in enumerate(given))
        with pytest.raises(AccessDenied, match="never given"):
            login(office.registry, answer(office, challenge=base64.b64encode(changed).decode()))
    for data in (given[:-1], given + b"0", given[:24], given[24:]):
        with pytest.raises(AccessDenied, match="never given"):
            login(office.registry, answer(office, challenge=base64.b64encode(data).decode()))


def test_another_spelling_of_a_challenge_that_was_used_is_refused(office: Office) -> None:
    nonce = new_challenge(office.registry).nonce
    login(office.registry, answer(office, challenge=nonce))
    last = nonce.rstrip("=")[-1]
    spellings = [nonce.rstrip("=")[:-1] + chr(ord(last) + 1) + "==", nonce.rstrip("=")]
    assert base64.b64decode(spellings[0]) == base64.b64decode(nonce)
    for spelling in spellings:
        with pytest.raises(AccessDenied):
            login(office.registry, answer(office, challenge=spelling))


def test_a_challenge_that_was_used_is_remembered_for_a_clock_that_is_behind(office: Office) -> None:
    signed = answer(office)
    login(office.registry, signed)
    office.world.clock.now += timedelta(minutes=6)
    login(office.registry, answer(office))
    office.world.clock.now -= timedelta(minutes=5)
    with pytest.raises(AccessDenied, match="used"):
        login(office.registry, signed)


def test_what_is_over_is_forgotten(office: Office, databases: Databases) -> None:
    login(office.registry, answer(office))
    office.world.clock.now += timedelta(hours=1)
    login(office.registry, answer(office))
    with databases.as_owner(office.config.database) as connection:
        for table in (ChallengeRow, SessionRow):
            assert len(connection.execute(sa.select(table)).all()) == 1
