"""The issuing CA's CRL: when one is due, what is on it, and that its number only ever increases."""

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from unittest.mock import patch

import pytest
from cryptography import x509

import sealwright.issuing.crl as module
from exports import audit
from sealwright.errors import TokenError
from sealwright.issuing import crl_books
from sealwright.issuing.crl import RESOLUTION, crl_due, crl_path, issue_crl
from sealwright.issuing.crl_books import RETENTION, retained_entries
from sealwright.issuing.service import _keep_crl
from sealwright.pki.revocation import RevocationReason
from sealwright.statements.receipts import Receipt
from world import World, call


def make_crl(world: World) -> x509.CertificateRevocationList:
    assert world.authority is not None
    return x509.load_der_x509_crl(issue_crl(world.authority).read_bytes())


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def kept_since(crl: x509.CertificateRevocationList) -> datetime:
    """Of what expired from then on, all is listed."""
    kept = crl.extensions.get_extension_for_oid(x509.ObjectIdentifier("2.5.29.60")).value
    assert isinstance(kept, x509.UnrecognizedExtension)
    return datetime.strptime(f"{kept.value[2:].decode()}+0000", "%Y%m%d%H%M%SZ%z")


def due(world: World) -> bool:
    assert world.authority is not None
    return crl_due(world.authority, world.clock())


def issue_and_revoke(world: World) -> int:
    receipt = Receipt.parse(call(world, "issue", order=world.order())["receipt"])
    serial = receipt.load_certificate().serial_number
    call(world, "revoke", order={"revocation": world.signed(world.revocation(f"{serial:x}")).to_wire()})
    return serial


def test_is_due_at_first_after_a_revocation_after_a_day_and_when_its_file_is_gone(world: World) -> None:
    assert due(world)
    make_crl(world)
    assert not due(world)
    issue_and_revoke(world)
    assert due(world)
    world.clock.pass_(seconds=1)
    make_crl(world)
    assert not due(world)
    world.clock.pass_(hours=23)
    assert not due(world)
    world.clock.pass_(hours=1)
    assert due(world)
    make_crl(world)
    assert world.authority is not None
    path = crl_path(world.authority)
    path.write_bytes(path.read_bytes()[:-1])
    assert due(world)
    path.unlink()
    assert due(world)


def test_lists_what_is_revoked_and_nothing_else(world: World) -> None:
    call(world, "issue", order=world.order())
    serial = issue_and_revoke(world)
    crl = make_crl(world)
    assert [entry.serial_number for entry in crl] == [serial]
    assert crl.is_signature_valid(world.installed.issuing.public_key())  # type: ignore[arg-type]
    (entry,) = crl
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.superseded


def test_numbers_increase_through_restarts_and_failures(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = number(make_crl(world))

    def fail(*_: object) -> None:
        raise TokenError("the token is gone")

    with monkeypatch.context() as patch:
        patch.setattr(module, "sign_book", fail)
        for _ in range(2):
            with pytest.raises(TokenError):
                make_crl(world)
    assert world.authority is not None
    before = crl_path(world.authority).read_bytes()
    assert number(x509.load_der_x509_crl(before)) == first  # the last good one stays
    world.stop()
    world.start()
    assert number(make_crl(world)) == first + 3  # the numbers that failed are never used again


def test_no_two_crls_begin_at_the_same_second(world: World) -> None:
    """Their Last-Modified would be equal, and Java would go on with the first: at once after a restart, or while the
    clock stands still because it was ahead."""
    first, again = make_crl(world), make_crl(world)
    world.stop()
    world.start()
    last = make_crl(world)
    assert again.last_update_utc == first.last_update_utc + RESOLUTION
    assert last.last_update_utc == again.last_update_utc + RESOLUTION
    assert audit(world).problems == []


def test_what_is_revoked_within_a_second_is_on_one_crl_and_none_is_of_the_future(world: World) -> None:
    """Three revocations in each of three seconds, by a clock and events that know no other time."""
    made: list[tuple[datetime, x509.CertificateRevocationList]] = []
    authority, renew, stop = world.authority, threading.Event(), threading.Event()
    assert authority is not None

    def pause(seconds: float | None = None) -> bool:
        made.append((world.clock(), x509.load_der_x509_crl(crl_path(authority).read_bytes())))
        for _ in range(3):
            issue_and_revoke(world)
        world.clock.pass_(seconds=seconds or 0)
        if len(made) == 4:
            stop.set()
        return stop.is_set()

    with patch.object(stop, "wait", pause), patch.object(renew, "wait", lambda _: True):
        _keep_crl(authority, renew, stop)
    assert [len(list(crl)) for _, crl in made] == [0, 3, 6, 9]
    assert all(crl.last_update_utc == now for now, crl in made)
    assert len({now for now, _ in made}) == 4


def test_a_failed_crl_does_not_hide_that_one_is_due(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make_crl(world)
    issue_and_revoke(world)

    def fail(*_: object) -> None:
        raise TokenError("the token is gone")

    with monkeypatch.context() as patch:
        patch.setattr(module, "sign_book", fail)
        with pytest.raises(TokenError):
            make_crl(world)
    assert due(world)
    world.stop()
    world.start()
    assert due(world)


def test_a_revoked_serial_stays_for_ten_years_after_its_certificate_expired(world: World) -> None:
    serial = issue_and_revoke(world)
    assert world.authority is not None
    expiry = world.authority.index.issued[serial].not_after  # type: ignore[index]
    retained = retained_entries(world.authority.index, expiry + RETENTION)
    assert [entry.serial for entry in retained] == [serial]
    assert retained_entries(world.authority.index, expiry + RETENTION + timedelta(seconds=1)) == ()


def test_claims_no_expired_certificate_that_it_dropped(world: World) -> None:
    serial = issue_and_revoke(world)
    assert world.authority is not None
    expiry = world.authority.index.issued[serial].not_after  # type: ignore[index]
    assert kept_since(make_crl(world)) == world.authority.began
    for listed in ([serial], []):
        world.clock.now = expiry + RETENTION + timedelta(days=0 if listed else 2)
        crl = make_crl(world)
        assert [entry.serial_number for entry in crl] == listed
        assert kept_since(crl) == world.clock.now - RETENTION
        assert (expiry >= kept_since(crl)) is bool(listed)


@pytest.mark.parametrize(("hours", "again", "listed"), [(0, True, 1), (6, False, 1), (6, True, 0), (30, False, 0)])
def test_an_auditor_takes_the_crls_of_the_day_on_which_an_entry_is_dropped(
    world: World, hours: int, again: bool, listed: int
) -> None:
    """The signer looks for what is over once a day, and when it starts."""
    serial = issue_and_revoke(world)
    assert world.authority is not None
    over = world.authority.index.issued[serial].not_after + RETENTION  # type: ignore[index]
    world.clock.now = over - timedelta(minutes=1)
    crls = [issue_crl(world.authority).read_bytes()]
    world.clock.now = over + timedelta(hours=hours)
    if again:
        world.stop()
        world.start()
    crls.append(issue_crl(world.authority).read_bytes())
    assert [len(list(x509.load_der_x509_crl(each))) for each in crls] == [1, listed]
    assert audit(world, crls).problems == []


@pytest.mark.parametrize("lie", ["dropped", "kept", "reason", "date", "nextUpdate"])
def test_an_auditor_names_a_crl_that_says_something_else_than_the_ledger(
    world: World, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    serial = issue_and_revoke(world)
    assert world.authority is not None
    second, over = timedelta(seconds=1), world.authority.index.issued[serial].not_after + RETENTION  # type: ignore[index]
    revoked, fields, late = world.authority.index.revoked, module.CRLFields, world.clock() + timedelta(days=8)
    match lie:
        case "dropped":
            world.clock.now = over
            monkeypatch.setattr(crl_books, "RETENTION", RETENTION - second)
        case "kept":
            world.clock.now = over + timedelta(days=2) + second
            monkeypatch.setattr(crl_books, "RETENTION", RETENTION + timedelta(days=3))
        case "reason":
            revoked[serial] = replace(revoked[serial], reason=RevocationReason.CESSATION_OF_OPERATION)  # type: ignore[index]
        case "date":
            revoked[serial] = replace(revoked[serial], at=revoked[serial].at - second)  # type: ignore[index]
        case _:
            monkeypatch.setattr(module, "CRLFields", lambda **them: replace(fields(**them), next_update=late))
    crl = issue_crl(world.authority).read_bytes()
    assert [each.claim for each in audit(world).problems] == []
    assert [each.claim for each in audit(world, [crl]).problems] == ["AUDIT-CRL"]
