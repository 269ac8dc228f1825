"""Every rule of our own, its passing edge and its failing edges."""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import asn1crypto.x509
import pytest
from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from forgery import TBS, alter, field, patch, rebuild
from sealwright.errors import PolicyViolation
from sealwright.pki.candidate import Candidate
from sealwright.pki.certificates import (
    CertificateDraft,
    IssuerRecord,
    draft_certificate,
    draft_root,
    lint_draft,
    sign_certificate,
)
from sealwright.pki.keys import KeyKind
from sealwright.pki.names import ca_subject
from sealwright.pki.profiles import ProfileKind
from sealwright.pki.rules import RULES
from sealwright.pki.rules_validity import add_years
from sealwright.pki.serials import new_serial
from softpki import NOW, another_exponent, profiles, settings, soft_pki, software_key

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def root_draft(**changes: object) -> CertificateDraft:
    key = software_key(KeyKind.P384, "root")
    wanted: dict[str, object] = {
        "settings": settings(),
        "subject": ca_subject(settings(), "root", rehearsal=True),
        "public_key": key.public_key(),
        "serial": new_serial(),
        "not_before": NOW,
    }
    profile = dataclasses.replace(profiles()["root"], keys=(KeyKind.P384,))
    return draft_root(profile, **wanted | changes)  # type: ignore[arg-type]  # a table of keyword arguments


def issuing_draft(**changes: object) -> CertificateDraft:
    wanted: dict[str, object] = {
        "issuer": soft_pki().root_record,
        "subject": ca_subject(settings(), "issuing", rehearsal=True),
        "public_key": software_key(KeyKind.P384, "issuing").public_key(),
        "serial": new_serial(),
        "not_before": NOW,
    }
    profile = dataclasses.replace(profiles()["issuing-ca"], keys=(KeyKind.P384,))
    return draft_certificate(profile, **wanted | changes)  # type: ignore[arg-type]  # a table of keyword arguments


def leaf_draft(**changes: object) -> CertificateDraft:
    profile = profiles()["code-signing"]
    wanted: dict[str, object] = {
        "issuer": soft_pki().issuing_record,
        "subject": profile.subject(settings(), "web", "shop", rehearsal=True),
        "san_uri": SAN,
        "public_key": software_key().public_key(),
        "serial": new_serial(),
        "not_before": NOW,
    }
    return draft_certificate(profile, **wanted | changes)  # type: ignore[arg-type]  # a table of keyword arguments


def issuers_key_again() -> CertificateDraft:
    pki = soft_pki(KeyKind.RSA_3072)
    return pki.draft(another_exponent(pki.issuing_key))


def responder_draft() -> CertificateDraft:
    return soft_pki().draft_responder(software_key(label="ocsp"))


def cross_draft() -> CertificateDraft:
    """Another root's key, by this root."""
    other = soft_pki(label="other ")
    return draft_certificate(
        profiles()["cross-root"],
        issuer=soft_pki().root_record,
        subject=name(cn="REHEARSAL Another Root"),
        public_key=other.root_key.public_key(),
        serial=new_serial(),
        not_before=NOW,
    )


DRAFTS = {
    ProfileKind.ROOT: root_draft,
    ProfileKind.ISSUING_CA: issuing_draft,
    ProfileKind.CODE_SIGNING: leaf_draft,
    ProfileKind.OCSP_RESPONDER: responder_draft,
    ProfileKind.CROSS_ROOT: cross_draft,
    ProfileKind.ROOT_OCSP: lambda: soft_pki().draft_delegate(software_key(label="delegate")),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
@pytest.mark.parametrize("kind", ProfileKind)
def test_a_good_certificate_of_each_kind_passes_each_rule(kind: ProfileKind, rule: object) -> None:
    rule.check(Candidate(DRAFTS[kind]()))  # type: ignore[attr-defined]  # a Rule


def name(*extra: tuple[x509.ObjectIdentifier, str], cn: str = "REHEARSAL Example Corp web shop") -> x509.Name:
    good = [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.LOCALITY_NAME, "Berlin"),
        (NameOID.ORGANIZATION_NAME, "Example Corp"),
    ]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in [*good, (NameOID.COMMON_NAME, cn), *extra]])


def without(oid: x509.ObjectIdentifier) -> x509.Name:
    return x509.Name([each for each in name() if each.oid != oid])


def put(build: Callable[[], CertificateDraft], value: x509.ExtensionType) -> Callable[[], CertificateDraft]:
    return lambda: rebuild(build(), replace=(value,))


def eku(*purposes: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(list(purposes))


def san(*names: x509.GeneralName) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(list(names))


def uri(value: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(value)


def usage(**given: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**dict.fromkeys(names, False) | given)


def point(value: str, **parts: object) -> x509.CRLDistributionPoints:
    given = {"relative_name": None, "reasons": None, "crl_issuer": None} | parts
    return x509.CRLDistributionPoints([x509.DistributionPoint([uri(value)], **given)])  # type: ignore[arg-type]


def access(*entries: tuple[x509.ObjectIdentifier, str]) -> x509.AuthorityInformationAccess:
    return x509.AuthorityInformationAccess([x509.AccessDescription(method, uri(value)) for method, value in entries])


def policy(*oids: str, qualifier: str | None = None) -> x509.CertificatePolicies:
    qualifiers = None if qualifier is None else [qualifier]
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), qualifiers) for oid in oids])


def printable_issuer(tbs: TBS) -> None:
    for rdn in tbs["issuer"].chosen:
        for attribute in rdn:
            if attribute["type"].native != "country_name":
                attribute["value"] = asn1crypto.x509.DirectoryString(
                    name="printable_string", value=core.PrintableString(attribute["value"].native)
                )


def printable_subject(tbs: TBS) -> None:
    tbs["subject"].chosen[1][0]["value"] = asn1crypto.x509.DirectoryString(
        name="printable_string", value=core.PrintableString("Berlin")
    )


def general_time(tbs: TBS) -> None:
    tbs["validity"]["not_before"] = asn1crypto.x509.Time({"general_time": NOW})


def twice(tbs: TBS) -> None:
    tbs["extensions"].append(tbs["extensions"][0])


SAN = "https://pki.example.org/id/web/shop"
OWN_OID, LEAF_CRL = "1.3.6.1.4.1.32473.1.1", "http://pki.example.org/crl/issuing-1.crl"
LEAF_CA, OCSP = "http://pki.example.org/ca/issuing-1.cer", "http://pki.example.org/ocsp"
CA_ISSUERS, ASK = AuthorityInformationAccessOID.CA_ISSUERS, AuthorityInformationAccessOID.OCSP
OTHER_KEY = software_key(label="other").public_key()

FORGERIES: list[tuple[str, str, Callable[[], CertificateDraft]]] = [
    ("PKI-VERSION", "version 1", lambda: alter(leaf_draft(), field("version", "v1"))),
    ("PKI-SERIAL", "short", lambda: alter(leaf_draft(), field("serial_number", 2**63 - 1))),
    ("PKI-SERIAL", "zero", lambda: alter(leaf_draft(), field("serial_number", 0))),
    ("PKI-SERIAL", "negative", lambda: alter(leaf_draft(), field("serial_number", -(2**100)))),
    ("PKI-SERIAL", "21 octets", lambda: alter(leaf_draft(), field("serial_number", 2**159))),
    (
        "PKI-SIGNATURE-ALGORITHM",
        "another inside",
        lambda: alter(leaf_draft(), field("signature", {"algorithm": "sha256_ecdsa"})),
    ),
    (
        "PKI-SIGNATURE-ALGORITHM",
        "SHA-1 inside",
        lambda: alter(leaf_draft(), field("signature", {"algorithm": "sha1_ecdsa"})),
    ),
    ("PKI-ISSUER-BYTES", "re-encoded", lambda: alter(leaf_draft(), printable_issuer)),
    ("PKI-ISSUER-BYTES", "another", lambda: rebuild(leaf_draft(), issuer=name(cn="REHEARSAL Somebody"))),
    ("PKI-ISSUER-BYTES", "root not by itself", lambda: rebuild(root_draft(), issuer=name(cn="REHEARSAL Somebody"))),
    ("PKI-ISSUER-ROLE", "leaf by the root", lambda: leaf_draft(issuer=soft_pki().root_record)),
    ("PKI-ISSUER-ROLE", "CA by the issuing CA", lambda: issuing_draft(issuer=soft_pki().issuing_record)),
    (
        "PKI-ISSUER-ROLE",
        "the root's delegate by the issuing CA",
        lambda: soft_pki().draft_delegate(software_key(), issuer=soft_pki().issuing_record),
    ),
    (
        "PKI-ISSUER-ROLE",
        "the issuing CA's responder by the root",
        lambda: soft_pki().draft_responder(software_key(label="ocsp"), issuer=soft_pki().root_record),
    ),
    ("PKI-ISSUER-ROLE", "leaf by a leaf", lambda: leaf_draft(issuer=leaf_as_issuer())),
    ("PKI-ISSUER-ROLE", "root by another", lambda: dataclasses.replace(issuing_draft(), profile=root_draft().profile)),
    ("PKI-SUBJECT-ATTRIBUTES", "OU", lambda: leaf_draft(subject=name((NameOID.ORGANIZATIONAL_UNIT_NAME, "Web")))),
    ("PKI-SUBJECT-ATTRIBUTES", "DC", lambda: leaf_draft(subject=name((NameOID.DOMAIN_COMPONENT, "org")))),
    ("PKI-SUBJECT-ATTRIBUTES", "two CNs", lambda: leaf_draft(subject=name((NameOID.COMMON_NAME, "x")))),
    ("PKI-SUBJECT-ATTRIBUTES", "no CN", lambda: leaf_draft(subject=without(NameOID.COMMON_NAME))),
    ("PKI-SUBJECT-ATTRIBUTES", "CN first", lambda: leaf_draft(subject=x509.Name(list(name())[::-1]))),
    ("PKI-SUBJECT-ATTRIBUTES", "empty", lambda: leaf_draft(subject=x509.Name([]))),
    ("PKI-SUBJECT-ATTRIBUTES", "no O", lambda: leaf_draft(subject=without(NameOID.ORGANIZATION_NAME))),
    ("PKI-SUBJECT-ATTRIBUTES", "no L", lambda: leaf_draft(subject=without(NameOID.LOCALITY_NAME))),
    (
        "PKI-SUBJECT-ATTRIBUTES",
        "RDN of two",
        lambda: leaf_draft(subject=x509.Name([x509.RelativeDistinguishedName(list(name()))])),
    ),
    ("PKI-SUBJECT-VALUE", "blank at the end", lambda: leaf_draft(subject=name(cn="REHEARSAL x "))),
    ("PKI-SUBJECT-VALUE", "control character", lambda: leaf_draft(subject=name(cn="REHEARSAL x\x00y"))),
    ("PKI-SUBJECT-VALUE", "punctuation", lambda: leaf_draft(subject=name(cn=" - . "))),
    ("PKI-SUBJECT-ENCODING", "L is a PrintableString", lambda: alter(leaf_draft(), printable_subject)),
    ("CA-SUBJECT", "another CN", lambda: issuing_draft(subject=name(cn="REHEARSAL Other CA"))),
    ("CA-SUBJECT", "another CN of the root", lambda: root_draft(subject=name(cn="REHEARSAL Other Root"))),
    ("PKI-REHEARSAL-MARK", "unmarked below a rehearsal", lambda: leaf_draft(subject=name(cn="Example Corp web shop"))),
    (
        "PKI-REHEARSAL-MARK",
        "marked below production",
        lambda: leaf_draft(issuer=soft_pki(rehearsal=False).issuing_record),
    ),
    (
        "PKI-KEY-PROFILE",
        "kind not in the profile",
        lambda: soft_pki().draft(software_key(), profile="code-signing-release"),
    ),
    ("PKI-KEY-BYTES", "another key", lambda: dataclasses.replace(leaf_draft(), public_key=OTHER_KEY)),
    ("PKI-KEY-NOT-ISSUERS", "the issuer's own", lambda: soft_pki().draft(soft_pki().issuing_key)),
    ("PKI-KEY-NOT-ISSUERS", "the issuer's own, under another exponent", issuers_key_again),
    ("PKI-VALIDITY-ENCODING", "GeneralizedTime in 2026", lambda: alter(leaf_draft(), general_time)),
    ("PKI-VALIDITY-INCLUSIVE", "a second more", lambda: leaf_draft(not_after=NOW + 300 * DAY)),
    ("PKI-VALIDITY-INCLUSIVE", "ends before it begins", lambda: rebuild(leaf_draft(), not_after=NOW)),
    ("ROOT-VALIDITY", "35 years and a day", lambda: root_draft(not_after=NOW + 12785 * DAY - SECOND)),
    ("CA-VALIDITY", "15 years and a day", lambda: issuing_draft(not_after=NOW + 5480 * DAY - SECOND)),
    ("CS-VALIDITY", "461 days", lambda: leaf_draft(not_after=NOW + 461 * DAY - SECOND)),
    ("RESPONDER-VALIDITY", "15 days", lambda: rebuild(responder_draft(), not_after=NOW + 15 * DAY - SECOND)),
    (
        "ROOT-OCSP-VALIDITY",
        "367 days",
        lambda: soft_pki().draft_delegate(software_key(), not_after=NOW + 367 * DAY - SECOND),
    ),
    ("PKI-VALIDITY-PROFILE", "longer than the profile", lambda: leaf_draft(not_after=NOW + 398 * DAY - SECOND)),
    ("CA-NESTING", "begins before its issuer", lambda: leaf_draft(not_before=NOW - SECOND)),
    ("CA-NESTING", "CA outlives the root", lambda: issuing_draft(not_before=datetime(2036, 12, 1, tzinfo=UTC))),
    (
        "CA-NESTING",
        "responder outlives the CA",
        lambda: soft_pki().draft_responder(software_key(), not_before=soft_pki().issuing.not_valid_after_utc - DAY),
    ),
    ("CA-ISSUE-WINDOW", "after three years", lambda: leaf_draft(not_before=add_years(NOW, 3))),
    ("CA-OUTLIVES-ANSWERS", "CA a day too short", lambda: leaf_draft(issuer=short_lived_issuer(-1))),
    ("PKI-EXTENSIONS", "no AKI", lambda: rebuild(leaf_draft(), drop=(x509.AuthorityKeyIdentifier,))),
    ("PKI-EXTENSIONS", "no SKI", lambda: rebuild(root_draft(), drop=(x509.SubjectKeyIdentifier,))),
    ("PKI-EXTENSIONS", "no EKU", lambda: rebuild(leaf_draft(), drop=(x509.ExtendedKeyUsage,))),
    ("PKI-EXTENSIONS", "nocheck on a leaf", lambda: rebuild(leaf_draft(), add=(x509.OCSPNoCheck(),))),
    ("PKI-EXTENSIONS", "no nocheck on a responder", lambda: rebuild(responder_draft(), drop=(x509.OCSPNoCheck,))),
    ("PKI-EXTENSIONS", "EKU on a root", lambda: rebuild(root_draft(), add=(eku(Purpose.CODE_SIGNING),))),
    ("PKI-EXTENSIONS", "CRL DP on a responder", lambda: rebuild(responder_draft(), add=(point(LEAF_CRL),))),
    (
        "PKI-EXTENSIONS",
        "unknown",
        lambda: rebuild(leaf_draft(), add=(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"),)),
    ),
    ("PKI-EXTENSIONS", "one twice", lambda: alter(leaf_draft(), twice)),
    ("PKI-EXTENSION-CRITICAL", "EKU critical", lambda: rebuild(leaf_draft(), critical={x509.ExtendedKeyUsage: True})),
    (
        "PKI-EXTENSION-CRITICAL",
        "BasicConstraints not",
        lambda: rebuild(issuing_draft(), critical={x509.BasicConstraints: False}),
    ),
    ("PKI-EXTENSION-CRITICAL", "KeyUsage not", lambda: rebuild(root_draft(), critical={x509.KeyUsage: False})),
    ("PKI-BASIC-CONSTRAINTS", "leaf is a CA", put(leaf_draft, x509.BasicConstraints(True, None))),
    ("PKI-BASIC-CONSTRAINTS", "pathLen 1", put(issuing_draft, x509.BasicConstraints(True, 1))),
    ("PKI-BASIC-CONSTRAINTS", "no pathLen", put(issuing_draft, x509.BasicConstraints(True, None))),
    ("PKI-BASIC-CONSTRAINTS", "pathLen in the root", put(root_draft, x509.BasicConstraints(True, 1))),
    ("PKI-KEY-USAGE", "keyEncipherment too", put(leaf_draft, usage(digital_signature=True, key_encipherment=True))),
    ("PKI-KEY-USAGE", "nonRepudiation", put(leaf_draft, usage(digital_signature=True, content_commitment=True))),
    (
        "PKI-KEY-USAGE",
        "CA signs documents",
        put(issuing_draft, usage(digital_signature=True, key_cert_sign=True, crl_sign=True)),
    ),
    ("PKI-KEY-USAGE", "CA signs no CRL", put(issuing_draft, usage(key_cert_sign=True))),
    ("PKI-EKU", "serverAuth", put(leaf_draft, eku(Purpose.SERVER_AUTH))),
    ("PKI-EKU", "timeStamping too", put(issuing_draft, eku(Purpose.CODE_SIGNING, Purpose.TIME_STAMPING))),
    ("PKI-EKU", "anyExtendedKeyUsage", put(leaf_draft, eku(Purpose.ANY_EXTENDED_KEY_USAGE))),
    ("PKI-OID-RESERVED", "CA/B code signing", put(leaf_draft, policy("2.23.140.1.4.1"))),
    ("PKI-OID-RESERVED", "CA/B EV code signing too", put(leaf_draft, policy(OWN_OID, "2.23.140.1.3"))),
    ("PKI-OID-RESERVED", "anyPolicy", put(issuing_draft, policy("2.5.29.32.0"))),
    ("PKI-POLICY-OID", "somebody else's", put(leaf_draft, policy("1.3.6.1.4.1.99999.1"))),
    ("PKI-POLICY-OID", "two", put(leaf_draft, policy(OWN_OID, "1.3.6.1.4.1.32473.1.2"))),
    ("PKI-POLICY-OID", "qualifier", put(leaf_draft, policy(OWN_OID, qualifier="http://pki.example.org/cps"))),
    ("PKI-CRL-DP", "the subject's own", put(issuing_draft, point(LEAF_CRL))),
    ("PKI-CRL-DP", "https", put(leaf_draft, point(LEAF_CRL.replace("http", "https")))),
    (
        "PKI-CRL-DP",
        "some reasons only",
        put(leaf_draft, point(LEAF_CRL, reasons=frozenset({x509.ReasonFlags.key_compromise}))),
    ),
    ("PKI-AIA", "no OCSP", put(leaf_draft, access((CA_ISSUERS, LEAF_CA)))),
    ("PKI-AIA", "OCSP for a responder", put(responder_draft, access((CA_ISSUERS, LEAF_CA), (ASK, OCSP)))),
    ("PKI-AIA", "https", put(responder_draft, access((CA_ISSUERS, LEAF_CA.replace("http", "https"))))),
    (
        "PKI-SKI",
        "another key's",
        lambda: rebuild(leaf_draft(), replace=(x509.SubjectKeyIdentifier.from_public_key(OTHER_KEY),)),
    ),
    (
        "PKI-AKI",
        "another CA's",
        lambda: rebuild(leaf_draft(), replace=(x509.AuthorityKeyIdentifier.from_issuer_public_key(OTHER_KEY),)),
    ),
    ("PKI-AKI", "with issuer and serial", lambda: rebuild(leaf_draft(), replace=(aki_with_serial(),))),
    ("CS-SAN-URI", "DNS name", put(leaf_draft, san(x509.DNSName("example.org")))),
    ("CS-SAN-URI", "two", put(leaf_draft, san(uri(SAN), uri(SAN + "2")))),
    ("CS-SAN-URI", "another place", lambda: leaf_draft(san_uri="https://example.com/id/web/shop")),
    ("CS-SAN-URI", "a third part", lambda: leaf_draft(san_uri=f"{SAN}/more")),
    (
        "PKI-EXTENSIONS",
        "nocheck is not NULL",
        lambda: patch(responder_draft(), "07300105" + "04020500", "07300105" + "04020400"),
    ),
    ("PKI-DER", "key usage with its trailing zero bits", lambda: patch(leaf_draft(), "03020780", "03020080")),
    ("PKI-EXTENSIONS", "TRUE is 1", lambda: patch(issuing_draft(), "30060101ff020100", "3006010101020100")),
]


def aki_with_serial() -> x509.AuthorityKeyIdentifier:
    record = soft_pki().issuing_record
    issuer = [x509.DirectoryName(record.certificate.issuer)]
    return x509.AuthorityKeyIdentifier(record.key_identifier, issuer, record.certificate.serial_number)


def leaf_as_issuer() -> IssuerRecord:
    pki = soft_pki()
    return IssuerRecord.of(pki.issue(software_key(label="leaf issuer")), pki.settings, "issuing-1")


def short_lived_issuer(days: int) -> IssuerRecord:
    """An issuing CA that ends ``days`` after the moment until which a leaf of today must be answered for."""
    leaf_end = NOW + timedelta(days=profiles()["code-signing"].validity_days) - SECOND
    end = add_years(leaf_end, 10) + timedelta(days=days)
    draft = issuing_draft(not_after=end)
    certificate = sign_certificate(lint_draft(draft), soft_pki().root_key)
    return IssuerRecord.of(certificate, settings(), "issuing-1")


@pytest.mark.parametrize(
    ("rule", "forge"),
    [(rule, forge) for rule, _, forge in FORGERIES],
    ids=[f"{rule}: {what}" for rule, what, _ in FORGERIES],
)
@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.filterwarnings("ignore:The parsed certificate contains:cryptography.utils.CryptographyDeprecationWarning")
def test_refuses_a_certificate_that_breaks_the_rule(rule: str, forge: Callable[[], CertificateDraft]) -> None:
    with pytest.raises(PolicyViolation) as refusal:
        lint_draft(forge())
    assert refusal.value.rule == rule
    assert "wanted" in refusal.value.message or rule in refusal.value.rule


def test_refuses_what_two_decoders_read_differently() -> None:
    candidate, other = Candidate(leaf_draft()), Candidate(leaf_draft())
    candidate.der = other.der  # what the second one reads
    rule = next(rule for rule in RULES if rule.id == "PKI-SECOND-OPINION")
    with pytest.raises(PolicyViolation, match="serial") as refusal:
        rule.check(candidate)
    assert refusal.value.rule == "PKI-SECOND-OPINION"


def test_refuses_bytes_that_encode_to_others_again() -> None:
    candidate = Candidate(leaf_draft())
    candidate.der = candidate.der.replace(b"\x30\x82", b"\x30\x83\x00", 1)  # BER: a length in too many octets
    rule = next(rule for rule in RULES if rule.id == "PKI-DER")
    with pytest.raises(PolicyViolation, match="wanted DER") as refusal:
        rule.check(candidate)
    assert refusal.value.rule == "PKI-DER"


def test_every_rule_has_a_forgery_that_it_refuses() -> None:
    assert {rule.id for rule in RULES} == {rule for rule, _, _ in FORGERIES} | {"PKI-SECOND-OPINION"}


@pytest.mark.parametrize(
    "edge",
    [
        lambda: leaf_draft(issuer=short_lived_issuer(0)),
        lambda: leaf_draft(not_before=add_years(NOW, 3) - SECOND),
        lambda: alter(leaf_draft(), field("serial_number", 2**63)),
        lambda: alter(leaf_draft(), field("serial_number", 2**159 - 1)),
        lambda: leaf_draft(not_after=NOW + DAY - SECOND),
    ],
    ids=["CA ends with its last answer", "last second of the window", "64 bits", "20 octets", "one day"],
)
def test_accepts_the_passing_edge(edge: Callable[[], CertificateDraft]) -> None:
    lint_draft(edge())


def test_accepts_460_days() -> None:
    longest = dataclasses.replace(profiles()["code-signing"], validity_days=460)
    draft = leaf_draft(not_after=NOW + 460 * DAY - SECOND)
    lint_draft(dataclasses.replace(draft, profile=longest))


@pytest.mark.parametrize(("build", "days"), [(root_draft, 12784), (issuing_draft, 5479)])
def test_accepts_a_ca_of_exactly_its_years(build: Callable[..., CertificateDraft], days: int) -> None:
    # 2026-11-23 to 2061-11-23 has nine leap days, to 2041-11-23 four.
    draft = build(not_after=NOW + days * DAY - SECOND)
    lint_draft(dataclasses.replace(draft, profile=dataclasses.replace(draft.profile, validity_days=days)))


def test_29_february_is_never_answered_for_too_short() -> None:
    assert add_years(datetime(2028, 2, 29, tzinfo=UTC), 10) == datetime(2038, 3, 1, tzinfo=UTC)
    assert add_years(datetime(2028, 2, 29, tzinfo=UTC), 4) == datetime(2032, 2, 29, tzinfo=UTC)


def test_writes_utc_time_through_2049_and_generalized_time_after() -> None:
    draft = root_draft(not_after=datetime(2050, 1, 1, 11, 59, 59, tzinfo=UTC))
    validity = Candidate(draft).second["tbs_certificate"]["validity"]
    assert (validity["not_before"].name, validity["not_after"].name) == ("utc_time", "general_time")
    lint_draft(draft)
