"""The certificate table of ``ca/policy.md`` as data: what each kind of certificate is made of, and its outer bounds.

``profiles`` may only narrow it, ``drafts`` builds from it, ``rules_*`` check against it. Sources: CSBR 7.1.2 and
6.3.2, RFC 5280 4.2, RFC 6960 4.2.2.2. Issuers, names and moments are not here.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, ObjectIdentifier

from sealwright.pki.keys import KeyKind


class ProfileKind(StrEnum):
    """The kinds of certificate that this PKI issues."""

    ROOT = "root"
    ISSUING_CA = "issuing-ca"
    CODE_SIGNING = "code-signing"
    OCSP_RESPONDER = "ocsp-responder"
    CROSS_ROOT = "cross-root"
    ROOT_OCSP = "root-ocsp"


CRITICAL, NON_CRITICAL = True, False


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTable:
    """One column of the table. ``extensions`` is complete: what it does not name is refused."""

    kind: ProfileKind
    is_ca: bool
    path_length: int | None
    key_usage: frozenset[str]  # names of pyca's KeyUsage attributes
    extended_key_usage: ObjectIdentifier | None
    extensions: dict[ObjectIdentifier, bool]  # OID -> critical
    ocsp_url: bool  # AIA names an OCSP responder
    keys: tuple[KeyKind, ...]
    longest_days: int
    issued_by: ProfileKind | None


_CA_USAGE = frozenset({"key_cert_sign", "crl_sign"})
_EC_AND_RSA = (KeyKind.RSA_3072, KeyKind.RSA_4096, KeyKind.P256, KeyKind.P384, KeyKind.P521)


def _years(years: int) -> int:
    """The most days that never exceed so many calendar years, wherever the leap days fall (2001 to 2099)."""
    return years * 365 + years // 4


TABLE: dict[ProfileKind, KindTable] = {
    ProfileKind.ROOT: KindTable(
        kind=ProfileKind.ROOT,
        is_ca=True,
        path_length=None,
        key_usage=_CA_USAGE,
        extended_key_usage=None,
        extensions={
            ExtensionOID.BASIC_CONSTRAINTS: CRITICAL,
            ExtensionOID.KEY_USAGE: CRITICAL,
            ExtensionOID.SUBJECT_KEY_IDENTIFIER: NON_CRITICAL,
        },
        ocsp_url=False,
        keys=(KeyKind.RSA_4096, KeyKind.P384, KeyKind.P521),
        longest_days=_years(35),
        issued_by=None,
    ),
    ProfileKind.ISSUING_CA: KindTable(
        kind=ProfileKind.ISSUING_CA,
        is_ca=True,
        path_length=0,
        key_usage=_CA_USAGE,
        extended_key_usage=ExtendedKeyUsageOID.CODE_SIGNING,
        extensions={
            ExtensionOID.BASIC_CONSTRAINTS: CRITICAL,
            ExtensionOID.KEY_USAGE: CRITICAL,
            ExtensionOID.EXTENDED_KEY_USAGE: NON_CRITICAL,
            ExtensionOID.CERTIFICATE_POLICIES: NON_CRITICAL,
            ExtensionOID.CRL_DISTRIBUTION_POINTS: NON_CRITICAL,
            ExtensionOID.AUTHORITY_INFORMATION_ACCESS: NON_CRITICAL,
            ExtensionOID.SUBJECT_KEY_IDENTIFIER: NON_CRITICAL,
            ExtensionOID.AUTHORITY_KEY_IDENTIFIER: NON_CRITICAL,
        },
        ocsp_url=False,  # the root's word is its CRL; its OCSP delegate repeats it for who asks (ADR 0017)
        keys=(KeyKind.RSA_4096, KeyKind.P384, KeyKind.P521),
        longest_days=_years(15),
        issued_by=ProfileKind.ROOT,
    ),
    ProfileKind.CODE_SIGNING: KindTable(
        kind=ProfileKind.CODE_SIGNING,
        is_ca=False,
        path_length=None,
        key_usage=frozenset({"digital_signature"}),
        extended_key_usage=ExtendedKeyUsageOID.CODE_SIGNING,
        extensions={
            ExtensionOID.BASIC_CONSTRAINTS: CRITICAL,
            ExtensionOID.KEY_USAGE: CRITICAL,
            ExtensionOID.EXTENDED_KEY_USAGE: NON_CRITICAL,
            ExtensionOID.CERTIFICATE_POLICIES: NON_CRITICAL,
            ExtensionOID.CRL_DISTRIBUTION_POINTS: NON_CRITICAL,
            ExtensionOID.AUTHORITY_INFORMATION_ACCESS: NON_CRITICAL,
            ExtensionOID.SUBJECT_ALTERNATIVE_NAME: NON_CRITICAL,
            ExtensionOID.SUBJECT_KEY_IDENTIFIER: NON_CRITICAL,
            ExtensionOID.AUTHORITY_KEY_IDENTIFIER: NON_CRITICAL,
        },
        ocsp_url=True,
        keys=_EC_AND_RSA,
        longest_days=460,
        issued_by=ProfileKind.ISSUING_CA,
    ),
    ProfileKind.OCSP_RESPONDER: KindTable(
        kind=ProfileKind.OCSP_RESPONDER,
        is_ca=False,
        path_length=None,
        key_usage=frozenset({"digital_signature"}),
        extended_key_usage=ExtendedKeyUsageOID.OCSP_SIGNING,
        extensions={
            ExtensionOID.BASIC_CONSTRAINTS: CRITICAL,
            ExtensionOID.KEY_USAGE: CRITICAL,
            ExtensionOID.EXTENDED_KEY_USAGE: NON_CRITICAL,
            ExtensionOID.AUTHORITY_INFORMATION_ACCESS: NON_CRITICAL,
            ExtensionOID.OCSP_NO_CHECK: NON_CRITICAL,
            ExtensionOID.SUBJECT_KEY_IDENTIFIER: NON_CRITICAL,
            ExtensionOID.AUTHORITY_KEY_IDENTIFIER: NON_CRITICAL,
        },
        ocsp_url=False,  # RFC 6960 4.2.2.2.1: nobody asks for the status of the one who answers
        keys=(KeyKind.P256, KeyKind.RSA_3072),
        longest_days=14,
        issued_by=ProfileKind.ISSUING_CA,
    ),
    ProfileKind.CROSS_ROOT: KindTable(
        kind=ProfileKind.CROSS_ROOT,
        is_ca=True,
        path_length=None,  # the subject is a root, and has issuing CAs
        key_usage=_CA_USAGE,
        extended_key_usage=None,  # it stands for the root: what that may, and no less
        extensions={
            ExtensionOID.BASIC_CONSTRAINTS: CRITICAL,
            ExtensionOID.KEY_USAGE: CRITICAL,
            ExtensionOID.CERTIFICATE_POLICIES: NON_CRITICAL,
            ExtensionOID.CRL_DISTRIBUTION_POINTS: NON_CRITICAL,
            ExtensionOID.AUTHORITY_INFORMATION_ACCESS: NON_CRITICAL,
            ExtensionOID.SUBJECT_KEY_IDENTIFIER: NON_CRITICAL,
            ExtensionOID.AUTHORITY_KEY_IDENTIFIER: NON_CRITICAL,
        },
        ocsp_url=False,
        keys=(KeyKind.RSA_4096, KeyKind.P384, KeyKind.P521),
        longest_days=_years(35),
        issued_by=ProfileKind.ROOT,
    ),
}
TABLE[ProfileKind.ROOT_OCSP] = replace(
    TABLE[ProfileKind.OCSP_RESPONDER],
    kind=ProfileKind.ROOT_OCSP,
    longest_days=366,  # as long as the answers that it vouches for: a year, and the day that begins (CSBR 4.9.10)
    issued_by=ProfileKind.ROOT,
)
"""The root's: the same certificate from another issuer, for answers that are made once a year."""
