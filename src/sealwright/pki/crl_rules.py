"""What a CRL must be, rule by rule, on the bytes that will be signed. Each check raises its id.

The copy is read by pyca's parser, which had no part in writing it; pkilint is the third reader. The rules are those of
RFC 5280 section 5 and CSBR 7.2 as ``ca/policy.md`` takes them.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from sealwright.errors import PolicyViolation
from sealwright.pki import der
from sealwright.pki.lint import check_findings, pkilint_findings
from sealwright.pki.revocation import END_ENTITY_REASONS, RevocationReason
from sealwright.pki.serials import LARGEST_SERIAL

EXPIRED_CERTS_ON_CRL = "2.5.29.60"
"""X.509 (10/2019) 9.5.2.8: revoked certificates that expired after this moment are still listed."""


class CRLKind(StrEnum):
    """Whose certificates are listed: a root's list of CAs (ARL) or an issuing CA's list of end entities."""

    CRL = "CRL"
    ARL = "ARL"


MAXIMUM_VALIDITY = {CRLKind.CRL: timedelta(days=10), CRLKind.ARL: timedelta(days=365)}
"""nextUpdate - thisUpdate at most (CSBR 4.9.7)."""

_EXTENSIONS = frozenset({"2.5.29.35", "2.5.29.20", EXPIRED_CERTS_ON_CRL})


@dataclass(frozen=True, slots=True)
class _Subject:
    """What the rules look at: the draft's issuer and kind, and the copy as pyca reads it."""

    kind: CRLKind
    ca: x509.Certificate
    crl: x509.CertificateRevocationList
    distribution_point: str | None = None

    @property
    def this_update(self) -> datetime:
        return self.crl.last_update_utc


def crl_kind(ca: x509.Certificate) -> CRLKind:
    """A root lists CAs, an issuing CA (pathLen 0) lists end entities."""
    return CRLKind.ARL if ca.subject == ca.issuer else CRLKind.CRL


def check_crl(kind: CRLKind, ca: x509.Certificate, copy: bytes, distribution_point: str | None = None) -> None:
    """All rules below, in order; the first that fails is raised. ``distribution_point``: a partition's."""
    try:
        crl = x509.load_der_x509_crl(copy)
        subject = _Subject(kind, ca, crl, distribution_point)
        for check in CRL_CHECKS:
            check(subject)
    except (ValueError, x509.DuplicateExtension) as error:
        raise PolicyViolation(f"the CRL cannot be read back: {error}", rule="CRL-DER") from error


def _refuse(rule: str, message: str) -> PolicyViolation:
    return PolicyViolation(message, rule=rule)


def check_issuer(subject: _Subject) -> None:
    """RFC 5280 5.1.2.3: the issuer is the CA's subject, and the CA may sign CRLs (4.2.1.3)."""
    if subject.crl.issuer.public_bytes() != subject.ca.subject.public_bytes():
        raise _refuse("CRL-ISSUER", "the CRL's issuer is not the CA's subject, octet for octet")
    if not subject.ca.extensions.get_extension_for_class(x509.KeyUsage).value.crl_sign:
        raise _refuse("CRL-ISSUER", "the CA's certificate has no cRLSign")


def check_extensions(subject: _Subject) -> None:
    """RFC 5280 5.2: these three, none critical; of a partition the IDP too. No delta."""
    for found in subject.crl.extensions:
        if found.oid == ExtensionOID.ISSUING_DISTRIBUTION_POINT and subject.distribution_point is not None:
            continue
        if found.oid.dotted_string not in _EXTENSIONS or found.critical:
            raise _refuse(
                "CRL-EXTENSIONS", f"the CRL has a {'critical ' * found.critical}extension {found.oid.dotted_string}"
            )


def check_distribution_point(subject: _Subject) -> None:
    """RFC 5280 5.2.5, 6.3.3: a partition says which one it is, as its certificates say it; NSS cannot import that,
    so a full list has none. Critical; of all the rest only onlyContainsUserCerts, for the CA issues no other."""
    url = subject.distribution_point
    if url is None:
        return  # check_extensions has refused one already
    wanted = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(url)],
        relative_name=None,
        only_contains_user_certs=True,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    try:
        found = subject.crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    except x509.ExtensionNotFound:
        raise _refuse("CRL-IDP", "a partition does not say which one it is") from None
    if not found.critical or found.value != wanted or subject.kind is not CRLKind.CRL:
        raise _refuse("CRL-IDP", f"the IssuingDistributionPoint is not {url}, critical, for end entities only")


def check_authority_key(subject: _Subject) -> None:
    """RFC 5280 5.2.1: the AKI, in its key identifier form, is the CA's SKI."""
    wanted = subject.ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    if _extension(subject.crl, x509.AuthorityKeyIdentifier, "CRL-AKI").key_identifier != wanted:
        raise _refuse("CRL-AKI", "the CRL's authority key identifier is not the CA's subject key identifier")


def check_number(subject: _Subject) -> None:
    """RFC 5280 5.2.3: 20 octets at most; here from 1 on. That it increases is the signer's and the sync's to check."""
    number = _extension(subject.crl, x509.CRLNumber, "CRL-NUMBER").crl_number
    if not 1 <= number <= LARGEST_SERIAL:
        raise _refuse("CRL-NUMBER", f"CRLNumber is {number:#x}; wanted 1 or more in at most 20 octets")


def check_validity(subject: _Subject) -> None:
    """CSBR 4.9.7 and RFC 5280 5.1.2.5: a nextUpdate, later than thisUpdate, not too late, within the CA's life."""
    this_update, next_update = subject.this_update, subject.crl.next_update_utc
    if next_update is None or next_update <= this_update:
        raise _refuse("CRL-NEXT-UPDATE", f"nextUpdate is {next_update}; wanted one later than thisUpdate {this_update}")
    most = MAXIMUM_VALIDITY[subject.kind]
    if next_update - this_update > most:
        raise _refuse("CRL-VALIDITY", f"the CRL is valid {next_update - this_update}; wanted {most.days} days or less")
    if this_update < subject.ca.not_valid_before_utc or next_update > subject.ca.not_valid_after_utc:
        raise _refuse("CRL-WINDOW", f"the CRL runs {this_update} to {next_update}, outside its CA's own validity")


def check_retention(subject: _Subject) -> None:
    """X.509 9.5.2.8: an end-entity list says since when it keeps expired certificates (10 years here)."""
    try:
        found = subject.crl.extensions.get_extension_for_oid(x509.ObjectIdentifier(EXPIRED_CERTS_ON_CRL)).value
    except x509.ExtensionNotFound:
        if subject.kind is CRLKind.CRL:
            raise _refuse("CRL-RETENTION", "the CRL does not say since when it keeps expired certificates") from None
        return
    since = der.read_generalized_time(found.value) if isinstance(found, x509.UnrecognizedExtension) else None
    if since is None or since > subject.this_update:
        raise _refuse("CRL-RETENTION", f"expiredCertsOnCRL is {since}; wanted a GeneralizedTime up to thisUpdate")


def check_entries(subject: _Subject) -> None:
    """RFC 5280 5.3 and CSBR 7.2.2, entry by entry."""
    seen: set[int] = set()
    for entry in subject.crl:
        serial, revoked = entry.serial_number, entry.revocation_date_utc
        if not 1 <= serial <= LARGEST_SERIAL:
            raise _refuse("CRL-SERIAL", f"an entry's serial is {serial:x}; wanted a positive one of at most 20 octets")
        if serial in seen:
            raise _refuse("CRL-DUPLICATE", f"serial {serial:x} is listed twice")
        seen.add(serial)
        if revoked > subject.this_update:
            raise _refuse("CRL-REVOCATION-DATE", f"serial {serial:x} is revoked {revoked}, after thisUpdate")
        reason = invalidity = None
        for found in entry.extensions:
            match found.value:
                case x509.CRLReason(reason=flag) if not found.critical:
                    reason = flag.value
                case x509.InvalidityDate(invalidity_date_utc=moment) if not found.critical:
                    invalidity = moment
                case _:
                    raise _refuse("CRL-EXTENSIONS", f"serial {serial:x} has an extension {found.oid.dotted_string}")
        allowed = END_ENTITY_REASONS if subject.kind is CRLKind.CRL else frozenset(RevocationReason)
        if reason is not None and reason not in allowed:
            raise _refuse("CRL-REASON", f"serial {serial:x} has reason {reason}, which a {subject.kind} here never has")
        if invalidity != (revoked if subject.kind is CRLKind.CRL else None):
            raise _refuse(
                "CRL-INVALIDITY-DATE", f"serial {serial:x}: invalidityDate is {invalidity}, revocationDate {revoked}"
            )


CRL_CHECKS: tuple[Callable[[_Subject], None], ...] = (
    check_issuer,
    check_extensions,
    check_distribution_point,
    check_authority_key,
    check_number,
    check_validity,
    check_retention,
    check_entries,
)


def check_pkilint(kind: CRLKind, copy: bytes) -> None:
    """pkilint's RFC 5280 and CA/B rules; a finding of WARNING or worse is raised under ``PKILINT:<code>``."""
    from pkilint import loader

    document = loader.RFC5280CertificateListDocumentLoader().load_der_document(copy)
    check_findings(kind.value, pkilint_findings(_validators(kind), document))


@functools.cache
def _validators(kind: CRLKind) -> Any:
    # As pkilint/bin/lint_crl.py builds them for `-p BR`. Imported when first used: pkilint takes half a second to load.
    from pkilint import pkix
    from pkilint.cabf import cabf_crl
    from pkilint.pkix import crl, extension, name

    pkilint_kind = crl.CertificateRevocationListType[kind]
    return crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([cabf_crl.create_validity_period_validator(pkilint_kind)]),
            crl.create_extensions_validator_container([]),
            cabf_crl.CabfCrlReasonCodeAllowlistValidator(pkilint_kind),
        ],
    )


_E = TypeVar("_E", bound=x509.ExtensionType)


def _extension(crl: x509.CertificateRevocationList, kind: type[_E], rule: str) -> _E:
    try:
        return crl.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        raise _refuse(rule, f"the CRL has no {kind.__name__}") from None
