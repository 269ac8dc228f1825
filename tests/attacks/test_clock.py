"""The adversary sets the signer's clock, as whoever answers its NTP can: back, ahead, by hours and by years.

For each thing that a wrong hour would give away, one test. ``jump`` sets the clock; ``pass_`` is time going by.
"""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509

from adversary import good, order, refused
from exports import audit
from sealwright.errors import InputError, PolicyViolation
from sealwright.issuing.clock import AWAY, STEP, WORD, hear_operator, leave_word, read_word
from sealwright.issuing.crl import RESOLUTION, issue_crl
from sealwright.issuing.crl_books import RETENTION
from sealwright.issuing.recovery import record_start
from sealwright.ledger.entries import ClockEntry, parse_entry
from sealwright.pki.crl import read_crl
from sealwright.statements.receipts import Receipt
from world import World, call, wire_time


def issue(world: World, **changes: Any) -> x509.Certificate:
    return Receipt.parse(call(world, "issue", order=world.order(**changes))["receipt"]).load_certificate()


def revoke(world: World, certificate: x509.Certificate, statement: Any = None) -> None:
    statement = statement or world.signed(world.revocation(f"{certificate.serial_number:x}"))
    assert call(world, "revoke", order={"revocation": statement.to_wire()})["serials"]


def crl(world: World) -> tuple[x509.CertificateRevocationList, int]:
    assert world.authority is not None
    return read_crl(issue_crl(world.authority).read_bytes(), world.installed.issuing)


def last_time(world: World) -> Any:
    assert world.authority is not None
    return parse_entry(world.authority.ledger.read(world.authority.ledger.size - 1)).at


def restart(world: World) -> None:
    world.stop()
    record_start(world.start())


def state(world: World) -> str:
    return str(call(world, "status")["clock"])


YEARS = {
    "years": 365 * 20.0,
    "months": 90.0,
    "a day": 1.0,
    "just too far": (STEP + timedelta(minutes=1)) / timedelta(days=1),
}


@pytest.mark.parametrize("days", YEARS.values(), ids=YEARS)
def test_a_clock_set_ahead_issues_nothing_and_leaves_no_trace_of_its_time(world: World, days: float) -> None:
    certificate = issue(world)
    true = world.clock.now
    request, decision = good(world)
    world.clock.jump(days=days)
    assert refused(world, order(request, decision)) == "CLOCK-AHEAD"
    revoke(world, certificate, revocation_of(world, certificate, true))
    assert crl(world)[0].last_update_utc == true
    world.clock.jump(days=-days)
    assert last_time(world) <= true  # a later one would end issuance until then
    assert state(world) == "well"
    call(world, "issue", order=order(request, decision))


def test_a_clock_that_is_set_between_judgement_and_signature_issues_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.authority is not None
    lint = world.authority.lint
    for days, rule in ((-1, "CLOCK-BACK"), (1, "CLOCK-AHEAD")):
        request, decision = good(world)

        def slow(draft: Any, days: int = days) -> Any:
            world.clock.jump(days=days)
            return lint(draft)

        with monkeypatch.context() as patched:
            patched.setattr(world.authority, "lint", slow)
            assert refused(world, order(request, decision)) == rule
        world.clock.jump(days=-days)
        call(world, "issue", order=order(request, decision))


def test_a_clock_that_is_not_believed_is_a_problem_of_the_signer(world: World) -> None:
    for days, word in ((-1, "back"), (1, "ahead")):
        assert call(world, "status")["problem"] == ""
        world.clock.jump(days=days)
        assert call(world, "status")["problem"] == f"the clock is {word}, and nothing is issued"
        world.clock.jump(days=-days)


def revocation_of(world: World, certificate: x509.Certificate, true: Any) -> Any:
    """Signed on a workstation whose clock is right."""
    statement = world.revocation(f"{certificate.serial_number:x}")
    return world.signed(statement | {"issued_at": wire_time(true), "expires_at": wire_time(true + timedelta(days=1))})


@pytest.mark.parametrize("minutes", [-55, -5, 5, 55])
def test_a_clock_that_is_put_right_by_less_than_an_hour_is_followed(world: World, minutes: float) -> None:
    world.clock.pass_(minutes=60)
    world.clock.jump(minutes=minutes)
    assert state(world) == "well"
    issue(world)


def test_small_steps_do_not_add_up(world: World) -> None:
    for _ in range(4):
        world.clock.jump(minutes=14)
        issue(world)
    world.clock.jump(minutes=14)
    assert state(world) == "ahead"


@pytest.mark.parametrize("back", [{"minutes": 61}, {"days": 30}, {"days": 365 * 20}], ids=str)
def test_a_clock_set_back_issues_nothing_even_before_the_ledger_saw_a_later_time(world: World, back: Any) -> None:
    certificate = issue(world)
    world.clock.pass_(hours=48)  # and nothing is recorded meanwhile
    lie = world.order()
    true = world.clock.now
    world.clock.jump(**{unit: -number for unit, number in back.items()})
    assert refused(world, lie) == "CLOCK-BACK"
    revoke(world, certificate, revocation_of(world, certificate, true))
    assert last_time(world) == true  # by the steady clock
    assert crl(world)[0].last_update_utc == true


def test_an_expired_roster_is_not_made_good_again(world: World) -> None:
    world.clock.pass_(days=81)
    assert refused(world, world.order()) == "ROSTER-EXPIRED"
    world.clock.jump(days=-10)
    assert refused(world, world.order()) == "CLOCK-BACK"
    restart(world)
    assert refused(world, world.order()) == "CLOCK-BACK"


def test_a_statement_past_its_expiry_is_not_made_good_again(world: World) -> None:
    certificate = issue(world)
    request, decision = good(world)
    old = world.signed(world.revocation(f"{certificate.serial_number:x}"))
    suspension = world.signed(world.suspension("carol")).to_wire()
    roster = world.signed(world.roster(2), "olga", "omar").to_wire()
    world.clock.pass_(days=81)
    world.clock.jump(days=-81)
    assert refused(world, order(request, decision)) == "CLOCK-BACK"
    assert refused(world, {"revocation": old.to_wire()}, "revoke") == "STMT-EXPIRED"
    assert refused(world, suspension, "suspend") == "STMT-EXPIRED"
    assert refused(world, roster, "publish-roster") == "STMT-EXPIRED"


def test_a_statement_of_the_future_is_not_made_good_before_its_time(world: World) -> None:
    certificate = issue(world)
    world.clock.pass_(days=2)
    request, decision = good(world)
    early = world.signed(world.revocation(f"{certificate.serial_number:x}"))
    suspension = world.signed(world.suspension("carol")).to_wire()
    roster = world.signed(world.roster(2), "olga", "omar").to_wire()
    world.clock.pass_(days=-2)
    world.clock.jump(days=2)
    assert refused(world, order(request, decision)) == "CLOCK-AHEAD"
    assert refused(world, {"revocation": early.to_wire()}, "revoke") == "STMT-FUTURE"
    assert refused(world, suspension, "suspend") == "STMT-FUTURE"
    assert refused(world, roster, "publish-roster") == "STMT-FUTURE"


def test_crls_stay_in_their_time_and_keep_what_is_revoked(world: World) -> None:
    """A verifier would not take a CRL of next year, and ten years on the last of the revoked would leave it."""
    certificate = issue(world)
    revoke(world, certificate)
    first, number = crl(world)
    assert first.next_update_utc is not None
    world.clock.jump(days=RETENTION.days + 900)
    for _ in range(2):
        world.clock.pass_(minutes=30)
        again, following = crl(world)
        assert again.last_update_utc == first.last_update_utc + timedelta(minutes=30)
        assert again.next_update_utc == first.next_update_utc + timedelta(minutes=30)
        assert [each.serial_number for each in again] == [certificate.serial_number]
        assert following == number + 1
        first, number = again, following
    world.clock.jump(days=-RETENTION.days - 900 - 365)  # and then a year back
    again, following = crl(world)
    assert again.last_update_utc == first.last_update_utc + RESOLUTION  # never the same
    assert following == number + 1


def test_a_blackout_is_not_dodged(world: World) -> None:
    begin = world.clock.now + timedelta(hours=1)
    end = begin + timedelta(days=10)
    path = world.installed.folder / "ca/profiles/code-signing.toml"
    blackout = f'\n[[blackouts]]\nbegins = "{wire_time(begin)}"\nends = "{wire_time(end)}"\nreason = "freeze"\n'
    path.write_text(path.read_text() + blackout)
    call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
    world.clock.pass_(hours=3)
    assert refused(world, world.order()) == "ORDER-BLACKOUT"
    world.clock.jump(hours=-2)  # not long enough for a wrong clock to be sure: but the ledger saw the refusal
    assert refused(world, world.order()) == "CLOCK-BACK"
    world.clock.jump(hours=2)
    world.clock.jump(days=11)
    assert refused(world, world.order()) == "CLOCK-AHEAD"


def test_a_renewal_window_is_not_entered_early(world: World) -> None:
    certificate = issue(world)
    profile = world.profile("code-signing")
    world.clock.jump(days=profile.validity_days - profile.renewal_window_days + 1)
    lie = world.order(renews=f"{certificate.serial_number:x}")
    assert refused(world, lie) == "CLOCK-AHEAD"


def test_no_responder_certificate_is_made_by_a_wrong_clock_and_the_good_one_is_given(world: World) -> None:
    made = call(world, "responder-certificate")["certificate"]
    for days in (365, -730):
        world.clock.jump(days=days)
        assert call(world, "responder-certificate")["certificate"] == made
    world.clock.jump(days=365)
    world.clock.pass_(days=13)
    world.clock.jump(days=365)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "responder-certificate")
    assert caught.value.rule == "CLOCK-AHEAD"
    world.clock.jump(days=-365)
    certificate = x509.load_der_x509_certificate(base64.b64decode(call(world, "responder-certificate")["certificate"]))
    assert certificate.not_valid_before_utc == world.clock.now


# Starts


@pytest.mark.parametrize("days", [0.0, 2.9])
def test_a_signer_that_was_off_over_a_weekend_goes_on(world: World, days: float) -> None:
    world.clock.pass_(days=days)
    restart(world)
    issue(world)


def test_a_signer_that_starts_with_a_clock_of_another_year_believes_the_ledger(world: World) -> None:
    true = last_time(world)
    world.clock.jump(days=365 * 20)
    for _ in range(3):
        restart(world)
        assert state(world) == "ahead"
        assert refused(world, world.order()) == "CLOCK-AHEAD"
    assert last_time(world) == true
    world.clock.jump(days=-365 * 20)
    assert state(world) == "well"  # by itself
    issue(world)


def test_a_clock_that_was_dead_at_the_start_and_is_set_later_needs_nobody(world: World) -> None:
    world.clock.jump(days=-365 * 56)
    world.clock.pass_(hours=20)
    restart(world)
    assert refused(world, world.order()) == "CLOCK-BACK"
    world.clock.jump(days=365 * 56)
    assert state(world) == "well"
    issue(world)


def test_after_months_away_an_operator_says_what_time_it_is(world: World) -> None:
    """The way out: an hour's word, on record; and nothing but the clock is believed with it."""
    issue(world)
    before = last_time(world)
    world.clock.pass_(days=60)
    restart(world)
    assert refused(world, world.order()) == "CLOCK-AHEAD"
    assert world.authority is not None
    leave_word(world.installed.folder, world.clock.now + timedelta(minutes=3), world.clock.now)
    hear_operator(world.authority)
    assert state(world) == "well"
    issue(world)
    entries = [parse_entry(data) for data in world.authority.ledger.iterate()]
    words = [each for each in entries if isinstance(each, ClockEntry)]
    assert [(each.before, each.said) for each in words] == [(before, world.clock.now + timedelta(minutes=3))]
    hear_operator(world.authority)
    world.clock.jump(days=1)
    hear_operator(world.authority)  # it is an old word by now
    assert refused(world, world.order()) == "CLOCK-AHEAD"
    world.stop()
    assert audit(world).problems == []


def test_a_word_is_heard_at_a_start_too(world: World) -> None:
    world.clock.pass_(days=60)
    leave_word(world.installed.folder, world.clock.now, world.clock.now)
    restart(world)
    issue(world)


@pytest.mark.parametrize("word", ["", "yesterday", "2026-11-24", "2099-01-01T00:00:00Z", "\xff", "2026-1-2T3:4:5Z"])
def test_a_word_that_is_none_or_of_another_time_changes_nothing(world: World, word: str) -> None:
    world.clock.jump(days=60)
    restart(world)
    (world.installed.folder / "clock").write_bytes(word.encode("latin-1"))
    assert world.authority is not None
    hear_operator(world.authority)
    assert refused(world, world.order()) == "CLOCK-AHEAD"


def test_an_operator_whose_watch_and_machine_differ_is_told_so(world: World) -> None:
    now = world.clock.now
    with pytest.raises(InputError, match="you say"):
        leave_word(world.installed.folder, now + WORD + timedelta(seconds=1), now)
    assert read_word(world.installed.folder) is None
    leave_word(world.installed.folder, now + WORD, now)
    assert read_word(world.installed.folder) == now + WORD


def test_the_limits_leave_time_before_the_crls_end(world: World) -> None:
    assert world.authority is not None
    standing = world.authority.settings.standing
    assert timedelta(hours=standing.crl_interval_hours) < AWAY < timedelta(days=standing.crl_validity_days)
