"""OCSP answers by the hundred: one answer of each shape is linted, the others differ from it in known octets only.

A *shape* is a responder, a CertID form, a status with its reason, the three times, and the serial's length. Its first
answer is drafted and linted like any other (``ocsp.lint_ocsp_answer``: our rules and pkilint); then the octets of the
serial, and of a revoked one's revocationTime, are cut out of it. Whatever is put in has their length, so every tag,
length and other octet of what is signed is one that was linted; the two values have rules of their own, asked each
time.
See ADR 0009. Which serials, and when, is ``publication``'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from cryptography.x509 import ocsp

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.keys import PrivateKey
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    assemble_answer,
    draft_ocsp_answer,
    lint_ocsp_answer,
)
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import LARGEST_SERIAL
from sealwright.pki.signatures import sign_each, verify_bytes

_MADE_HERE = object()
_DATE_OCTETS = 15


@dataclass(frozen=True, slots=True)
class AnswerTimes:
    """thisUpdate (and producedAt), nextUpdate and archiveCutoff: UTC, whole seconds."""

    this_update: datetime
    next_update: datetime
    archive_cutoff: datetime


class AnswerShape:
    """Proof that an answer of this shape passed ``lint_shape``, which alone makes one; it cannot be changed."""

    __slots__ = (
        "_date_at",
        "_frames",
        "_reason",
        "_revoked",
        "_serial_at",
        "_tbs",
        "form",
        "serial_octets",
        "template",
        "times",
    )
    template: AnswerTemplate
    form: CertIDForm
    times: AnswerTimes
    serial_octets: int
    _tbs: bytes
    _serial_at: int
    _date_at: int
    _revoked: bool
    _reason: RevocationReason | None
    _frames: dict[int, tuple[bytes, bytes]]

    def __init__(
        self,
        template: AnswerTemplate,
        form: CertIDForm,
        times: AnswerTimes,
        sample: CertificateStatus,
        *,
        made_by: object,
    ) -> None:
        if made_by is not _MADE_HERE:
            raise TypeError("an AnswerShape comes from lint_shape only")
        if not 1 <= sample.serial <= LARGEST_SERIAL:
            raise PolicyViolation("OCSP answer: its serial is not positive, or over 20 octets", rule="OCSP-CERTID")
        draft = draft_ocsp_answer(
            template,
            form,
            sample,
            this_update=times.this_update,
            next_update=times.next_update,
            archive_cutoff=times.archive_cutoff,
        )
        linted = lint_ocsp_answer(draft)
        octets = sample.serial.bit_length() // 8 + 1
        prefix = template.cert_ids[form] + bytes((der.INTEGER, octets))
        at = linted.draft.tbs.index(prefix) + len(prefix)
        values = {
            "template": template,
            "form": form,
            "times": times,
            "serial_octets": octets,
            "_tbs": linted.draft.tbs,
            "_serial_at": at,
            "_date_at": at + octets + 4,  # behind [1], its length, and the GeneralizedTime's tag and length
            "_revoked": sample.revoked is not None,
            "_reason": sample.revoked.reason if sample.revoked else None,
            "_frames": {},
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an AnswerShape does not change: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("an AnswerShape does not leave the process that linted it")

    def fill(self, statuses: Sequence[CertificateStatus]) -> list[bytes]:
        """The ResponseData of each. PolicyViolation when one is not of this shape, or dated after thisUpdate."""
        at, end = self._serial_at, self._serial_at + self.serial_octets
        head, tail = self._tbs[:at], self._tbs[end:]
        serials = [self._serial(each) for each in statuses]
        if not self._revoked:
            return [b"".join((head, each, tail)) for each in serials]
        middle, tail = self._tbs[end : self._date_at], self._tbs[self._date_at + _DATE_OCTETS :]
        dates = [self._date(each) for each in statuses]
        return [b"".join((head, each, middle, date, tail)) for each, date in zip(serials, dates, strict=True)]

    def _serial(self, status: CertificateStatus) -> bytes:
        serial, revoked = status
        octets = self.serial_octets
        if serial < 1 or serial.bit_length() // 8 + 1 != octets or (revoked is not None) is not self._revoked:
            raise PolicyViolation("OCSP answer: its status is not of the shape that was linted", rule="OCSP-STATUS")
        return serial.to_bytes(octets, "big")

    def _date(self, status: CertificateStatus) -> bytes:
        revoked = status.revoked
        if revoked is None or revoked.reason is not self._reason:
            raise PolicyViolation("OCSP answer: its reason is not the one that was linted", rule="OCSP-REASON")
        if revoked.revocation_date > self.times.this_update:
            raise PolicyViolation(
                f"OCSP answer: revocationTime is {revoked.revocation_date}; wanted the CRL's, up to thisUpdate",
                rule="OCSP-REVOCATION-DATE",
            )
        try:
            encoded = der.generalized_time(revoked.revocation_date)
        except ValueError as error:
            raise PolicyViolation(f"OCSP answer: {error}", rule="OCSP-TIME") from error
        return encoded[2:]

    def frame(self, signature_octets: int) -> tuple[bytes, bytes]:
        """What stands before the ResponseData, and between it and a signature of this length."""
        found = self._frames.get(signature_octets)
        if found is None:
            octets = len(self._tbs)
            whole = assemble_answer(self.template, self._tbs, bytes(signature_octets))
            at = whole.index(self._tbs)
            end = len(whole) - len(self.template.certificates) - signature_octets
            found = self._frames[signature_octets] = whole[:at], whole[at + octets : end]
        return found


def lint_shape(
    template: AnswerTemplate, form: CertIDForm, times: AnswerTimes, sample: CertificateStatus
) -> AnswerShape:
    """Lint the answer for ``sample``, and with it all that differ from it in serial and revocation date only."""
    return AnswerShape(template, form, times, sample, made_by=_MADE_HERE)


def sign_shape(shape: AnswerShape, statuses: Sequence[CertificateStatus], key: PrivateKey) -> list[bytes]:
    """DER of an OCSPResponse for each. The last one is read back and its signature verified.

    Of a token that signs wrongly, or with another key, that shows at once; every single signature is verified by
    ``validation`` before anybody sees it. IntegrityError, and then none of them is to be used.
    """
    if not isinstance(shape, AnswerShape):  # for callers without a type checker
        raise TypeError(f"sign_shape: got {type(shape).__name__}; wanted what lint_shape returned")
    if not statuses:
        return []
    template = shape.template
    messages = shape.fill(statuses)
    signatures = sign_each(key, template.scheme, messages)
    certificates = template.certificates
    frames = {length: shape.frame(length) for length in set(map(len, signatures))}
    answers = [
        b"".join((frames[len(signature)][0], tbs, frames[len(signature)][1], signature, certificates))
        for tbs, signature in zip(messages, signatures, strict=True)
    ]
    _check_back(shape, statuses[-1], answers[-1], messages[-1], signatures[-1])
    return answers


def _check_back(shape: AnswerShape, status: CertificateStatus, answer: bytes, tbs: bytes, signature: bytes) -> None:
    template = shape.template
    verify_bytes(template.public_key, template.scheme, tbs, signature)
    read = ocsp.load_der_ocsp_response(answer)
    if (read.tbs_response_bytes, read.signature, read.serial_number) != (tbs, signature, status.serial):
        raise IntegrityError("OCSP answer: its ResponseData, parsed again, is not the one that was spliced")


def shape_key(status: CertificateStatus) -> tuple[int, bool, RevocationReason | None]:
    """Statuses of one key share a shape."""
    revoked: RevocationEntry | None = status.revoked
    return status.serial.bit_length() // 8 + 1, revoked is not None, revoked.reason if revoked else None
