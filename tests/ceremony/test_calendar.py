"""What must happen when: the last moments are those that the rules enforce, and a calendar program reads it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from cast import Cast
from ceremonies import Domain
from sealwright.ceremony.calendar import Calendar, Duty, last_issuance, make_calendar, roster_duties
from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.icalendar import escape, fold, write_icalendar
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import RegisteredCertificate, parse_register
from sealwright.ceremony.script import Kind
from sealwright.errors import InputError, IntegrityError
from sealwright.pki.rules_validity import add_years
from sealwright.statements.signed import SignedStatement

pytestmark = pytest.mark.xdist_group("ceremony")

NOW = datetime(2027, 1, 1, tzinfo=UTC)
FIRST_YEAR = (Kind.ROOT_GENESIS, Kind.ISSUING_KEY, Kind.ISSUING_CA)


@pytest.fixture
def records(domain: Domain) -> list[CeremonyRecord]:
    """Up to the first yearly CRL."""
    return [domain.records[kind] for kind in (*FIRST_YEAR, Kind.ROOT_CRL)]


@pytest.fixture
def calendar(records: list[CeremonyRecord]) -> Calendar:
    return make_calendar(records)


def test_after_its_issuing_ca_was_revoked_a_pki_is_told_that_it_has_none(domain: Domain) -> None:
    after = make_calendar([domain.records[kind] for kind in (*FIRST_YEAR, Kind.ROOT_CRL, Kind.REVOKE_ISSUING_CA)])
    assert "number 4" in duty(after, "root-crl").what
    assert any("every issuing CA is revoked: nothing is issued until" in line for line in after.unknown)
    assert not [each for each in after.duties if each.key.startswith("issuing-ca")]


def duty(calendar: Calendar, key: str) -> Duty:
    return next(each for each in calendar.duties if each.key == key)


def test_after_the_root_s_key_was_destroyed_nothing_is_due(domain: Domain) -> None:
    kinds = (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL, Kind.REVOKE_ISSUING_CA, Kind.BACKUP, Kind.RESTORE)
    records = [domain.records[kind] for kind in kinds]
    assert make_calendar(records).duties
    after = make_calendar([*records, domain.records[Kind.KEY_DESTRUCTION]])
    assert after.duties == ()
    assert "the root's key was destroyed on" in after.unknown[0]


def test_the_next_root_crl_comes_before_the_last_one_ends(calendar: Calendar, domain: Domain) -> None:
    crl = x509.load_der_x509_crl(domain.records[Kind.ROOT_CRL].read("root.crl"))
    found = duty(calendar, "root-crl")
    assert found.last == crl.next_update_utc
    assert "number 3" in found.what
    assert found.ceremonies == ("root-crl",)
    assert (found.state(found.begin - timedelta(seconds=1)), found.state(found.begin), found.state(found.last)) == (
        "later",
        "now",
        "late",
    )


@pytest.mark.parametrize("kind", [Kind.ROOT_GENESIS, Kind.ROOT_CRL, Kind.REVOKE_ISSUING_CA])
def test_one_root_crl_a_year_is_enough_and_is_due_two_months_before_the_last_one_ends(
    domain: Domain, kind: Kind
) -> None:
    crl = x509.load_der_x509_crl(domain.records[kind].read("root.crl"))
    assert crl.next_update_utc is not None
    assert crl.next_update_utc - crl.last_update_utc == timedelta(days=365)
    before = [domain.records[each] for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, kind)]
    assert crl.next_update_utc - duty(make_calendar(before), "root-crl").begin == timedelta(days=60)


def test_records_in_any_order_give_the_newest_register_s_calendar(
    domain: Domain, records: list[CeremonyRecord], calendar: Calendar
) -> None:
    assert make_calendar(records[::-1]) == calendar
    without = make_calendar([domain.records[Kind.ROOT_GENESIS]])
    assert "number 2" in duty(without, "root-crl").what
    assert any("no issuing CA" in line for line in without.unknown)


@pytest.mark.parametrize(("years", "days", "which"), [(15, 460, "window"), (12, 460, "answers"), (13, 184, "answers")])
def test_the_issuing_ca_s_last_moment_is_the_rules_own(years: int, days: int, which: str) -> None:
    """One second later, CA-ISSUE-WINDOW or CA-OUTLIVES-ANSWERS refuses: asked with their own arithmetic."""
    first = datetime(2027, 3, 1, tzinfo=UTC)
    end = add_years(first, years) - timedelta(seconds=1)
    entry = RegisteredCertificate(
        serial="1",
        subject="CN=x",
        sha256="0" * 64,
        spki_sha256="0" * 64,
        not_before=format_time(first),
        not_after=format_time(end),
        revoked=None,
    )
    last = last_issuance(entry, days)

    def allowed(issued: datetime) -> bool:
        leaf_end = issued + timedelta(days=days) - timedelta(seconds=1)
        return issued < add_years(first, 3) and add_years(leaf_end, 10) <= end

    assert allowed(last - timedelta(seconds=1))
    assert not allowed(last + timedelta(days=1))
    assert (last == add_years(first, 3)) is (which == "window")


def test_a_calendar_wants_the_root_s_own_record_and_one_root(domain: Domain) -> None:
    with pytest.raises(InputError, match="root-genesis"):
        make_calendar([domain.records[Kind.ROOT_CRL]])


def test_what_was_not_shown_is_said_and_not_guessed(calendar: Calendar) -> None:
    assert [line.split(":")[0] for line in calendar.unknown] == [
        "when the roster expires, and which officer's key was not used",
        "when the OCSP responder's certificate expires",
    ]


def test_the_responder_s_certificate_is_presign_s_to_renew(domain: Domain, records: list[CeremonyRecord]) -> None:
    certificate = x509.load_pem_x509_certificate(domain.records[Kind.ISSUING_CA].read("issuing.pem"))
    found = duty(make_calendar(records, responder=certificate), "responder")
    assert found.last == certificate.not_valid_after_utc
    assert "presign" in found.what


def test_an_officer_who_did_not_sign_the_roster_signs_the_next_one() -> None:
    cast = Cast()
    first, second, *idle = (officer.name for officer in cast.anchor.people)
    signed = cast.signed(cast.roster(), first, second)
    found = {each.key: each for each in roster_duties(signed, cast.anchor)}
    assert set(found) == {"roster", *(f"officer-{name}" for name in idle)}
    assert found["roster"].last == signed.content.expires_at
    assert found["roster"].what.startswith("Roster 2, signed by 2 officers")


def test_a_roster_that_its_officers_did_not_sign_is_refused() -> None:
    cast = Cast()
    first, second, *_ = (officer.name for officer in cast.anchor.people)
    with pytest.raises(IntegrityError, match="signed by 1 of its officers; wanted 2"):
        list(roster_duties(cast.signed(cast.roster(), first), cast.anchor))
    spoiled = cast.signed({**cast.roster(), "version": 2}, first, second)
    spoiled = SignedStatement(statement=cast.roster(), signatures=spoiled.signatures)
    with pytest.raises(IntegrityError):
        list(roster_duties(spoiled, cast.anchor))
    with pytest.raises(InputError, match="of the PKI"):
        list(roster_duties(cast.signed({**cast.roster(), "pki": "0" * 64}, first, second), cast.anchor))


# iCalendar


def unfold(data: str) -> list[str]:
    """As RFC 5545 3.1 has a reader do it."""
    assert data.endswith("\r\n")
    assert "\n" not in data.replace("\r\n", "")
    return data.replace("\r\n ", "").split("\r\n")[:-1]


def unescape(text: str) -> str:
    """Strictly: a bare comma or semicolon, or an unknown escape, is no TEXT."""
    assert re.fullmatch(r"(?:\\[\\;,nN]|[^\\;,])*", text), text
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], text)


def components(lines: list[str]) -> dict[str, Any]:
    """The tree of components, each with its properties by name."""
    stack: list[dict[str, Any]] = [{"components": []}]
    for line in lines:
        name, _, value = line.partition(":")
        if name == "BEGIN":
            stack.append({"name": value, "components": []})
        elif name == "END":
            done = stack.pop()
            assert done["name"] == value
            stack[-1]["components"].append(done)
        else:
            assert re.fullmatch(r"[A-Z-]+(;VALUE=DATE-TIME)?", name), line
            assert name not in stack[-1], f"{name} twice"
            stack[-1][name] = value
    (root,) = stack
    (only,) = root["components"]
    return dict(only)


def test_the_icalendar_has_one_event_for_each_duty_with_its_alarm(calendar: Calendar) -> None:
    text = write_icalendar(calendar, NOW).decode()
    assert max(len(line.encode()) for line in text.split("\r\n")) <= 75
    tree = components(unfold(text))
    assert (tree["name"], tree["VERSION"]) == ("VCALENDAR", "2.0")
    assert len(tree["components"]) == len(calendar.duties)
    for event, each in zip(tree["components"], calendar.duties, strict=True):
        assert event["DTSTART"] == f"{each.last:%Y%m%dT%H%M%SZ}"
        assert event["DTSTAMP"] == "20270101T000000Z"
        assert unescape(event["SUMMARY"]) == f"REHEARSAL: {each.what}"
        assert each.why in unescape(event["DESCRIPTION"])
        (alarm,) = event["components"]
        assert alarm["TRIGGER;VALUE=DATE-TIME"] == f"{each.begin:%Y%m%dT%H%M%SZ}"
        assert {"ACTION", "DESCRIPTION"} <= alarm.keys()
    assert len({event["UID"] for event in tree["components"]}) == len(calendar.duties)


def test_the_next_calendar_moves_the_events_of_the_last(domain: Domain, calendar: Calendar) -> None:
    before = make_calendar([domain.records[Kind.ROOT_GENESIS], domain.records[Kind.ISSUING_CA]])
    one, two = (
        next(event for event in components(unfold(write_icalendar(each, NOW).decode()))["components"]
             if "CRL" in event["SUMMARY"])
        for each in (before, calendar)
    )  # fmt: skip
    assert one["UID"] == two["UID"]
    assert int(one["SEQUENCE"]) < int(two["SEQUENCE"])
    register = parse_register(domain.records[Kind.ROOT_CRL].read("register.json"))
    assert two["DTSTART"] == f"{parse_time(register.crl.next_update, 'register'):%Y%m%dT%H%M%SZ}"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=400))
def test_whatever_a_line_holds_it_is_folded_so_that_unfolding_gives_it_back(text: str) -> None:
    folded = fold(f"SUMMARY:{text}")
    assert all(len(line.encode()) <= 75 for line in folded.split("\r\n"))
    assert folded.replace("\r\n ", "") == f"SUMMARY:{text}\r\n"


@given(st.text())
def test_no_text_breaks_out_of_its_value(text: str) -> None:
    escaped = escape(text)
    assert "\n" not in escaped
    assert "\r" not in escaped
    kept = "".join(each for each in text if each == "\n" or each.isprintable())
    assert unescape(escaped) == kept
