"""Drafts: certificates that are built, completely, and not yet signed by their issuer.

A draft holds a *copy*: its TBS with the issuer's algorithm and zeros for a signature. The copy is what gets linted, and
its TBS bytes are what gets signed (ADR 0001): there is no second build. What may be drafted at all is ``lint``'s.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import InputError
from sealwright.pki.crl_scope import crl_scope
from sealwright.pki.issuers import IssuerRecord, scheme_for
from sealwright.pki.keys import PublicKey, key_identifier, key_kind
from sealwright.pki.profiles import CertificateProfile, ProfileKind
from sealwright.pki.serials import SerialNumber, format_serial
from sealwright.pki.settings import PKISettings
from sealwright.pki.signatures import SignatureScheme, hash_algorithm, rsa_padding
from sealwright.pki.table import CRITICAL, TABLE
from sealwright.pki.unsigned import nobody_like


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateDraft:
    """A certificate to be. ``issuer`` is None for a root, which signs itself."""

    profile: CertificateProfile
    settings: PKISettings
    issuer: IssuerRecord | None
    scheme: SignatureScheme
    public_key: PublicKey
    copy: x509.Certificate

    @property
    def tbs(self) -> bytes:
        """DER of the TBSCertificate (RFC 5280 4.1.1.1): what is linted, read aloud, reserved and signed."""
        return self.copy.tbs_certificate_bytes

    @property
    def signing_key(self) -> PublicKey:
        """The key that will have to verify the signature."""
        return self.public_key if self.issuer is None else self.issuer.public_key

    def __repr__(self) -> str:
        serial = format_serial(self.copy.serial_number)
        return f"<CertificateDraft {self.profile.name} {self.copy.subject.rfc4514_string()} {serial}>"


def draft_root(
    profile: CertificateProfile,
    *,
    settings: PKISettings,
    subject: x509.Name,
    public_key: PublicKey,
    serial: SerialNumber,
    not_before: datetime,
    not_after: datetime | None = None,
    scheme: SignatureScheme | None = None,
) -> CertificateDraft:
    """A self-signed root. ``scheme``: default that of ``ca/pki.toml``, else the key's."""
    return _draft(
        profile,
        settings=settings,
        issuer=None,
        scheme=scheme_for(key_kind(public_key), scheme or settings.root.scheme),
        subject=subject,
        public_key=public_key,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        san_uri=None,
    )


def draft_certificate(
    profile: CertificateProfile,
    *,
    issuer: IssuerRecord,
    subject: x509.Name,
    public_key: PublicKey,
    serial: SerialNumber,
    not_before: datetime,
    san_uri: str | None = None,
    not_after: datetime | None = None,
) -> CertificateDraft:
    """A certificate under ``issuer``. It is never clipped to fit: ``lint_draft`` refuses what outlives its issuer.

    ``not_after``: default the profile's validity, inclusive (RFC 5280 4.1.2.5): N days less one second.
    """
    return _draft(
        profile,
        settings=issuer.settings,
        issuer=issuer,
        scheme=issuer.scheme,
        subject=subject,
        public_key=public_key,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
        san_uri=san_uri,
    )


def _draft(
    profile: CertificateProfile,
    *,
    settings: PKISettings,
    issuer: IssuerRecord | None,
    scheme: SignatureScheme,
    subject: x509.Name,
    public_key: PublicKey,
    serial: SerialNumber,
    not_before: datetime,
    not_after: datetime | None,
    san_uri: str | None,
) -> CertificateDraft:
    if not_after is None:
        not_after = not_before + timedelta(days=profile.validity_days) - timedelta(seconds=1)
    _check_moment(not_before)
    _check_moment(not_after)
    if (profile.kind is ProfileKind.CODE_SIGNING) != (san_uri is not None):
        raise InputError(f"draft of {profile.name}: a SAN URI belongs to code signing, and always")
    builder = x509.CertificateBuilder(
        issuer_name=subject if issuer is None else issuer.certificate.subject,
        subject_name=subject,
        public_key=public_key,
        serial_number=serial,
        not_valid_before=not_before,
        not_valid_after=not_after,
        extensions=_extensions(profile, issuer, public_key, san_uri, crl_scope(profile.crl_partitions, serial)),
    )
    nobody = nobody_like(public_key if issuer is None else issuer.public_key)
    copy = builder.sign(nobody, hash_algorithm(scheme), rsa_padding=rsa_padding(scheme))
    return CertificateDraft(
        profile=profile,
        settings=settings,
        issuer=issuer,
        scheme=scheme,
        public_key=public_key,
        copy=x509.load_der_x509_certificate(copy.public_bytes(Encoding.DER)),
    )


def _check_moment(moment: datetime) -> None:
    if moment.utcoffset() != timedelta(0) or moment.microsecond:
        raise InputError(f"draft: moment is {moment.isoformat()}; wanted UTC and whole seconds")


def _extensions(
    profile: CertificateProfile, issuer: IssuerRecord | None, public_key: PublicKey, san_uri: str | None, scope: str
) -> list[x509.Extension[x509.ExtensionType]]:
    """The kind's column of the table, in its order, with its criticality."""
    values = {value.oid: value for value in _values(profile, issuer, public_key, san_uri, scope)}
    return [
        x509.Extension(oid, critical is CRITICAL, values[oid]) for oid, critical in profile.table.extensions.items()
    ]


def _values(
    profile: CertificateProfile, issuer: IssuerRecord | None, public_key: PublicKey, san_uri: str | None, scope: str
) -> list[x509.ExtensionType]:
    values = [*_values_of_kind(profile.kind), x509.SubjectKeyIdentifier(key_identifier(public_key))]
    if san_uri is not None:
        values.append(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(san_uri)]))
    if issuer is not None:
        values += _issuer_values(
            issuer.settings.policy.oid,
            crl_url=issuer.crl_url(scope),
            issuer_url=issuer.issuer_url,
            ocsp_url=issuer.ocsp_url if profile.table.ocsp_url else None,
            key_identifier=issuer.key_identifier,
        )
    return values


@cache
def _values_of_kind(kind: ProfileKind) -> tuple[x509.ExtensionType, ...]:
    """What every certificate of a kind has alike."""
    table = TABLE[kind]
    usages = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    values: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=table.is_ca, path_length=table.path_length),
        x509.KeyUsage(**usages | dict.fromkeys(table.key_usage, True)),
        x509.OCSPNoCheck(),
    ]
    if table.extended_key_usage is not None:
        values.append(x509.ExtendedKeyUsage([table.extended_key_usage]))
    return tuple(values)


@lru_cache(maxsize=1024)  # one for each partition of an issuer's CRL
def _issuer_values(
    policy_oid: str, *, crl_url: str, issuer_url: str, ocsp_url: str | None, key_identifier: bytes
) -> tuple[x509.ExtensionType, ...]:
    policy = x509.PolicyInformation(x509.ObjectIdentifier(policy_oid), None)
    crl = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
    method = x509.oid.AuthorityInformationAccessOID
    access = [x509.AccessDescription(method.CA_ISSUERS, x509.UniformResourceIdentifier(issuer_url))]
    if ocsp_url is not None:
        access.append(x509.AccessDescription(method.OCSP, x509.UniformResourceIdentifier(ocsp_url)))
    return (
        x509.CertificatePolicies([policy]),
        x509.CRLDistributionPoints([crl]),
        x509.AuthorityInformationAccess(access),
        # keyIdentifier alone, as the issuer's SKI has it (RFC 5280 4.2.1.1).
        x509.AuthorityKeyIdentifier(key_identifier, None, None),
    )
