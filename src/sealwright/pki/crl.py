"""Certificate revocation lists: draft, lint, sign those very bytes (RFC 5280 section 5).

The bytes are assembled from entries that are encoded one by one, so that a list of a million is joined and not rebuilt.
Leaves to others: which serials are revoked, and since when (the ledger), the next CRLNumber (the signer), and when to
make one (the standing order). No delta. Full lists have no IssuingDistributionPoint, which NSS cannot import; a
partition has one. Lists of a million entries are ``crl_book``'s.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from cryptography import x509

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.crl_rules import EXPIRED_CERTS_ON_CRL, CRLKind, check_crl, check_pkilint, crl_kind
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import PrivateKey, key_kind, throwaway_key
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.signatures import algorithm_identifier, assemble_signed, sign_bytes, verify_bytes

__all__ = [
    "CRLDraft",
    "CRLKind",
    "LintedCRL",
    "RevocationEntry",
    "RevocationReason",
    "crl_kind",
    "draft_crl",
    "encode_entry",
    "lint_crl",
    "read_crl",
    "reason_of",
    "sign_crl",
]

_AKI = der.oid("2.5.29.35")
_CRL_NUMBER = der.oid("2.5.29.20")
_CRL_REASON = der.oid("2.5.29.21")
_INVALIDITY_DATE = der.oid("2.5.29.24")
_IDP = der.oid("2.5.29.28")
_TRUE = der.encode(0x01, b"\xff")
_EXPIRED_CERTS = der.oid(EXPIRED_CERTS_ON_CRL)

_PKILINT_ENTRIES = 64
"""pkilint takes some 0.2 ms an entry: of a longer list it sees the same head and tail around this many entries, one of
each reason among them. Our own rules see every entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLDraft:
    """An unsigned list: its bytes, and beside them the same bytes around fewer entries, for pkilint."""

    issuer: IssuerRecord
    kind: CRLKind
    tbs: bytes
    sample_tbs: bytes
    distribution_point: str | None = None
    """The URL in the IssuingDistributionPoint of a partition, and in the certificates of that partition."""


_MADE_HERE = object()


class LintedCRL:
    """Proof that a draft passed ``lint_crl``, which alone makes one; it cannot be changed."""

    __slots__ = ("_draft",)
    _draft: CRLDraft

    def __init__(self, draft: CRLDraft, *, made_by: object) -> None:
        if made_by is not _MADE_HERE:
            raise TypeError("a LintedCRL comes from lint_crl only")
        object.__setattr__(self, "_draft", draft)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a LintedCRL does not change: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LintedCRL does not leave the process that linted it")

    @property
    def draft(self) -> CRLDraft:
        """What was linted."""
        return self._draft

    @property
    def tbs(self) -> bytes:
        """The bytes that were linted and will be signed."""
        return self._draft.tbs


def encode_entry(entry: RevocationEntry, kind: CRLKind) -> bytes:
    """DER of one revokedCertificates element.

    invalidityDate equals revocationDate where it is present (CSBR 7.2.2), and on an end entity's entry it is.
    """
    extensions = []
    if entry.reason is not None:
        extensions.append(der.extension(_CRL_REASON, der.integer(entry.reason.code, tag=der.ENUMERATED)))
    if kind is CRLKind.CRL:
        extensions.append(der.extension(_INVALIDITY_DATE, der.generalized_time(entry.revocation_date)))
    parts = [der.integer(entry.serial), der.time(entry.revocation_date)]
    if extensions:
        parts.append(der.sequence(*extensions))
    return der.sequence(*parts)


def draft_crl(
    *,
    issuer: IssuerRecord,
    number: int,
    this_update: datetime,
    next_update: datetime,
    entries: Iterable[RevocationEntry],
    expired_certs_since: datetime | None,
    distribution_point: str | None = None,
) -> CRLDraft:
    """The TBSCertList with ``entries`` in the order given. ``number`` is the caller's to increase, always.

    ``expired_certs_since``: certificates that expired after it are still listed (an end-entity list must say).
    ``distribution_point``: of a partition; None for a full list.
    """
    kind = crl_kind(issuer.certificate)
    encoded: list[bytes] = []
    sample: dict[RevocationReason | None, bytes] = {}
    for entry in entries:
        _check_whole_seconds(f"revocationDate of serial {entry.serial:x}", entry.revocation_date)
        encoded.append(encode_entry(entry, kind))
        sample.setdefault(entry.reason, encoded[-1])
    head, tail = draft_frame(
        issuer=issuer,
        number=number,
        this_update=this_update,
        next_update=next_update,
        expired_certs_since=expired_certs_since,
        distribution_point=distribution_point,
    )
    tbs = assemble_tbs(head, encoded, tail)
    few = len(encoded) <= _PKILINT_ENTRIES
    sample_tbs = (
        tbs if few else assemble_tbs(head, [*sample.values(), *encoded[len(sample) - _PKILINT_ENTRIES :]], tail)
    )
    return CRLDraft(issuer=issuer, kind=kind, tbs=tbs, sample_tbs=sample_tbs, distribution_point=distribution_point)


def draft_frame(
    *,
    issuer: IssuerRecord,
    number: int,
    this_update: datetime,
    next_update: datetime,
    expired_certs_since: datetime | None,
    distribution_point: str | None,
) -> tuple[bytes, bytes]:
    """What stands before and behind revokedCertificates in a TBSCertList."""
    for name, moment in (("thisUpdate", this_update), ("nextUpdate", next_update)):
        _check_whole_seconds(name, moment)
    head = b"".join(
        (
            der.integer(1),  # v2
            algorithm_identifier(issuer.scheme),
            issuer.subject_bytes,
            der.time(this_update),
            der.time(next_update),
        )
    )
    extensions = [
        der.extension(_AKI, der.sequence(der.encode(der.context(0, constructed=False), issuer.key_identifier))),
        der.extension(_CRL_NUMBER, der.integer(number)),
    ]
    if expired_certs_since is not None:
        _check_whole_seconds("expiredCertsOnCRL", expired_certs_since)
        extensions.append(der.extension(_EXPIRED_CERTS, der.generalized_time(expired_certs_since)))
    if distribution_point is not None:
        extensions.append(_issuing_distribution_point(distribution_point))
    return head, der.encode(der.context(0), der.sequence(*extensions))


def _issuing_distribution_point(url: str) -> bytes:
    """RFC 5280 5.2.5, critical: this list has the certificates that name ``url``, and end entities' only.

    The DistributionPointName is encoded as in the certificates' CDP: their octets are compared.
    """
    full_name = der.encode(der.context(0), der.encode(der.context(6, constructed=False), url.encode("ascii")))
    only_user_certs = der.encode(der.context(1, constructed=False), b"\xff")
    value = der.sequence(der.encode(der.context(0), full_name), only_user_certs)
    return der.sequence(_IDP, _TRUE, der.octet_string(value))


def lint_crl(draft: CRLDraft) -> LintedCRL:
    """Every rule of ``crl_rules`` and pkilint, on a copy of the same bytes signed by a throw-away key."""
    check_crl(draft.kind, draft.issuer.certificate, _copy(draft, draft.tbs), draft.distribution_point)
    check_pkilint(draft.kind, _copy(draft, draft.sample_tbs))
    return LintedCRL(draft, made_by=_MADE_HERE)


def sign_crl(linted: LintedCRL, key: PrivateKey) -> x509.CertificateRevocationList:
    """Sign exactly the linted bytes, and believe nothing about it: IntegrityError unless it is the issuer's."""
    if not isinstance(linted, LintedCRL):  # for callers without a type checker
        raise TypeError(f"sign_crl: got {type(linted).__name__}; wanted what lint_crl returned")
    draft = linted.draft
    signature = sign_bytes(key, draft.issuer.scheme, draft.tbs)
    crl = x509.load_der_x509_crl(assemble_signed(draft.tbs, draft.issuer.scheme, signature))
    if crl.tbs_certlist_bytes != draft.tbs:
        raise IntegrityError("CRL: its TBS, parsed again, is not the one that was linted")
    verify_bytes(draft.issuer.public_key, draft.issuer.scheme, crl.tbs_certlist_bytes, crl.signature)
    return crl


def read_crl(data: bytes, ca: x509.Certificate) -> tuple[x509.CertificateRevocationList, int]:
    """A CRL made elsewhere or earlier, and its number: IntegrityError unless ``ca`` signed it, with a nextUpdate."""
    try:
        crl = x509.load_der_x509_crl(data)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        ours = crl.issuer == ca.subject and crl.is_signature_valid(ca.public_key())  # type: ignore[arg-type]  # a CA's key
    except (ValueError, TypeError, x509.InvalidVersion, x509.ExtensionNotFound, x509.DuplicateExtension) as error:
        raise IntegrityError(f"CRL cannot be read: {error}") from error
    if not ours or crl.next_update_utc is None:
        raise IntegrityError("CRL is not signed by its CA, or has no nextUpdate")
    return crl, number


def reason_of(entry: x509.RevokedCertificate) -> RevocationReason | None:
    """None where there is none, or one that we never give."""
    try:
        flag = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return None
    return next((reason for reason in RevocationReason if reason.value == flag.value), None)


def _copy(draft: CRLDraft, tbs: bytes) -> bytes:
    key = throwaway_key(key_kind(draft.issuer.public_key))
    return assemble_signed(tbs, draft.issuer.scheme, sign_bytes(key, draft.issuer.scheme, tbs))


def assemble_tbs(head: bytes, entries: list[bytes], tail: bytes) -> bytes:
    """DER of a TBSCertList around entries that are encoded already."""
    # RFC 5280 5.1.2.6: with nothing revoked the list is absent, not empty.
    length = sum(map(len, entries))
    revoked = (der.header(der.SEQUENCE, length), *entries) if entries else ()
    total = len(head) + sum(map(len, revoked)) + len(tail)
    return b"".join((der.header(der.SEQUENCE, total), head, *revoked, tail))


def _check_whole_seconds(name: str, moment: datetime) -> None:
    if moment.tzinfo is None or moment.microsecond:
        raise PolicyViolation(f"{name} is {moment!r}; wanted a UTC-aware time in whole seconds", rule="CRL-TIME")
