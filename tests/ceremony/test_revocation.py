"""An issuing CA is revoked: by exact certificate, since a date that was decided by itself, knowing what dies."""

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from ceremonies import Cast, Domain, read_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import format_time, utc_now
from sealwright.ceremony.paper import print_script
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.register import Revocation, parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.revocation import parse_decision
from sealwright.ceremony.script import Kind
from sealwright.ceremony.second import OtherTools
from sealwright.ceremony.sitting import rehearse
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.revocation import RevocationReason

pytestmark = pytest.mark.xdist_group("ceremony")


def folder_with(domain: Domain, folder: Path, *, prepared: bool = True, **changes: str) -> Path:
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL)]
    decision = domain.decision(folder.parent, **changes)
    new_folder(Kind.REVOKE_ISSUING_CA, folder, ca=domain.ca, records=records, inputs=decision, site=domain.site)
    if prepared:
        prepare(folder, at=utc_now(), previous=records[-1])
    return folder


def test_the_crl_names_it_with_reason_and_date_and_verifiers_refuse_it(domain: Domain, tmp_path: Path) -> None:
    done = domain.records[Kind.REVOKE_ISSUING_CA]
    crl = x509.load_der_x509_crl(done.read("root.crl"))
    issuing = x509.load_pem_x509_certificate(domain.records[Kind.ISSUING_CA].read("issuing.pem"))
    (entry,) = crl
    assert entry.serial_number == issuing.serial_number
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.ca_compromise
    assert entry.revocation_date_utc == issuing.not_valid_before_utc
    before = x509.load_der_x509_crl(domain.records[Kind.ROOT_CRL].read("root.crl"))
    numbers = [each.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for each in (before, crl)]
    assert numbers[1] == numbers[0] + 1
    root = domain.records[Kind.ROOT_GENESIS].read("root.pem")
    for tool in ("openssl", "certtool"):
        assert OtherTools().verify(tool, "root.crl", done.read("root.crl"), root, utc_now())
    for name, data in (("root.pem", root), ("root.crl", done.read("root.crl"))):
        (tmp_path / name).write_bytes(data)
    issued = domain.record(Kind.ISSUING_CA) / "outputs/issuing.pem"
    refused = subprocess.run(
        ["openssl", "verify", "-crl_check", "-CAfile", "root.pem", "-CRLfile", "root.crl", issued],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "certificate revoked" in refused.stderr


def test_the_register_knows_it(domain: Domain) -> None:
    before = parse_register(domain.records[Kind.ROOT_CRL].read("register.json"))
    after = parse_register(domain.records[Kind.REVOKE_ISSUING_CA].read("register.json"))
    assert after.version == before.version + 1
    assert [each.revoked for each in before.certificates] == [None]
    assert after.certificates[0].revoked is not None
    assert after.certificates[0].revoked.reason is RevocationReason.CA_COMPROMISE
    assert after.crl.number == before.crl.number + 1


def test_every_officer_types_certificate_and_date_and_is_shown_what_dies(domain: Domain, tmp_path: Path) -> None:
    people = Cast(("grace: type the revocation date", ["yesterday"]))
    record = rehearse(folder_with(domain, tmp_path / "revoke"), people=people)
    told = "\n".join(people.told)
    assert "REVOKED WILL BE CN=REHEARSAL Example Code Signing" in told
    assert "with it die 1 certificates" in told
    assert "CN=Firmware" in told
    assert "CN=Old" not in told
    assert "LATE" not in told
    entries = read_entries(record.path)
    typed = [entry for entry in entries if ": type the " in str(entry.get("question"))]
    assert [(entry["question"].partition(":")[0], entry["accepted"]) for entry in typed] == [
        ("ada", True),
        ("ada", True),
        ("grace", True),
        ("grace", False),
        ("grace", True),
    ]
    (decision,) = [entry for entry in entries if entry["entry"] == "decision"]
    assert (decision["killed"], decision["in_time"]) == (1, True)


def register_two(folder: Path, **changes: object) -> tuple[str, str]:
    """Into the folder's register comes a renewal with the same key. The serials, the named one's first."""
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    (old,) = register.certificates
    renewed = {"serial": "7f00", "sha256": "0" * 64, "not_after": "2050-01-01T00:00:00Z"}
    new = old.model_copy(update=renewed | changes)
    path.write_bytes(register.model_copy(update={"certificates": (old, new)}).to_bytes())
    return old.serial, new.serial


def test_a_compromised_key_takes_its_other_certificate_along(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "revoke")
    named, kin = register_two(folder)
    prepare(folder, at=utc_now())
    assert kin in print_script(folder).decode()
    people = Cast()
    record = rehearse(folder, people=people)
    crl = x509.load_der_x509_crl(record.read("root.crl"))
    assert {f"{each.serial_number:x}" for each in crl} == {named, kin}
    reasons = {each.extensions.get_extension_for_class(x509.CRLReason).value.reason for each in crl}
    assert reasons == {x509.ReasonFlags.ca_compromise}
    assert len({each.revocation_date_utc for each in crl}) == 1
    old, new = parse_register(record.read("register.json")).certificates
    assert old.revoked == new.revoked is not None
    assert f"OF ITS KEY ALSO {kin}" in "\n".join(people.told)
    entries = read_entries(record.path)
    (decision,) = [entry for entry in entries if entry["entry"] == "decision"]
    assert decision["serials"] == [named, kin]
    assert sum(entry.get("answer") == kin for entry in entries) == 2
    assert f"what was decided is revoked: {named}, {kin}" in verify_folder(record.path).claims


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        ("superseded", {}),
        ("cACompromise", {"spki_sha256": "0" * 64}),
        ("cACompromise", {"revoked": Revocation(date="2026-01-01T00:00:00Z", reason=RevocationReason.SUPERSEDED)}),
    ],
)
def test_what_is_no_part_of_it_stays_as_it_is(
    domain: Domain, tmp_path: Path, reason: str, changes: dict[str, object]
) -> None:
    folder = folder_with(domain, tmp_path / "revoke", reason=f'"{reason}"')
    named, _ = register_two(folder, **changes)
    decision = parse_decision((folder / "inputs/decision.toml").read_bytes())
    register = parse_register((folder / "inputs/register.json").read_bytes())
    assert [f"{each.serial:x}" for each in decision.entries(register)] == [named]


def test_the_date_may_lie_before_the_younger_of_two_certificates_of_a_key(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "revoke", prepared=False, revocation_date='"2020-01-01T00:00:00Z"')
    with pytest.raises(PolicyViolation, match="when the certificate began"):
        prepare(folder, at=utc_now())
    register_two(folder, not_before="2020-01-01T00:00:00Z")
    prepare(folder, at=utc_now())


def test_a_ceremony_after_the_24_hours_says_so_and_goes_on(domain: Domain, tmp_path: Path) -> None:
    people = Cast()
    late = format_time(utc_now() - timedelta(hours=25))
    record = rehearse(folder_with(domain, tmp_path / "revoke", known_since=f'"{late}"'), people=people)
    assert "THIS CEREMONY IS LATE" in "\n".join(people.told)
    (decision,) = [entry for entry in read_entries(record.path) if entry["entry"] == "decision"]
    assert decision["in_time"] is False


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("serial", '"7a20"', "the register has no certificate 7a20"),
        ("certificate_sha256", f'"{"0" * 64}"', "the decision names 0000"),
        ("reason", '"keyCompromise"', "a CA's is cACompromise"),
        ("revocation_date", '"2001-01-01T00:00:00Z"', "when the certificate began"),
        ("revocation_date", '"2099-01-01T00:00:00Z"', "when the CRL does"),
        ("known_since", '"2099-01-01T00:00:00Z"', "after the ceremony"),
    ],
)
def test_a_decision_that_is_not_about_this_certificate_is_refused_at_preparation(
    domain: Domain, tmp_path: Path, field: str, value: str, why: str
) -> None:
    with pytest.raises(PolicyViolation, match=why) as refused:
        folder_with(domain, tmp_path / "revoke", **{field: value})
    assert refused.value.rule == "CER-REVOKE"


@pytest.mark.parametrize("value", ['"2026-12-01T09:00:00+02:00"', '"2026-12-01"', '"2026-13-01T00:00:00Z"'])
def test_a_time_has_one_form(domain: Domain, tmp_path: Path, value: str) -> None:
    with pytest.raises(InputError, match="revocation_date"):
        folder_with(domain, tmp_path / "revoke", revocation_date=value)


def test_what_is_revoked_is_not_revoked_again(domain: Domain, tmp_path: Path) -> None:
    kinds = (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.REVOKE_ISSUING_CA)
    records = [domain.record(each) for each in kinds]
    folder = tmp_path / "again"
    new_folder(
        Kind.REVOKE_ISSUING_CA,
        folder,
        ca=domain.ca,
        records=records,
        inputs=domain.decision(tmp_path),
        site=domain.site,
    )
    with pytest.raises(PolicyViolation, match="is revoked since") as refused:
        prepare(folder, at=utc_now(), previous=records[-1])
    assert refused.value.rule == "CER-REVOKE"


def test_the_next_crl_carries_the_revocation(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "crl"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now(), previous=records[-1])
    crl = x509.load_der_x509_crl(rehearse(folder, unattended=True).read("root.crl"))
    (entry,) = crl
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.ca_compromise
