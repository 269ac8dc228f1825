"""Pre-signed OCSP answers: draft, lint, sign those very bytes (RFC 6960, RFC 9919).

One SingleResponse, byKey, with nextUpdate and whole seconds, producedAt = thisUpdate, and the CertID form that will be
asked: two answers per certificate. An ``AnswerTemplate`` holds all that answers of one responder share, so that each
answer is spliced and not built. Leaves to others: which certificates have answers and when (``publication``), serving.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.keys import PrivateKey, PublicKey, key_identifier, key_kind, spki_der, throwaway_key
from sealwright.pki.lint import LintedDraft
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.pki.ocsp_rules import check_answer, check_pkilint, check_responder
from sealwright.pki.revocation import RevocationEntry
from sealwright.pki.serials import SerialNumber
from sealwright.pki.signatures import SignatureScheme, algorithm_identifier, default_scheme, sign_bytes, verify_bytes

__all__ = [
    "AnswerTemplate",
    "CertIDForm",
    "CertificateStatus",
    "LintedAnswer",
    "OCSPDraft",
    "assemble_answer",
    "cert_id",
    "draft_ocsp_answer",
    "lint_ocsp_answer",
    "sign_ocsp_answer",
]

_ARCHIVE_CUTOFF = der.oid("1.3.6.1.5.5.7.48.1.6")
_BASIC = der.oid("1.3.6.1.5.5.7.48.1.1")
_NULL = der.encode(der.NULL)
_HASHES = {
    CertIDForm.SHA1: der.sequence(der.oid("1.3.14.3.2.26"), _NULL),
    CertIDForm.SHA256: der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), _NULL),
}
_GOOD = der.encode(der.context(0, constructed=False))


class CertificateStatus(NamedTuple):
    """What an answer says: good, or revoked as the CRL says it. A serial never issued has no answer."""

    serial: SerialNumber
    revoked: RevocationEntry | None = None


def cert_id(form: CertIDForm, issuer: x509.Certificate) -> tuple[bytes, bytes]:
    """(issuerNameHash, issuerKeyHash) of a CertID (RFC 6960 4.1.1)."""

    def digest(data: bytes) -> bytes:
        # SHA-1 is the CertID's name for an issuer, not a protection.
        return hashlib.new(form.value, data, usedforsecurity=False).digest()

    public: PublicKey = issuer.public_key()  # type: ignore[assignment]  # a CA of ours; spki_der reads any
    encoded = spki_der(public)
    at, end = der.read(encoded, 0, len(encoded), der.SEQUENCE)
    _, at = der.read(encoded, at, end, der.SEQUENCE)  # the algorithm
    start, stop = der.read(encoded, at, end, der.BIT_STRING)
    return digest(issuer.subject.public_bytes()), digest(encoded[start + 1 : stop])  # without the unused-bits octet


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTemplate:
    """What all answers by one responder certificate share. ``of`` makes it, once the responder is found good."""

    issuer: x509.Certificate
    responder: x509.Certificate
    public_key: PublicKey
    scheme: SignatureScheme
    responder_id: bytes
    cert_ids: dict[CertIDForm, bytes]
    certificates: bytes

    @classmethod
    def of(cls, issuer: x509.Certificate, responder: x509.Certificate) -> "AnswerTemplate":
        """PolicyViolation OCSP-RESPONDER unless ``issuer`` made ``responder`` for OCSP (RFC 6960 4.2.2.2)."""
        check_responder(issuer, responder)
        return cls._of(issuer, responder)

    @classmethod
    def of_copy(cls, linted: LintedDraft) -> "AnswerTemplate":
        """Before the responder's certificate is signed: with its copy, which was linted. The ResponseData is the same;
        what is assembled around it is for the linter alone, and no verifier takes it."""
        if linted.issuer is None or linted.profile.table.extended_key_usage != ExtendedKeyUsageOID.OCSP_SIGNING:
            raise PolicyViolation(
                f"OCSP answer: profile {linted.profile.name} makes no responder", rule="OCSP-RESPONDER"
            )
        return cls._of(linted.issuer.certificate, linted.certificate)

    @classmethod
    def _of(cls, issuer: x509.Certificate, responder: x509.Certificate) -> "AnswerTemplate":
        public: PublicKey = responder.public_key()  # type: ignore[assignment]  # key_kind refuses every other
        return cls(
            issuer=issuer,
            responder=responder,
            public_key=public,
            scheme=default_scheme(key_kind(public)),
            responder_id=der.encode(der.context(2), der.octet_string(key_identifier(public))),
            cert_ids={
                form: _HASHES[form] + b"".join(der.octet_string(each) for each in cert_id(form, issuer))
                for form in CertIDForm
            },
            certificates=der.encode(der.context(0), der.sequence(responder.public_bytes(Encoding.DER))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OCSPDraft:
    """An unsigned answer: the ResponseData and what it is to say."""

    template: AnswerTemplate
    form: CertIDForm
    status: CertificateStatus
    tbs: bytes


_MADE_HERE = object()


class LintedAnswer:
    """Proof that a draft passed ``lint_ocsp_answer``, which alone makes one; it cannot be changed."""

    __slots__ = ("_draft",)
    _draft: OCSPDraft

    def __init__(self, draft: OCSPDraft, *, made_by: object) -> None:
        if made_by is not _MADE_HERE:
            raise TypeError("a LintedAnswer comes from lint_ocsp_answer only")
        object.__setattr__(self, "_draft", draft)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a LintedAnswer does not change: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LintedAnswer does not leave the process that linted it")

    @property
    def draft(self) -> OCSPDraft:
        """What was linted."""
        return self._draft


def draft_ocsp_answer(
    template: AnswerTemplate,
    form: CertIDForm,
    status: CertificateStatus,
    *,
    this_update: datetime,
    next_update: datetime,
    archive_cutoff: datetime,
) -> OCSPDraft:
    """The ResponseData for one certificate. ``archive_cutoff``: those that expired after it are still answered for."""
    try:
        produced = der.generalized_time(this_update)
        certificate_status = _GOOD if status.revoked is None else _revoked(status.revoked)
        single = der.sequence(
            der.sequence(template.cert_ids[form], der.integer(status.serial)),
            certificate_status,
            produced,
            der.encode(der.context(0), der.generalized_time(next_update)),
            der.encode(
                der.context(1),
                der.sequence(der.extension(_ARCHIVE_CUTOFF, der.generalized_time(archive_cutoff))),
            ),
        )
    except ValueError as error:
        raise PolicyViolation(f"OCSP answer: {error}", rule="OCSP-TIME") from error
    tbs = der.sequence(template.responder_id, produced, der.sequence(single))
    return OCSPDraft(template=template, form=form, status=status, tbs=tbs)


def lint_ocsp_answer(draft: OCSPDraft, *, of_ca: bool = False) -> LintedAnswer:
    """Every rule of ``ocsp_rules`` and pkilint, on a copy of the same bytes signed by a throw-away key.

    ``of_ca``: as ``check_answer`` has it.
    """
    template = draft.template
    key = throwaway_key(key_kind(template.public_key))
    copy = assemble_answer(template, draft.tbs, sign_bytes(key, template.scheme, draft.tbs))
    check_answer(
        copy,
        responder=template.responder,
        form=draft.form,
        hashes=cert_id(draft.form, template.issuer),
        serial=draft.status.serial,
        revoked=draft.status.revoked,
        of_ca=of_ca,
    )
    check_pkilint(copy)
    return LintedAnswer(draft, made_by=_MADE_HERE)


def sign_ocsp_answer(linted: LintedAnswer, key: PrivateKey) -> bytes:
    """DER of the whole OCSPResponse: the linted bytes, signed. IntegrityError unless the key is the responder's."""
    if not isinstance(linted, LintedAnswer):  # for callers without a type checker
        raise TypeError(f"sign_ocsp_answer: got {type(linted).__name__}; wanted what lint_ocsp_answer returned")
    draft, template = linted.draft, linted.draft.template
    signature = sign_bytes(key, template.scheme, draft.tbs)
    verify_bytes(template.public_key, template.scheme, draft.tbs, signature)
    answer = assemble_answer(template, draft.tbs, signature)
    read = ocsp.load_der_ocsp_response(answer)
    if read.tbs_response_bytes != draft.tbs or read.signature != signature:
        raise IntegrityError("OCSP answer: its ResponseData, parsed again, is not the one that was linted")
    return answer


def _revoked(entry: RevocationEntry) -> bytes:
    reason = () if entry.reason is None else (_explicit_reason(entry.reason.code),)
    return der.encode(der.context(1), der.generalized_time(entry.revocation_date), *reason)


def _explicit_reason(code: int) -> bytes:
    return der.encode(der.context(0), der.integer(code, tag=der.ENUMERATED))


def assemble_answer(template: AnswerTemplate, tbs: bytes, signature: bytes) -> bytes:
    """DER of the OCSPResponse around a ResponseData and its signature (RFC 6960 4.2.1)."""
    # BasicOCSPResponse is a signed object with the certificates inside its SEQUENCE, after the signature.
    basic = der.sequence(
        tbs,
        algorithm_identifier(template.scheme),
        der.encode(der.BIT_STRING, b"\x00", signature),
        template.certificates,
    )
    return der.sequence(
        der.encode(der.ENUMERATED, b"\x00"),  # successful
        der.encode(der.context(0), der.sequence(_BASIC, der.octet_string(basic))),
    )
