"""CRLs: what stands in them, and each rule with the bytes that break it."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.crl import (
    CRLDraft,
    LintedCRL,
    RevocationEntry,
    RevocationReason,
    draft_crl,
    lint_crl,
    sign_crl,
)
from sealwright.pki.keys import KeyKind
from sealwright.pki.serials import LARGEST_SERIAL, SerialNumber, new_serial
from sealwright.pki.signatures import SignatureScheme
from softpki import NOW, SoftPKI, soft_pki

WEEK = timedelta(days=7)
LATER = NOW + timedelta(days=30)


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


def entry(serial: int = 0, reason: RevocationReason | None = None, date: datetime = NOW) -> RevocationEntry:
    return RevocationEntry(SerialNumber(serial) if serial else new_serial(), date, reason)


def draft(pki: SoftPKI, *entries: RevocationEntry, **changes: object) -> CRLDraft:
    options: dict[str, object] = {
        "issuer": pki.issuing_record,
        "number": 7,
        "this_update": LATER,
        "next_update": LATER + WEEK,
        "expired_certs_since": NOW,
    }
    return draft_crl(**(options | changes), entries=entries)  # type: ignore[arg-type]  # the options above, by name


def test_an_end_entity_list_has_exactly_its_fields(pki: SoftPKI) -> None:
    revoked = [entry(reason=reason) for reason in RevocationReason if reason is not RevocationReason.CA_COMPROMISE]
    revoked.append(entry())
    crl = sign_crl(lint_crl(draft(pki, *revoked)), pki.issuing_key)

    assert crl.is_signature_valid(pki.issuing.public_key())
    assert crl.issuer == pki.issuing.subject
    assert (crl.last_update_utc, crl.next_update_utc) == (LATER, LATER + WEEK)
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
    authority = crl.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    subject = pki.issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert authority == x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject)
    assert [each.serial_number for each in crl] == [each.serial for each in revoked]
    for found, wanted in zip(crl, revoked, strict=True):
        assert found.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc == NOW
        assert found.revocation_date_utc == NOW
        if wanted.reason is None:
            with pytest.raises(x509.ExtensionNotFound):
                found.extensions.get_extension_for_class(x509.CRLReason)
        else:
            assert found.extensions.get_extension_for_class(x509.CRLReason).value.reason.value == wanted.reason
    assert not any(each.critical for each in crl.extensions)


def test_asn1crypto_reads_the_same_list_and_encodes_it_again_to_the_same_bytes(pki: SoftPKI) -> None:
    written = sign_crl(lint_crl(draft(pki, entry(0xABC, RevocationReason.KEY_COMPROMISE))), pki.issuing_key)
    encoded = written.public_bytes(Encoding.DER)
    read = asn1_crl.CertificateList.load(encoded, strict=True)
    assert read["tbs_cert_list"]["version"].native == "v2"
    extensions = {each["extn_id"].dotted: each for each in read["tbs_cert_list"]["crl_extensions"]}
    assert set(extensions) == {"2.5.29.35", "2.5.29.20", "2.5.29.60"}
    assert extensions["2.5.29.60"]["extn_value"].contents == b"\x18\x0f20261123120000Z"
    assert read.copy().dump(force=True) == encoded


def test_nothing_revoked_means_no_list_at_all(pki: SoftPKI) -> None:
    crl = sign_crl(lint_crl(draft(pki)), pki.issuing_key)
    read = asn1_crl.CertificateList.load(crl.public_bytes(Encoding.DER))
    assert len(crl) == 0
    assert isinstance(read["tbs_cert_list"]["revoked_certificates"].contents, bytes | None)
    assert read["tbs_cert_list"]["revoked_certificates"].dump() == b""


def test_a_root_lists_its_cas_without_invalidity_dates(pki: SoftPKI) -> None:
    revoked = entry(pki.issuing.serial_number, RevocationReason.CA_COMPROMISE)
    drafted = draft(
        pki,
        revoked,
        issuer=pki.root_record,
        next_update=LATER + timedelta(days=365),
        expired_certs_since=None,
    )
    crl = sign_crl(lint_crl(drafted), pki.root_key)
    (found,) = crl
    assert [each.value for each in found.extensions] == [x509.CRLReason(x509.ReasonFlags.ca_compromise)]
    assert len(list(crl.extensions)) == 2


def test_times_are_utctime_through_2049_and_generalizedtime_after() -> None:
    assert der.time(datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)) == b"\x17\x0d491231235959Z"
    assert der.time(datetime(2050, 1, 1, tzinfo=UTC)) == b"\x18\x0f20500101000000Z"


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        (KeyKind.RSA_4096, SignatureScheme.RSA_PKCS1_SHA256),
        (KeyKind.RSA_4096, SignatureScheme.RSA_PSS_SHA384),
        (KeyKind.P521, SignatureScheme.ECDSA_SHA512),
    ],
)
def test_signs_with_each_family(kind: KeyKind, scheme: SignatureScheme) -> None:
    own = soft_pki(kind, scheme)
    crl = sign_crl(lint_crl(draft(own, entry())), own.issuing_key)
    assert crl.is_signature_valid(own.issuing.public_key())


Change = Callable[[SoftPKI], CRLDraft]

REFUSED: list[tuple[str, Change]] = [
    ("CRL-NUMBER", lambda pki: draft(pki, number=0)),
    ("CRL-NUMBER", lambda pki: draft(pki, number=LARGEST_SERIAL + 1)),
    ("CRL-NEXT-UPDATE", lambda pki: draft(pki, next_update=LATER)),
    ("CRL-VALIDITY", lambda pki: draft(pki, next_update=LATER + timedelta(days=10, seconds=1))),
    (
        "CRL-VALIDITY",
        lambda pki: draft(pki, issuer=pki.root_record, next_update=LATER + timedelta(days=365, seconds=1)),
    ),
    ("CRL-WINDOW", lambda pki: draft(pki, this_update=NOW - timedelta(seconds=1), next_update=NOW + WEEK)),
    ("CRL-RETENTION", lambda pki: draft(pki, expired_certs_since=None)),
    ("CRL-RETENTION", lambda pki: draft(pki, expired_certs_since=LATER + timedelta(seconds=1))),
    ("CRL-SERIAL", lambda pki: draft(pki, entry(-1))),
    ("CRL-SERIAL", lambda pki: draft(pki, entry(LARGEST_SERIAL + 1))),
    ("CRL-DUPLICATE", lambda pki: draft(pki, entry(5), entry(5))),
    ("CRL-REVOCATION-DATE", lambda pki: draft(pki, entry(date=LATER + timedelta(seconds=1)))),
    ("CRL-REASON", lambda pki: draft(pki, entry(reason=RevocationReason.CA_COMPROMISE))),
    ("CRL-TIME", lambda pki: draft(pki, this_update=LATER.replace(microsecond=1))),
    ("CRL-TIME", lambda pki: draft(pki, entry(date=NOW.replace(tzinfo=None)))),
]


@pytest.mark.parametrize(("rule", "make"), REFUSED)
def test_refuses_what_a_rule_forbids(pki: SoftPKI, rule: str, make: Change) -> None:
    with pytest.raises(PolicyViolation) as caught:
        lint_crl(make(pki))
    assert caught.value.rule == rule


def test_accepts_each_edge(pki: SoftPKI) -> None:
    lint_crl(draft(pki, number=1))
    lint_crl(draft(pki, number=LARGEST_SERIAL, next_update=LATER + timedelta(days=10)))
    lint_crl(draft(pki, this_update=NOW, next_update=NOW + WEEK))
    lint_crl(draft(pki, entry(1), entry(LARGEST_SERIAL), entry(date=LATER), expired_certs_since=LATER))


def _rewritten(drafted: CRLDraft, old: bytes, new: bytes) -> CRLDraft:
    assert drafted.tbs.count(old) == 1
    assert len(old) == len(new)
    tbs = drafted.tbs.replace(old, new)
    return dataclasses.replace(drafted, tbs=tbs, sample_tbs=tbs)


AKI = b"\x30\x1f\x06\x03\x55\x1d\x23\x04\x18"
REASON = b"\x06\x03\x55\x1d\x15\x04\x03\x0a\x01"
INVALIDITY = b"\x06\x03\x55\x1d\x18\x04\x11\x18\x0f2026112312"
NUMBER = b"\x06\x03\x55\x1d\x14\x04"

TAMPERED: list[tuple[str, bytes, bytes]] = [
    ("CRL-EXTENSIONS", AKI, AKI.replace(b"\x1d\x23", b"\x1d\x24")),  # policyConstraints
    ("CRL-EXTENSIONS", NUMBER, NUMBER.replace(b"\x1d\x14", b"\x1d\x1b")),  # a delta
    ("CRL-DER", NUMBER, NUMBER.replace(b"\x1d\x14", b"\x1d\x23")),  # two AKI
    ("CRL-REASON", REASON + b"\x01", REASON + b"\x06"),  # certificateHold
    ("CRL-REASON", REASON + b"\x01", REASON + b"\x00"),  # unspecified
    ("CRL-REASON", REASON + b"\x01", REASON + b"\x08"),  # removeFromCRL
    ("CRL-INVALIDITY-DATE", INVALIDITY, INVALIDITY.replace(b"12312", b"12311")),
    ("CRL-ISSUER", b"Code Signing CA", b"Code Signing CB"),
]


@pytest.mark.parametrize(("rule", "old", "new"), TAMPERED)
def test_refuses_bytes_that_the_drafter_would_never_write(pki: SoftPKI, rule: str, old: bytes, new: bytes) -> None:
    drafted = draft(pki, entry(reason=RevocationReason.KEY_COMPROMISE))
    with pytest.raises(PolicyViolation) as caught:
        lint_crl(_rewritten(drafted, old, new))
    assert caught.value.rule == rule


URL = "http://pki.example.org/crl/issuing-1.p8-3.crl"


def test_a_partition_says_which_one_it_is(pki: SoftPKI) -> None:
    lint_crl(draft(pki, distribution_point=URL))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\x55\x1d\x1c\x01\x01\xff", b"\x55\x1d\x1c\x01\x01\x00"),  # not critical
        (b"p8-3.crl\x81\x01\xff", b"p8-4.crl\x81\x01\xff"),  # another partition
        (b"p8-3.crl\x81\x01\xff", b"p8-3.crl\x82\x01\xff"),  # for CAs
        (b"p8-3.crl\x81\x01\xff", b"p8-3.crl\x84\x01\xff"),  # indirect
    ],
)
def test_refuses_a_partition_that_says_something_else(pki: SoftPKI, old: bytes, new: bytes) -> None:
    with pytest.raises(PolicyViolation) as caught:
        lint_crl(_rewritten(draft(pki, distribution_point=URL), old, new))
    assert caught.value.rule in ("CRL-IDP", "CRL-DER")


def test_a_partition_is_not_a_full_list_nor_the_other_way_round(pki: SoftPKI) -> None:
    for rule, drafted, url in (
        ("CRL-IDP", draft(pki), URL),
        ("CRL-EXTENSIONS", draft(pki, distribution_point=URL), None),
    ):
        with pytest.raises(PolicyViolation) as caught:
            lint_crl(dataclasses.replace(drafted, distribution_point=url))
        assert caught.value.rule == rule


def test_refuses_a_list_without_number_or_authority_key(pki: SoftPKI) -> None:
    aki = der.extension(der.oid("2.5.29.35"), der.sequence(der.encode(0x80, pki.issuing_record.key_identifier)))
    number = der.extension(der.oid("2.5.29.20"), der.integer(7))
    expired = der.extension(der.oid("2.5.29.60"), der.generalized_time(NOW))
    drafted = draft(pki)
    whole = der.encode(0xA0, der.sequence(aki, number, expired))
    assert drafted.tbs.endswith(whole)
    start, end = der.read(drafted.tbs, 0, len(drafted.tbs), der.SEQUENCE)
    for rule, left in (
        ("CRL-AKI", (number, expired)),
        ("CRL-NUMBER", (aki, expired)),
        ("CRL-RETENTION", (aki, number)),
    ):
        content = drafted.tbs[start:end].removesuffix(whole) + der.encode(0xA0, der.sequence(*left))
        with pytest.raises(PolicyViolation) as caught:
            lint_crl(dataclasses.replace(drafted, tbs=der.sequence(content)))
        assert caught.value.rule == rule


def test_refuses_another_authority_key(pki: SoftPKI) -> None:
    drafted = draft(pki)
    own = pki.issuing_record.key_identifier
    with pytest.raises(PolicyViolation, match="CRL-AKI"):
        lint_crl(_rewritten(drafted, own, own[::-1]))


def test_pkilint_refuses_an_empty_list_that_is_present(pki: SoftPKI) -> None:
    drafted = draft(pki)
    times = der.time(LATER + WEEK)
    start, end = der.read(drafted.tbs, 0, len(drafted.tbs), der.SEQUENCE)
    tbs = der.sequence(drafted.tbs[start:end].replace(times, times + b"\x30\x00"))
    with pytest.raises(PolicyViolation, match="PKILINT:"):
        lint_crl(dataclasses.replace(drafted, tbs=tbs, sample_tbs=tbs))


def test_a_long_list_is_linted_whole_by_us_and_in_a_sample_by_pkilint(pki: SoftPKI) -> None:
    revoked = [entry(reason=RevocationReason.SUPERSEDED) for _ in range(500)]
    drafted = draft(pki, *revoked)
    assert len(drafted.sample_tbs) < len(drafted.tbs) / 4
    assert len(sign_crl(lint_crl(drafted), pki.issuing_key)) == 500
    with pytest.raises(PolicyViolation, match="CRL-DUPLICATE"):
        lint_crl(draft(pki, *revoked, revoked[250]))


def test_only_lint_makes_what_is_signed(pki: SoftPKI) -> None:
    with pytest.raises(TypeError):
        LintedCRL(draft(pki), made_by=object())
    with pytest.raises(TypeError):
        sign_crl(draft(pki), pki.issuing_key)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(AttributeError):
        lint_crl(draft(pki))._draft = draft(pki)


def test_refuses_a_signature_by_another_key(pki: SoftPKI) -> None:
    with pytest.raises(IntegrityError):
        sign_crl(lint_crl(draft(pki)), pki.root_key)
