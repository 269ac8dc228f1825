"""Which of a CA's CRLs a certificate is on: the full list, or one partition of it.

A certificate's partition is fixed when it is issued: its URL is its CRL distribution point, and follows from its serial
and from how many partitions its profile had then. The name says both (``p128-5``), so that a profile may have another
number of them later. "" is the full list, which has every certificate of the CA, whatever partition it is in.
"""

import re
from typing import Final

from cryptography import x509

from sealwright.pki.signatures import SignatureScheme, assemble_signed

FULL: Final = ""
SCOPE_PATTERN: Final = r"p[1-9][0-9]{0,3}-(0|[1-9][0-9]{0,3})"

_IN_TBS = re.compile(rb"\.p[0-9]{1,4}-[0-9]{1,4}\.crl")
_URL = re.compile(rf".*/crl/[a-z0-9][a-z0-9._-]*\.(?P<scope>{SCOPE_PATTERN})\.crl")


def crl_scope(partitions: int, serial: int) -> str:
    """The scope of a certificate with this serial, of a profile with so many partitions; 0: the full list."""
    return f"p{partitions}-{serial % partitions}" if partitions else FULL


def all_scopes(partitions: int) -> tuple[str, ...]:
    """Every partition of a profile with so many."""
    return tuple(crl_scope(partitions, number) for number in range(partitions))


def crl_file_name(ca_id: str, scope: str = FULL) -> str:
    return f"{ca_id}.{scope}.crl" if scope else f"{ca_id}.crl"


def crl_public_path(ca_id: str, scope: str = FULL) -> str:
    """The path of its URL."""
    return f"/crl/{crl_file_name(ca_id, scope)}"


def scope_of_path(path: str, ca_id: str) -> str | None:
    """The scope of a CRL of this CA by the path of its URL; None where it is none of this CA's."""
    if path == crl_public_path(ca_id):
        return FULL
    prefix, suffix = f"/crl/{ca_id}.", ".crl"
    scope = path[len(prefix) : -len(suffix)]
    return scope if path == f"{prefix}{scope}{suffix}" and re.fullmatch(SCOPE_PATTERN, scope) else None


def scope_of_tbs(tbs: bytes) -> str | None:
    """The partition that the CRL distribution point of a TBSCertificate names; None: the full list."""
    if not _IN_TBS.search(tbs):  # of a million, hardly one has to be parsed
        return None
    # What is parsed is a certificate, so the TBS gets a signature; nobody looks at it.
    certificate = x509.load_der_x509_certificate(assemble_signed(tbs, SignatureScheme.ECDSA_SHA256, bytes(8)))
    points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    urls = [str(name.value) for point in points for name in point.full_name or ()]
    return scope_of_url(urls[0]) if len(urls) == 1 else None


def scope_of_crl(crl: x509.CertificateRevocationList) -> str | None:
    """By its IssuingDistributionPoint; the full list has none. None: it is a partition that no CA here makes."""
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return FULL
    urls = [str(name.value) for name in point.full_name or ()]
    return scope_of_url(urls[0]) if len(urls) == 1 else None


def scope_of_url(url: str) -> str | None:
    """The partition whose URL this is; None: the full list's, or another."""
    found = _URL.fullmatch(url)
    return found["scope"] if found else None
