"""An issuer's own record: its certificate, how it signs, and the URLs that stand in what it issues."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki.keys import KeyKind, PublicKey, key_kind, spki_der
from sealwright.pki.settings import PKISettings
from sealwright.pki.signatures import SignatureScheme, default_scheme, schemes_of


@dataclass(frozen=True, slots=True)
class IssuerRecord:
    """Always the ISSUER's, never the subject's: a root's record has the URLs that an issuing CA's certificate shows."""

    ca_id: str
    certificate: x509.Certificate
    scheme: SignatureScheme
    settings: PKISettings

    @classmethod
    def of(cls, certificate: x509.Certificate, settings: PKISettings, ca_id: str) -> "IssuerRecord":
        """The record of the CA ``ca_id`` of ``ca/pki.toml``. PKI-SIGNATURE-ALGORITHM if its scheme does not fit."""
        scheme = scheme_for(key_kind(_public_key(certificate)), settings.ca(ca_id).scheme)
        return cls(ca_id=ca_id, certificate=certificate, scheme=scheme, settings=settings)

    @property
    def public_key(self) -> PublicKey:
        """The CA's key, of a kind this PKI knows."""
        return _public_key(self.certificate)

    @property
    def subject_bytes(self) -> bytes:
        """DER of the subject; what this CA issues repeats these bytes as its issuer (RFC 5280 4.1.2.4)."""
        return _subject_bytes(self.certificate)

    @property
    def key_identifier(self) -> bytes:
        """The certificate's SubjectKeyIdentifier: the AuthorityKeyIdentifier of what this CA issues and of its CRLs."""
        extension = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        return extension.value.digest

    @property
    def der(self) -> bytes:
        """DER of the certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    def crl_url(self, scope: str = "") -> str:
        """Where this CA's CRL is, or one partition of it."""
        return self.settings.crl_url(self.ca_id, scope)

    @property
    def issuer_url(self) -> str:
        """Where this CA's certificate is."""
        return self.settings.issuer_url(self.ca_id)

    @property
    def ocsp_url(self) -> str:
        """Where OCSP is answered for what this CA issued."""
        return self.settings.ocsp_url


@lru_cache(maxsize=16)  # the same issuer is asked for every certificate
def _subject_bytes(certificate: x509.Certificate) -> bytes:
    return certificate.subject.public_bytes()


@lru_cache(maxsize=16)  # as above; decoding a point is dear
def _public_key(certificate: x509.Certificate) -> PublicKey:
    public = certificate.public_key()
    key_kind(public)
    return public  # type: ignore[return-value]  # key_kind raised for every other class


def scheme_for(kind: KeyKind, wanted: SignatureScheme | None) -> SignatureScheme:
    """``wanted`` if a CA key of this kind may sign so, the kind's default if nothing is wanted (CSBR 7.1.3)."""
    if wanted is None:
        return default_scheme(kind)
    if wanted not in schemes_of(kind):
        raise PolicyViolation(
            f"scheme is {wanted}; a {kind} key wants one of {', '.join(schemes_of(kind)) or 'none'}",
            rule="PKI-SIGNATURE-ALGORITHM",
            hint="leave `scheme` out of ca/pki.toml to get the key's default",
        )
    return wanted


def check_one_ca(certificates: Sequence[x509.Certificate], root: x509.Certificate) -> None:
    """That these are certificates of one CA, the newest first: one name, one key, each issued by ``root``.

    Raises ``IntegrityError``.
    """
    if not certificates:
        raise IntegrityError("there is no certificate of an issuing CA")
    newest = certificates[0]
    for each in certificates:
        try:
            each.verify_directly_issued_by(root)
        except (InvalidSignature, ValueError, TypeError):
            raise IntegrityError("it was not issued by the root") from None
        same = spki_der(each.public_key()) == spki_der(newest.public_key())  # type: ignore[arg-type]  # other kinds have other octets
        if each.subject != newest.subject or not same:
            raise IntegrityError("its certificates are not all of one CA: another name, or another key")
    begun = [each.not_valid_before_utc for each in certificates]
    if begun != sorted(set(begun), reverse=True):
        raise IntegrityError("its certificates do not stand in their order, the newest first")
