"""What the root says of the CA certificates that it issued: its OCSP delegate, and the answers that this one signs.

Which certificates there are is the register's, which of them are revoked is the CRL's, and both have to agree. For each
there are two answers, one for each CertID form. ``answers.json`` holds them all, with what each says beside its DER, so
that a person can read it; whoever reads it by program compares the two. Pure, as ``artefacts`` is.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp
from pydantic import Field, ValidationError

from sealwright.ceremony.acceptance import accept_crl, check_unused, revoked_entries
from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.prepared import Serial, Time
from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.certificates import LintedDraft, draft_certificate, lint_draft
from sealwright.pki.keys import PrivateKey
from sealwright.pki.names import responder_subject
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    LintedAnswer,
    draft_ocsp_answer,
    lint_ocsp_answer,
    sign_ocsp_answer,
)
from sealwright.pki.revocation import RevocationReason
from sealwright.pki.rules_validity import ANSWER_YEARS, add_years
from sealwright.pki.serials import format_serial, parse_serial
from sealwright.pki.tomlfile import Table
from sealwright.statements.canonical import canonical_bytes, parse_canonical

ANSWERS = "answers.json"
DELEGATE = "delegate.pem"

ANSWERS_LIMIT = 1024 * 1024
_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


class RootAnswer(Table):
    """One answer of the list, as its DER says it."""

    serial: Serial
    form: CertIDForm
    status: Literal["good", "revoked"]
    revocation_date: Time | None
    reason: RevocationReason | None
    this_update: Time
    next_update: Time
    der: Annotated[str, Field(max_length=65536)]

    @property
    def data(self) -> bytes:
        """DER of the OCSPResponse."""
        return base64.b64decode(self.der)


class _AnswersFile(Table):
    answers: Annotated[tuple[RootAnswer, ...], Field(min_length=2)]


def statuses(materials: Materials) -> tuple[CertificateStatus, ...]:
    """Of every CA certificate in the register, as the root's CRL says it.

    Raises CER-OCSP-EMPTY, CER-OCSP-TIME, and what ``accept_crl`` raises for a CRL that is not the register's last.
    """
    register = materials.register()
    crl = accept_crl(materials.inputs["root.crl"], root=materials.root_record(), register=register)
    _check_times(crl, materials)
    revoked = {entry.serial: entry for entry in revoked_entries(crl)}
    if not register.certificates:
        raise PolicyViolation(
            "the register has no CA certificate that could be asked about",
            rule="CER-OCSP-EMPTY",
            hint="hold this ceremony after issuing-ca, with its register.json",
        )
    serials = [parse_serial(each.serial) for each in register.certificates]
    return tuple(CertificateStatus(serial, revoked.get(serial)) for serial in serials)


def _check_times(crl: x509.CertificateRevocationList, materials: Materials) -> None:
    """CER-OCSP-TIME: from within the CRL's life, and exactly to its end: then CRL and answers are one word."""
    at, ends = _moments(materials)
    begin, end = crl.last_update_utc, crl.next_update_utc
    if end is None or not begin <= at < end or ends != end:
        raise PolicyViolation(
            f"the answers run from {format_time(at)} to {format_time(ends)}; the root's CRL from {format_time(begin)} "
            f"to {format_time(end) if end else 'no end'}",
            rule="CER-OCSP-TIME",
            hint="hold root-crl first, take its root.crl, and prepare for a moment after it",
        )


def next_update(root_crl: bytes) -> datetime:
    """When answers that agree with this CRL end: with it. Raises ``InputError``."""
    try:
        end = x509.load_der_x509_crl(root_crl).next_update_utc
    except ValueError as error:
        raise InputError(f"inputs/root.crl is not a DER CRL: {error}") from None
    if end is None:
        raise InputError("inputs/root.crl has no nextUpdate")
    return end


def draft_delegate(materials: Materials) -> LintedDraft:
    """The delegate's certificate: for as many whole days as its answers need, and no more."""
    issuer, settings, serial = materials.root_record(), materials.settings(), parse_serial(materials.plan.serial or "")
    key = materials.keys["delegate"].public
    check_unused(key, serial, materials.register())
    at, ends = _moments(materials)
    days = -((at - ends - _SECOND) // _DAY)
    return lint_draft(
        draft_certificate(
            materials.profile("root-ocsp.toml"),
            issuer=issuer,
            subject=responder_subject(settings, "root", rehearsal=materials.rehearsal),
            public_key=key,
            serial=serial,
            not_before=at,
            not_after=at + days * _DAY - _SECOND,
        )
    )


def draft_answers(materials: Materials) -> tuple[LintedAnswer, ...]:
    """Two for each certificate, in the register's order. Before the delegate is signed, under its linted copy: the
    bytes to be signed are the same."""
    at, ends = _moments(materials)
    said = statuses(materials)
    if DELEGATE in materials.outputs:
        template = AnswerTemplate.of(materials.root(), x509.load_pem_x509_certificate(materials.outputs[DELEGATE]))
    else:
        template = AnswerTemplate.of_copy(draft_delegate(materials))
    return tuple(
        lint_ocsp_answer(
            draft_ocsp_answer(
                template,
                form,
                status,
                this_update=at,
                next_update=ends,
                archive_cutoff=add_years(at, -ANSWER_YEARS),
            ),
            of_ca=True,
        )
        for status in said
        for form in CertIDForm
    )


def _moments(materials: Materials) -> tuple[datetime, datetime]:
    plan = materials.plan
    return parse_time(plan.at, "prepared.json"), parse_time(plan.next_update or "", "prepared.json")


def list_messages(answers: Sequence[LintedAnswer]) -> tuple[bytes, ...]:
    """The ResponseData of each: what the key signs, one by one."""
    return tuple(each.draft.tbs for each in answers)


def join_messages(messages: Sequence[bytes]) -> bytes:
    """All of them as one DER SEQUENCE: what is digested, read aloud and agreed to."""
    return der.sequence(*messages)


def sign_answers(answers: Sequence[LintedAnswer], key: PrivateKey) -> bytes:
    """``answers.json``."""
    return compose_answers([sign_ocsp_answer(each, key) for each in answers])


def compose_answers(answers: Sequence[bytes]) -> bytes:
    """The list of these, DER each."""
    return _compose([_read(each) for each in answers])


def take_answers_apart(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """(ResponseData, signature) of each. Raises ``ValueError`` for a list that is not written as we write it."""
    try:
        read = [ocsp.load_der_ocsp_response(each.data) for each in parse_answers(data)]
    except (InputError, IntegrityError) as error:
        raise ValueError(error.message) from error
    return tuple((each.tbs_response_bytes, each.signature) for each in read)


def parse_answers(data: bytes) -> tuple[RootAnswer, ...]:
    """The list. Raises ``InputError`` for what is none, ``IntegrityError`` where an answer says other than its DER."""
    try:
        file = _AnswersFile.model_validate_json(canonical_bytes(parse_canonical(data, ANSWERS_LIMIT)))
        again = tuple(_read(each.data) for each in file.answers)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"{ANSWERS}: field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"{ANSWERS}: an answer cannot be read: {error}") from None
    except InputError as error:
        raise InputError(f"{ANSWERS}: {error.message}") from None
    if again != file.answers or _compose(again) != data:
        raise IntegrityError(f"{ANSWERS} says of an answer what its DER does not say, or is written in another way")
    return file.answers


def _compose(answers: Sequence[RootAnswer]) -> bytes:
    return canonical_bytes({"answers": [each.model_dump(mode="json") for each in answers]})


def _read(answer: bytes) -> RootAnswer:
    """What it says. Raises ``ValueError`` for what is no answer about one certificate."""
    read = ocsp.load_der_ocsp_response(answer)
    if read.next_update_utc is None or read.certificate_status is ocsp.OCSPCertStatus.UNKNOWN:
        raise ValueError("it has no nextUpdate, or says neither good nor revoked")
    moment, reason = read.revocation_time_utc, read.revocation_reason
    return RootAnswer(
        serial=format_serial(read.serial_number),
        form=CertIDForm(read.hash_algorithm.name),
        status="good" if read.certificate_status is ocsp.OCSPCertStatus.GOOD else "revoked",
        revocation_date=None if moment is None else format_time(moment),
        reason=None if reason is None else RevocationReason(reason.value),
        this_update=format_time(read.this_update_utc),
        next_update=format_time(read.next_update_utc),
        der=base64.b64encode(answer).decode(),
    )


def describe_statuses(materials: Materials) -> tuple[dict[str, Any], ...]:
    """Certificate by certificate, what will be said of it."""
    names = {each.serial: each.subject for each in materials.register().certificates}
    return tuple(
        {
            "serial": format_serial(serial),
            "subject": names[format_serial(serial)],
            "status": "good" if revoked is None else "revoked",
            "revocation_date": None if revoked is None else format_time(revoked.revocation_date),
            "reason": None if revoked is None else revoked.reason,
        }
        for serial, revoked in statuses(materials)
    )


def say_status(status: Mapping[str, Any]) -> str:
    """One of them, in a line."""
    if status["status"] == "good":
        return "good"
    return f"REVOKED since {status['revocation_date']}, {status['reason'] or 'no reason given'}"
