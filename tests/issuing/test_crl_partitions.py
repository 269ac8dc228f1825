"""Partitioned CRLs: fixed in the certificate, one made anew at a revocation, each with numbers of its own."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from exports import audit
from sealwright.audit.findings import Findings
from sealwright.audit.removals import take_crl_intent
from sealwright.audit.walk import Walk
from sealwright.issuing.crl import crl_due, crl_path, crl_scopes, issue_crl
from sealwright.issuing.recovery import close_open_intents
from sealwright.issuing.service import _issue_due
from sealwright.ledger.entries import CRLIntentEntry, parse_entry
from sealwright.pki.crl_scope import FULL, all_scopes, scope_of_tbs
from sealwright.statements.receipts import Receipt
from world import World, call, make_world

PARTITIONS = 3


@pytest.fixture
def divided(tmp_path: Path) -> World:
    """The everyday profile divides its CRL; a roster with that is in force."""
    world = make_world(tmp_path / "w")
    profile = world.installed.folder / "ca/profiles/code-signing.toml"
    text = profile.read_text()
    profile.write_text(re.sub(r"(?m)^# crl_partitions = \d+ ", f"crl_partitions = {PARTITIONS} ", text))
    assert profile.read_text() != text
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    return world


def issue(world: World, **changes: object) -> x509.Certificate:
    return Receipt.parse(call(world, "issue", order=world.order(**changes))["receipt"]).load_certificate()


def revoke(world: World, certificate: x509.Certificate) -> None:
    signed = world.signed(world.revocation(f"{certificate.serial_number:x}"))
    call(world, "revoke", order={"revocation": signed.to_wire()})


def url_of(certificate: x509.Certificate) -> str:
    (point,) = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert point.full_name is not None
    return str(point.full_name[0].value)


def read(world: World, scope: str) -> x509.CertificateRevocationList:
    assert world.authority is not None
    return x509.load_der_x509_crl(crl_path(world.authority, scope).read_bytes())


def number(crl: x509.CertificateRevocationList) -> int:
    return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_certificate_names_its_partition_and_the_partition_names_itself_so(divided: World) -> None:
    authority, leaf = divided.authority, issue(divided)
    assert authority is not None
    scope = f"p{PARTITIONS}-{leaf.serial_number % PARTITIONS}"
    assert url_of(leaf) == f"http://pki.example.org/crl/issuing-1.{scope}.crl"
    assert scope_of_tbs(leaf.tbs_certificate_bytes) == scope
    assert crl_scopes(authority) == (FULL, *all_scopes(PARTITIONS))
    _issue_due(authority)
    point = read(divided, scope).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert point.critical
    assert point.value.full_name == [x509.UniformResourceIdentifier(url_of(leaf))]
    with pytest.raises(x509.ExtensionNotFound):
        read(divided, FULL).extensions.get_extension_for_class(x509.IssuingDistributionPoint)


def test_a_revocation_makes_its_partition_anew_and_no_other(divided: World) -> None:
    authority = divided.authority
    assert authority is not None
    leaves = [issue(divided) for _ in range(4)]
    _issue_due(authority)
    before = {scope: crl_path(authority, scope).read_bytes() for scope in crl_scopes(authority)}
    assert len(before) == PARTITIONS + 1
    revoke(divided, leaves[0])
    own = scope_of_tbs(leaves[0].tbs_certificate_bytes)
    _issue_due(authority)
    changed = {scope for scope, data in before.items() if crl_path(authority, scope).read_bytes() != data}
    assert changed == {own}
    assert [each.serial_number for each in read(divided, own or "")] == [leaves[0].serial_number]
    divided.clock.pass_(hours=24)
    _issue_due(authority)  # all of them daily, the full list with what partitions have
    assert {scope for scope in before if crl_path(authority, scope).read_bytes() != before[scope]} == set(before)
    assert [each.serial_number for each in read(divided, FULL)] == [leaves[0].serial_number]
    for scope in set(before) - {own, FULL}:
        assert len(read(divided, scope)) == 0


def test_numbers_are_each_scopes_own_and_go_on_after_a_restart(divided: World) -> None:
    assert divided.authority is not None
    for wanted in (1, 2):
        issue_crl(divided.authority, "p3-1")
        assert number(read(divided, "p3-1")) == wanted
    issue_crl(divided.authority)
    assert number(read(divided, FULL)) == 1
    divided.stop()
    divided.start()
    issue_crl(divided.authority, "p3-1")
    issue_crl(divided.authority)
    assert (number(read(divided, "p3-1")), number(read(divided, FULL))) == (3, 2)


def test_another_profile_stays_on_the_full_list(divided: World) -> None:
    authority = divided.authority
    assert authority is not None
    leaf = issue(divided, profile="code-signing-development")
    assert url_of(leaf) == "http://pki.example.org/crl/issuing-1.crl"
    _issue_due(authority)
    revoke(divided, leaf)
    assert [scope for scope in crl_scopes(authority) if crl_due(authority, divided.clock(), scope)] == [FULL]


def test_after_a_restart_the_partitions_have_what_they_had(divided: World) -> None:
    leaves = [issue(divided) for _ in range(5)]
    for leaf in leaves[:3]:
        revoke(divided, leaf)
    divided.stop()
    authority = divided.start()
    _issue_due(authority)
    for leaf in leaves:
        scope = scope_of_tbs(leaf.tbs_certificate_bytes) or ""
        listed = {each.serial_number for each in read(divided, scope)}
        assert (leaf.serial_number in listed) is (leaf in leaves[:3])


def test_a_serial_lost_in_a_crash_is_on_its_partition(divided: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("gone")

    monkeypatch.setattr("sealwright.issuing.issuance.sign_certificate", fail)
    with pytest.raises(Exception, match="could not finish"):
        issue(divided)
    monkeypatch.undo()
    authority = divided.authority
    assert authority is not None
    close_open_intents(authority)
    (serial,) = authority.index.revoked
    _issue_due(authority)
    assert [each.serial_number for each in read(divided, f"p{PARTITIONS}-{serial % PARTITIONS}")] == [serial]


def test_a_partition_that_a_certificate_names_outlives_its_profile(divided: World) -> None:
    assert divided.authority is not None
    issue(divided)
    _issue_due(divided.authority)
    profile = divided.installed.folder / "ca/profiles/code-signing.toml"
    profile.write_text(re.sub(r"(?m)^crl_partitions = \d+ ", "crl_partitions = 2 ", profile.read_text()))
    call(divided, "publish-roster", roster=divided.signed(divided.roster(2), "olga", "omar").to_wire())
    assert set(crl_scopes(divided.authority)) == {FULL, *all_scopes(2), *all_scopes(3)}
    divided.clock.pass_(hours=25)
    _issue_due(divided.authority)
    assert read(divided, "p3-0").last_update_utc == divided.clock() == read(divided, "p2-0").last_update_utc
    assert read(divided, "p2-1").next_update_utc == divided.clock() + timedelta(days=7)


def test_an_auditor_holds_every_scope_to_its_numbers_and_to_what_was_revoked(divided: World) -> None:
    leaves = [issue(divided) for _ in range(4)]
    assert divided.authority is not None
    for leaf in leaves[:2]:
        revoke(divided, leaf)
        _issue_due(divided.authority)
    issue_crl(divided.authority)
    scopes = crl_scopes(divided.authority)
    files = [crl_path(divided.authority, scope).read_bytes() for scope in scopes]
    divided.stop()
    assert audit(divided, files).problems == []
    installed = divided.installed
    walk = Walk(installed.anchor, installed.root, installed.issuing, Findings(divided.pki))
    at = divided.clock()
    for scope, number_, wrong in (("", 1, 0), ("p3-1", 1, 0), ("p3-1", 2, 0), ("", 2, 0), ("p3-1", 2, 1), ("", 1, 2)):
        intent = CRLIntentEntry(at=at, number=number_, this_update=at, next_update=at + timedelta(days=7), scope=scope)
        assert parse_entry(intent.to_bytes()) == intent
        assert (b"scope" in intent.to_bytes()) is bool(scope)
        take_crl_intent(walk, intent)
        assert len(walk.findings.problems) == wrong
