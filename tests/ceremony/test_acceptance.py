"""What the root believes and what it does not: each check of the issuing-ca and root-crl ceremonies by its rule."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from ceremonies import Domain
from sealwright.ceremony.acceptance import accept_request, check_unused
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import parse_time, utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.register import Register, Revocation, parse_register, register_certificate
from sealwright.ceremony.script import Kind
from sealwright.errors import InputError, PolicyViolation, SealwrightError
from sealwright.pki.crl import RevocationEntry, RevocationReason, draft_crl, lint_crl, sign_crl
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import KeyKind, PublicKey, throwaway_key
from sealwright.pki.names import ca_subject
from sealwright.pki.profiles import load_profile
from sealwright.pki.requests import build_csr
from sealwright.pki.serials import SerialNumber, parse_serial
from sealwright.pki.settings import load_settings
from sealwright.pki.signatures import default_scheme
from softpki import another_exponent, software_key

pytestmark = pytest.mark.xdist_group("ceremony")

Refused = pytest.RaisesExc[SealwrightError]


@pytest.fixture
def issuing(domain: Domain, tmp_path: Path) -> Path:
    """An issuing-ca folder, not yet prepared. Its CSR is of a key that the register of root-genesis does not have."""
    folder = tmp_path / "issuing"
    records = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ISSUING_KEY)]
    new_folder(Kind.ISSUING_CA, folder, ca=domain.ca, records=records, site=domain.site)
    return folder


@pytest.fixture
def crl(domain: Domain, tmp_path: Path) -> Path:
    folder = tmp_path / "crl"
    records = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ISSUING_CA), domain.record(Kind.ROOT_CRL)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    return folder


def refused(folder: Path) -> str:
    """The rule under which preparation is refused."""
    with pytest.raises(PolicyViolation) as violation:
        prepare(folder, at=utc_now())
    assert not (folder / "prepared.json").exists()
    return violation.value.rule


def subject_of(domain: Domain, which: str = "issuing", *, rehearsal: bool = True) -> x509.Name:
    settings = load_settings((domain.ca / "pki.toml").read_bytes(), source="pki.toml")
    return ca_subject(settings, which, rehearsal=rehearsal)  # type: ignore[arg-type]  # "issuing" or "root"


def csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, subject: x509.Name, san: str | None = None) -> bytes:
    scheme = default_scheme("p-384" if isinstance(key, ec.EllipticCurvePrivateKey) else "rsa-3072")  # type: ignore[arg-type]  # StrEnum
    return build_csr(key, subject, san, scheme)


def test_the_request_of_the_issuing_key_ceremony_is_accepted(issuing: Path) -> None:
    assert prepare(issuing, at=utc_now()).modes == ("REHEARSAL",)


def test_a_request_in_another_name_is_refused(domain: Domain, issuing: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    for subject in (subject_of(domain, rehearsal=False), subject_of(domain, "root")):
        (issuing / "inputs/issuing.csr").write_bytes(csr(key, subject))
        assert refused(issuing) == "CER-CSR-SUBJECT"


def test_a_request_with_a_san_is_refused(domain: Domain, issuing: Path) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    (issuing / "inputs/issuing.csr").write_bytes(csr(key, subject_of(domain), "https://example.org/"))
    assert refused(issuing) == "CER-CSR-SAN"


def test_a_key_that_the_profile_does_not_have_is_refused(domain: Domain, issuing: Path) -> None:
    key = rsa.generate_private_key(65537, 3072)
    (issuing / "inputs/issuing.csr").write_bytes(csr(key, subject_of(domain)))
    assert refused(issuing) == "CER-CSR-KEY-KIND"


def test_a_request_whose_signature_is_spoiled_is_refused(issuing: Path) -> None:
    path = issuing / "inputs/issuing.csr"
    der = bytearray(x509.load_pem_x509_csr(path.read_bytes()).public_bytes(Encoding.DER))
    der[-5] ^= 1
    path.write_bytes(der)
    with pytest.raises(InputError, match="CSR-SIGNATURE"):
        prepare(issuing, at=utc_now())


def test_a_key_that_the_root_certified_before_is_refused(domain: Domain, issuing: Path) -> None:
    shutil.copyfile(domain.record(Kind.ISSUING_CA) / "outputs/register.json", issuing / "inputs/register.json")
    assert refused(issuing) == "CER-KEY-REUSED"


def test_an_rsa_key_is_the_same_one_under_another_exponent(domain: Domain) -> None:
    register = parse_register(domain.records[Kind.ROOT_GENESIS].read("register.json"))
    usual = software_key(KeyKind.RSA_3072)
    keys = (usual.public_key(), another_exponent(usual).public_key())
    for first, second in (keys, reversed(keys)):
        entry = register_certificate(certificate_of(first))
        after = parse_register(register.model_copy(update={"certificates": (entry,)}).to_bytes())
        for key in (first, second):
            with pytest.raises(PolicyViolation) as violation:
                check_unused(key, SerialNumber(5), after)
            assert violation.value.rule == "CER-KEY-REUSED"


def certificate_of(key: PublicKey) -> x509.Certificate:
    now, name = utc_now(), x509.Name([])
    builder = x509.CertificateBuilder(name, name, key, 7, now, now + timedelta(days=1))
    return builder.sign(throwaway_key(KeyKind.P256), hashes.SHA256())


def test_the_root_s_own_key_and_a_used_serial_are_refused(domain: Domain) -> None:
    """With software keys: the root's key cannot sign a CSR, because it never leaves the ceremony."""
    register = parse_register(domain.records[Kind.ROOT_GENESIS].read("register.json"))
    profile = load_profile((domain.ca / "profiles/issuing-ca.toml").read_bytes(), source="issuing-ca.toml")
    key = throwaway_key(profile.keys[0])
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = utc_now()
    builder = x509.CertificateBuilder(
        issuer_name=subject_of(domain, "root"),
        subject_name=subject_of(domain, "root"),
        public_key=key.public_key(),
        serial_number=1,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=1),
    )
    own_root = builder.sign(key, hashes.SHA384())
    subject = subject_of(domain)

    def accept(root: x509.Certificate, serial: SerialNumber) -> None:
        data = csr(key, subject)
        accept_request(data, subject=subject, profile=profile, root=root, register=register, serial=serial)

    with pytest.raises(PolicyViolation) as violation:
        accept(own_root, SerialNumber(5))
    assert violation.value.rule == "CER-KEY-ROOT"
    root = x509.load_pem_x509_certificate(domain.records[Kind.ROOT_GENESIS].read("root.pem"))
    with pytest.raises(PolicyViolation) as violation:
        accept(root, parse_serial(register.root.serial))
    assert violation.value.rule == "CER-SERIAL-USED"
    other = register.model_copy(update={"root": register.root.model_copy(update={"sha256": "0" * 64})})
    with pytest.raises(PolicyViolation) as violation:
        accept_request(
            csr(key, subject), subject=subject, profile=profile, root=root, register=other, serial=SerialNumber(5)
        )
    assert violation.value.rule == "CER-REGISTER"
    accept(root, SerialNumber(5))


def test_a_root_that_the_anchor_does_not_name_is_refused(issuing: Path, domain: Domain) -> None:
    shutil.copyfile(domain.record(Kind.ISSUING_CA) / "outputs/issuing.pem", issuing / "inputs/root.pem")
    assert refused(issuing) == "CER-ROOT"


def test_settings_of_another_pki_are_refused(issuing: Path) -> None:
    path = issuing / "inputs/pki.toml"
    path.write_text(path.read_text().replace("Example Code Signing Root 1", "Other Root"))
    assert refused(issuing) == "CER-ROOT"


def test_a_certificate_that_would_outlive_its_root_is_refused(issuing: Path) -> None:
    with pytest.raises(PolicyViolation) as violation:
        prepare(issuing, at=utc_now() + timedelta(days=365 * 15))
    assert violation.value.rule.startswith("CA-")


def test_the_urls_in_the_certificate_are_those_of_the_root_s_record(domain: Domain) -> None:
    issued = x509.load_pem_x509_certificate(domain.records[Kind.ISSUING_CA].read("issuing.pem"))
    points = issued.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [name.value for point in points for name in point.full_name or ()] == [
        "http://pki.example.org/crl/root-1.crl"
    ]
    constraints = issued.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (constraints.ca, constraints.path_length) == (True, 0)


def test_an_older_crl_than_the_register_s_last_is_refused(domain: Domain, crl: Path) -> None:
    shutil.copyfile(domain.record(Kind.ROOT_GENESIS) / "outputs/root.crl", crl / "inputs/root.crl")
    assert refused(crl) == "CER-CRL-LAST"


def test_a_crl_before_the_last_one_in_time_is_refused(domain: Domain, crl: Path) -> None:
    register = parse_register(domain.records[Kind.ROOT_CRL].read("register.json"))
    with pytest.raises(PolicyViolation) as violation:
        prepare(crl, at=parse_time(register.crl.this_update, "register") - timedelta(seconds=1))
    assert violation.value.rule == "CER-CRL-TIME"


def test_the_crl_number_follows_and_every_old_entry_is_carried(domain: Domain, tmp_path: Path) -> None:
    """A domain in software that has revoked something, because today's ceremonies revoke nothing."""
    from sealwright.ceremony.acceptance import accept_previous_crl, revoked_entries

    settings = load_settings((domain.ca / "pki.toml").read_bytes(), source="pki.toml")
    profile = load_profile((domain.ca / "profiles/root.toml").read_bytes(), source="root.toml")
    from sealwright.pki.certificates import draft_root, lint_draft, sign_certificate

    now = utc_now()
    key = throwaway_key(profile.keys[0])
    draft = draft_root(
        profile,
        settings=settings,
        subject=subject_of(domain, "root"),
        public_key=key.public_key(),
        serial=parse_serial("4" + "0" * 39),
        not_before=now - timedelta(days=2),
    )
    record = IssuerRecord.of(sign_certificate(lint_draft(draft), key), settings, settings.root.id)
    entry = RevocationEntry(parse_serial("4" + "1" * 39), now - timedelta(days=1), RevocationReason.CA_COMPROMISE)

    def make(number: int, entries: tuple[RevocationEntry, ...]) -> bytes:
        linted = lint_crl(
            draft_crl(
                issuer=record,
                number=number,
                this_update=now,
                next_update=now + timedelta(days=30),
                entries=entries,
                expired_certs_since=None,
            )
        )
        return sign_crl(linted, key).public_bytes(Encoding.DER)

    der = make(7, (entry,))
    register = register_with(domain, der, revoked=entry)
    crl = accept_previous_crl(der, root=record, register=register, number=8, this_update=now)
    assert revoked_entries(crl) == (entry,)
    make(8, revoked_entries(crl))

    cases: tuple[tuple[str, Callable[[], object]], ...] = (
        ("CER-CRL-NUMBER", lambda: accept_previous_crl(der, root=record, register=register, number=9, this_update=now)),
        (
            "CER-CRL-REGISTER",
            lambda: accept_previous_crl(
                der, root=record, register=register_with(domain, der, revoked=None), number=8, this_update=now
            ),
        ),
    )
    for rule, attempt in cases:
        with pytest.raises(PolicyViolation) as violation:
            attempt()
        assert violation.value.rule == rule


def register_with(domain: Domain, crl: bytes, *, revoked: RevocationEntry | None) -> Register:
    from sealwright.ceremony.clock import format_time
    from sealwright.ceremony.register import register_crl
    from sealwright.pki.serials import format_serial

    register = parse_register(domain.records[Kind.ROOT_CRL].read("register.json"))
    certificate = register.certificates[0]
    if revoked is not None:
        revocation = Revocation(date=format_time(revoked.revocation_date), reason=revoked.reason)
        certificate = certificate.model_copy(update={"serial": format_serial(revoked.serial), "revoked": revocation})
    return register.model_copy(update={"certificates": (certificate,), "crl": register_crl(crl)})
