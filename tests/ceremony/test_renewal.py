"""An issuing CA is renewed: while it may issue, with what changes in view, and with the key that the script says."""

import re
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from ceremonies import CHECKOUT, NEXT_KEY, Cast, Domain, read_entries
from hierarchy import issuing_key, write_files
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.calendar import make_calendar
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import Revocation, parse_register
from sealwright.ceremony.renewal import Renewal
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.revocation import RevocationReason
from sealwright.pki.rules_validity import add_years
from sealwright.pki.settings import load_settings
from softpki import SoftPKI, soft_pki
from verifiers import GOOD, certtool_verify, java_paths, openssl_verify

pytestmark = pytest.mark.xdist_group("ceremony")


def same_key_script(folder: Path) -> Path:
    """The reviewed script with the one word changed that its own comment speaks of."""
    text = (CHECKOUT / "ceremonies/issuing-ca-renewal/script.toml").read_text()
    path = folder / "same-key.toml"
    path.write_text(re.sub(r'(?m)^key = "new"$', 'key = "same"', text))
    assert path.read_text() != text
    return path


def folder_with(domain: Domain, folder: Path, *, same_key: bool = False) -> Path:
    """Not yet prepared. With the same key: the settings and the request that the old certificate had."""
    key = Kind.ISSUING_KEY if same_key else NEXT_KEY
    new_folder(
        Kind.ISSUING_CA_RENEWAL,
        folder,
        ca=domain.ca if same_key else domain.next_ca,
        records=[domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, key)],
        script=same_key_script(folder.parent) if same_key else None,
        site=domain.site,
    )
    return folder


def refused(folder: Path, at: datetime | None = None) -> str:
    with pytest.raises(PolicyViolation) as violation:
        prepare(folder, at=at or utc_now())
    assert not (folder / "prepared.json").exists()
    return violation.value.rule


@pytest.fixture(scope="module")
def kept(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> tuple[CeremonyRecord, Cast]:
    """A renewal with the same key, and what was said in it."""
    people, folder = Cast(), folder_with(domain, tmp_path_factory.mktemp("kept") / "renewal", same_key=True)
    prepare(folder, at=utc_now(), previous=domain.record(Kind.ISSUING_CA))
    return rehearse(folder, people=people), people


# What comes out


def certificate(record: CeremonyRecord) -> x509.Certificate:
    return x509.load_pem_x509_certificate(record.read("issuing.pem"))


def test_a_new_key_has_a_new_name_and_both_are_in_the_register(domain: Domain) -> None:
    old, new = (certificate(domain.records[kind]) for kind in (Kind.ISSUING_CA, Kind.ISSUING_CA_RENEWAL))
    request = x509.load_pem_x509_csr(domain.records[NEXT_KEY].read("issuing.csr"))
    assert new.public_key() == request.public_key() != old.public_key()
    assert "Example Code Signing CA 2" in new.subject.rfc4514_string() != old.subject.rfc4514_string()
    assert new.issuer == old.issuer
    before, after = (
        parse_register(domain.records[kind].read("register.json"))
        for kind in (Kind.ISSUING_CA, Kind.ISSUING_CA_RENEWAL)
    )
    assert after.version == before.version + 1
    assert after.certificates[:-1] == before.certificates
    assert after.certificates[-1].sha256 == new.fingerprint(SHA256()).hex()
    assert after.crl == before.crl


def test_the_urls_are_the_root_s_and_the_extensions_those_of_the_old_one(
    domain: Domain, kept: tuple[CeremonyRecord, Cast]
) -> None:
    old = {each.oid: (each.critical, each.value) for each in certificate(domain.records[Kind.ISSUING_CA]).extensions}
    new = {each.oid: (each.critical, each.value) for each in certificate(kept[0]).extensions}
    assert new == old


def test_what_changes_is_shown_and_recorded_and_every_officer_types_whose_key_it_is(
    domain: Domain, kept: tuple[CeremonyRecord, Cast]
) -> None:
    record, people = kept
    told = "\n".join(people.told)
    assert "THE KEY STAYS THE SAME. What changes:" in told
    entries = read_entries(record.path)
    (compared,) = [entry for entry in entries if entry["entry"] == "compared"]
    assert (compared["key"], compared["changed"]) == ("same", ["serial number", "not before", "not after"])
    assert {"subject", "public key", "SubjectKeyIdentifier", "CRLDistributionPoints"} <= set(compared["unchanged"])
    assert [entry["answer"] for entry in entries if "go on with its old key" in str(entry.get("question"))] == [
        "same key",
        "same key",
    ]
    (other,) = [e for e in read_entries(domain.record(Kind.ISSUING_CA_RENEWAL)) if e["entry"] == "compared"]
    assert {"subject", "public key", "SubjectKeyIdentifier"} <= set(other["changed"])
    assert {"issuer", "AuthorityKeyIdentifier", "CRLDistributionPoints", "BasicConstraints"} <= set(other["unchanged"])


def test_an_officer_who_says_otherwise_three_times_stops_it(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "renewal")
    prepare(folder, at=utc_now(), previous=domain.record(Kind.ISSUING_CA))
    with pytest.raises(PolicyViolation, match="CER-ANSWER"):
        rehearse(folder, people=Cast(("grace: does the CA go on", ["same key"] * 3)))
    entries = read_entries(folder / "rehearsal-1")
    assert not any(entry.get("operation") == "inspect-token" for entry in entries)


def test_the_calendar_asks_for_a_renewal_and_after_it_for_the_next_one(domain: Domain) -> None:
    kinds = (Kind.ROOT_GENESIS, Kind.ISSUING_CA)
    before = make_calendar([domain.records[kind] for kind in kinds])
    after = make_calendar([domain.records[kind] for kind in (*kinds, Kind.ISSUING_CA_RENEWAL)])
    asked = next(each for each in before.duties if each.key == "issuing-ca")
    assert asked.ceremonies == ("issuing-key", "issuing-ca-renewal")
    window = add_years(certificate(domain.records[Kind.ISSUING_CA]).not_valid_before_utc, 3)
    assert asked.last == window
    assert next(each for each in after.duties if each.key == "issuing-ca").last > window
    assert sum(each.key.startswith("issuing-ca-ends-") for each in after.duties) == 2


# What is refused


def test_the_old_key_is_no_new_one(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "renewal")
    shutil.copyfile(domain.ca / "pki.toml", folder / "inputs/pki.toml")
    shutil.copyfile(domain.record(Kind.ISSUING_KEY) / "outputs/issuing.csr", folder / "inputs/issuing.csr")
    assert refused(folder) == "CER-KEY-REUSED"


def test_a_new_key_is_not_the_same_one(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "renewal", same_key=True)
    for name, place in (
        ("pki.toml", domain.next_ca),
        ("issuing.csr", domain.record(NEXT_KEY) / "outputs"),
    ):
        shutil.copyfile(place / name, folder / "inputs" / name)
    assert refused(folder) == "CER-RENEWAL-KEY"


def test_an_old_certificate_that_the_root_does_not_know_or_has_revoked_is_not_renewed(
    domain: Domain, tmp_path: Path
) -> None:
    folder = folder_with(domain, tmp_path / "renewal")
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    revoked = Revocation(date="2026-01-01T00:00:00Z", reason=None)
    entry = register.certificates[0].model_copy(update={"revoked": revoked})
    path.write_bytes(register.model_copy(update={"certificates": (entry,)}).to_bytes())
    assert refused(folder) == "CER-RENEWAL-OLD"
    path.write_bytes(register.model_copy(update={"certificates": ()}).to_bytes())
    assert refused(folder) == "CER-RENEWAL-OLD"
    path.write_bytes(register.to_bytes())
    prepare(folder, at=utc_now())
    (folder / "inputs/issuing.pem").write_text("nothing")
    with pytest.raises(InputError, match="is not a PEM certificate"):
        prepare(folder, at=utc_now())


def test_a_key_is_not_kept_when_another_certificate_of_it_was_revoked_for_compromise(
    domain: Domain, tmp_path: Path
) -> None:
    folder = folder_with(domain, tmp_path / "renewal", same_key=True)
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    (old,) = register.certificates
    for reason in (RevocationReason.SUPERSEDED, RevocationReason.CA_COMPROMISE):
        revoked = Revocation(date="2026-01-01T00:00:00Z", reason=reason)
        other = old.model_copy(update={"serial": "7f00", "sha256": "0" * 64, "revoked": revoked})
        path.write_bytes(register.model_copy(update={"certificates": (old, other)}).to_bytes())
        if reason is RevocationReason.SUPERSEDED:
            prepare(folder, at=utc_now())
            (folder / "prepared.json").unlink()
    assert refused(folder) == "CER-KEY-COMPROMISED"


def test_it_begins_while_the_old_one_may_issue_and_ends_after_it(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "renewal")
    old = certificate(domain.records[Kind.ISSUING_CA])
    first, second = old.not_valid_before_utc, timedelta(seconds=1)
    assert refused(folder, first) == "CER-RENEWAL-OVERLAP"
    assert refused(folder, add_years(first, 3)) == "CER-RENEWAL-OVERLAP"
    prepare(folder, at=first + second)
    prepare(folder, at=add_years(first, 3) - second)
    profile = folder / "inputs/issuing-ca.toml"
    profile.write_text(re.sub(r"(?m)^validity_days = \d+", "validity_days = 5477", profile.read_text()))
    prepare(folder, at=first + timedelta(days=1, seconds=1))
    (folder / "prepared.json").unlink()
    assert refused(folder, first + timedelta(days=1)) == "CER-RENEWAL-OVERLAP"


@pytest.mark.parametrize(("key", "label"), [("new", "other "), ("same", "")])
def test_a_name_goes_with_a_key(key: str, label: str) -> None:
    """Same key under another name, and a new key under the old name: both refused."""
    old = soft_pki()
    renewal = Renewal(old.issuing, key)  # type: ignore[arg-type]  # one of the two words
    new = soft_pki(label=label, moment=old.moment + timedelta(days=700))
    issuing = new.issuing if key == "new" else renamed(old)
    with pytest.raises(PolicyViolation) as violation:
        renewal.check(issuing)
    assert violation.value.rule == "CER-RENEWAL-NAME"
    if key == "same":
        renewal.check(new.issuing)


def renamed(pki: SoftPKI) -> x509.Certificate:
    builder = x509.CertificateBuilder(
        issuer_name=pki.root.subject,
        subject_name=pki.root.subject,
        public_key=pki.issuing_key.public_key(),
        serial_number=1,
        not_valid_before=pki.moment,
        not_valid_after=pki.moment + timedelta(days=1),
    )
    return builder.sign(pki.root_key, SHA256())


# Paths


def verdicts(folder: Path) -> set[str]:
    """Of OpenSSL, GnuTLS and Java, on the leaf that lies there."""
    java = java_paths(folder, ["leaf"], method="crl", issuing_crl="issuing.crl")["leaf"]
    return {each.verdict for each in (openssl_verify(folder, "leaf"), certtool_verify(folder, "leaf"), java)}


def test_leaves_verify_under_the_old_certificate_and_under_the_new_one(
    domain: Domain, kept: tuple[CeremonyRecord, Cast], tmp_path: Path
) -> None:
    """By the CAs' own keys. One leaf of the key that stays, under both its certificates; one of the next CA's."""
    root = x509.load_pem_x509_certificate(domain.records[Kind.ROOT_GENESIS].read("root.pem"))
    root_crl, now = domain.records[Kind.ROOT_CRL].read("root.crl"), utc_now()
    old, same, new = (
        certificate(each)
        for each in (domain.records[Kind.ISSUING_CA], kept[0], domain.records[Kind.ISSUING_CA_RENEWAL])
    )
    for made, pin, ca, signs, issuers in (
        (Kind.ISSUING_KEY, "issuing", domain.ca, old, (old, same)),
        (NEXT_KEY, "issuing-2", domain.next_ca, new, (new,)),
    ):
        settings = load_settings((ca / "pki.toml").read_bytes(), source="pki.toml")
        with issuing_key(domain.softhsm.module_path, domain.records[made], domain.pin_file(pin), settings) as key:
            leaf, crl = key.issue(signs, now), key.crl(signs, now)
        for number, issuing in enumerate(issuers):
            folder = tmp_path / f"{pin}-{number}"
            write_files(folder, root=root, issuing=issuing, leaf=leaf)
            write_files(folder, **{"root-1": root_crl, "issuing": crl})
            assert verdicts(folder) == {GOOD}
