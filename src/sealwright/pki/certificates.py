"""Certificates from draft to signature: the door of this room for everybody who issues.

``draft_*`` builds, ``lint_draft`` judges, ``sign_certificate`` signs exactly the bytes that were judged. Who may ask
for one, and where its serial is reserved, is ``issuing``'s and ``ceremony``'s.
"""

from cryptography import x509

from sealwright.errors import IntegrityError
from sealwright.pki.drafts import CertificateDraft, draft_certificate, draft_root
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import PrivateKey
from sealwright.pki.lint import LintedDraft, lint_draft
from sealwright.pki.signatures import assemble_signed, sign_bytes, verify_bytes

__all__ = [
    "CertificateDraft",
    "IssuerRecord",
    "LintedDraft",
    "draft_certificate",
    "draft_root",
    "lint_draft",
    "sign_certificate",
]


def sign_certificate(linted: LintedDraft, key: PrivateKey) -> x509.Certificate:
    """Sign the linted TBS with the issuer's ``key``, and believe nothing about it.

    IntegrityError when the signature is not the issuer's or the assembled certificate has other TBS bytes; the
    caller then treats the serial as used.
    """
    if not isinstance(linted, LintedDraft):  # for callers without a type checker
        raise TypeError(f"sign_certificate: got {type(linted).__name__}; wanted what lint_draft returned")
    draft = linted.draft
    signature = sign_bytes(key, draft.scheme, draft.tbs)
    certificate = x509.load_der_x509_certificate(assemble_signed(draft.tbs, draft.scheme, signature))
    if certificate.tbs_certificate_bytes != draft.tbs:
        raise IntegrityError("certificate: its TBS, parsed again, is not the one that was linted")
    verify_bytes(draft.signing_key, draft.scheme, certificate.tbs_certificate_bytes, certificate.signature)
    return certificate
