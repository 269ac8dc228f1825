"""Pre-signed OCSP answers: what stands in them, and each rule with the bytes that break it."""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography.hazmat.primitives import hashes
from cryptography.x509 import ocsp

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.keys import KeyKind
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    LintedAnswer,
    OCSPDraft,
    cert_id,
    draft_ocsp_answer,
    lint_ocsp_answer,
    sign_ocsp_answer,
)
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber
from sealwright.pki.signatures import verify_bytes
from softpki import NOW, SoftPKI, soft_pki, software_key

KEY = software_key(KeyKind.P256, "ocsp")
SERIAL = SerialNumber(0x7ABC)
HOUR = timedelta(hours=1)
CUTOFF = NOW - timedelta(days=3652)


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


@pytest.fixture(scope="module")
def template(pki: SoftPKI) -> AnswerTemplate:
    return AnswerTemplate.of(pki.issuing, pki.issue_responder(KEY))


def revoked(reason: RevocationReason | None = None, date: datetime = NOW) -> CertificateStatus:
    return CertificateStatus(SERIAL, RevocationEntry(SERIAL, date, reason))


GOOD = CertificateStatus(SERIAL)


def draft(
    template: AnswerTemplate, status: CertificateStatus = GOOD, form: CertIDForm = CertIDForm.SHA1, **changes: datetime
) -> OCSPDraft:
    times = {"this_update": NOW + HOUR, "next_update": NOW + 49 * HOUR, "archive_cutoff": CUTOFF}
    return draft_ocsp_answer(template, form, status, **(times | changes))


@pytest.mark.parametrize("form", CertIDForm)
def test_a_good_answer_has_exactly_its_fields(pki: SoftPKI, template: AnswerTemplate, form: CertIDForm) -> None:
    answer = sign_ocsp_answer(lint_ocsp_answer(draft(template, form=form)), KEY)
    read = ocsp.load_der_ocsp_response(answer)
    assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
    assert read.hash_algorithm.name == form
    assert (read.serial_number, read.produced_at_utc) == (SERIAL, read.this_update_utc)
    assert (read.this_update_utc, read.next_update_utc) == (NOW + HOUR, NOW + 49 * HOUR)
    assert read.certificates == [template.responder]
    assert list(read.extensions) == []
    verify_bytes(template.public_key, template.scheme, read.tbs_response_bytes, read.signature)


@pytest.mark.parametrize("form", CertIDForm)
def test_the_certid_is_the_one_that_pyca_asks_with(pki: SoftPKI, form: CertIDForm) -> None:
    leaf = pki.issue(software_key(KeyKind.P256, "leaf"))
    algorithm = hashes.SHA1() if form is CertIDForm.SHA1 else hashes.SHA256()  # noqa: S303  # a CertID's hash
    asked = ocsp.OCSPRequestBuilder().add_certificate(leaf, pki.issuing, algorithm).build()
    assert cert_id(form, pki.issuing) == (asked.issuer_name_hash, asked.issuer_key_hash)


@pytest.mark.parametrize(
    "reason", [None, *(each for each in RevocationReason if each is not RevocationReason.CA_COMPROMISE)]
)
def test_a_revoked_answer_says_when_and_why_as_the_crl(
    template: AnswerTemplate, reason: RevocationReason | None
) -> None:
    read = ocsp.load_der_ocsp_response(sign_ocsp_answer(lint_ocsp_answer(draft(template, revoked(reason))), KEY))
    assert read.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert read.revocation_time_utc == NOW
    assert (read.revocation_reason and read.revocation_reason.value) == reason


def test_asn1crypto_reads_the_same_answer_and_encodes_it_again_to_the_same_bytes(template: AnswerTemplate) -> None:
    status = revoked(RevocationReason.KEY_COMPROMISE)
    answer = sign_ocsp_answer(lint_ocsp_answer(draft(template, status, CertIDForm.SHA256)), KEY)
    read = asn1_ocsp.OCSPResponse.load(answer, strict=True)
    (single,) = read.response_data["responses"]
    assert single["cert_status"].native["revocation_reason"] == "key_compromise"
    (extension,) = single["single_extensions"]
    assert extension["extn_id"].native == "archive_cutoff"
    assert extension["extn_value"].parsed.native == CUTOFF
    assert read.copy().dump(force=True) == answer
    basic = read.basic_ocsp_response
    assert basic.copy().dump(force=True) == read["response_bytes"]["response"].contents


Change = Callable[[AnswerTemplate], OCSPDraft]
REFUSED: list[tuple[str, Change]] = [
    ("OCSP-NEXT-UPDATE", lambda t: draft(t, next_update=NOW + HOUR)),
    ("OCSP-VALIDITY", lambda t: draft(t, next_update=NOW + HOUR + timedelta(days=10, seconds=1))),
    ("OCSP-WINDOW", lambda t: draft(t, this_update=NOW - HOUR)),
    (
        "OCSP-WINDOW",
        lambda t: draft(t, this_update=NOW + timedelta(days=13), next_update=NOW + timedelta(days=14)),
    ),
    ("OCSP-TIME", lambda t: draft(t, this_update=NOW.replace(microsecond=5))),
    ("OCSP-TIME", lambda t: draft(t, next_update=NOW.replace(tzinfo=None))),
    ("OCSP-REVOCATION-DATE", lambda t: draft(t, revoked(date=NOW + 2 * HOUR))),
    ("OCSP-REASON", lambda t: draft(t, revoked(RevocationReason.CA_COMPROMISE))),
    ("OCSP-ARCHIVE-CUTOFF", lambda t: draft(t, archive_cutoff=NOW + 2 * HOUR)),
    ("OCSP-STATUS", lambda t: dataclasses.replace(draft(t), status=revoked())),
    ("OCSP-STATUS", lambda t: dataclasses.replace(draft(t, revoked()), status=GOOD)),
    ("OCSP-REASON", lambda t: dataclasses.replace(draft(t, revoked()), status=revoked(RevocationReason.SUPERSEDED))),
    ("OCSP-CERTID", lambda t: dataclasses.replace(draft(t), form=CertIDForm.SHA256)),
    ("OCSP-CERTID", lambda t: dataclasses.replace(draft(t), status=CertificateStatus(SerialNumber(SERIAL + 1)))),
    ("OCSP-RESPONDER-ID", lambda t: _replaced(draft(t), t.responder_id[4:], bytes(20))),
    ("OCSP-CERTID", lambda t: _replaced(draft(t), cert_id(CertIDForm.SHA1, t.issuer)[0], bytes(20))),
    ("OCSP-STATUS", lambda t: _replaced(draft(t), b"\x80\x00", b"\x82\x00")),  # unknown
    ("OCSP-ARCHIVE-CUTOFF", lambda t: _replaced(draft(t), b"\x07\x30\x01\x06", b"\x07\x30\x01\x0a")),
    ("OCSP-DER", lambda t: dataclasses.replace(draft(t), tbs=draft(t).tbs[:-1])),
    ("OCSP-SINGLE", lambda t: _built(draft(t), lambda head, single: (head, der.sequence(single, single)))),
    ("OCSP-PRODUCED-AT", lambda t: _built(draft(t), lambda head, single: (_later(head), der.sequence(single)))),
    ("OCSP-EXTENSIONS", lambda t: _built(draft(t), lambda head, single: (head, der.sequence(single), _NONCE))),
]
_NONCE = der.encode(
    der.context(1), der.sequence(der.extension(der.oid("1.3.6.1.5.5.7.48.1.2"), der.octet_string(bytes(32))))
)


def _built(drafted: OCSPDraft, parts: Callable[[bytes, bytes], tuple[bytes, ...]]) -> OCSPDraft:
    """Its responderID and producedAt, and its SingleResponse, put together in another way."""
    start, end = der.read(drafted.tbs, 0, len(drafted.tbs), der.SEQUENCE)
    content = drafted.tbs[start:end]
    length = len(drafted.template.responder_id) + len(der.generalized_time(NOW))
    start, end = der.read(content, length, len(content), der.SEQUENCE)
    built = dataclasses.replace(drafted, tbs=der.sequence(content[:length], der.sequence(content[start:end])))
    assert built == drafted
    return dataclasses.replace(drafted, tbs=der.sequence(*parts(content[:length], content[start:end])))


def _later(head: bytes) -> bytes:
    moment = der.generalized_time(NOW + HOUR)
    assert head.endswith(moment)
    return head.removesuffix(moment) + der.generalized_time(NOW + HOUR + timedelta(seconds=1))


def _replaced(drafted: OCSPDraft, old: bytes, new: bytes) -> OCSPDraft:
    assert old in drafted.tbs
    return dataclasses.replace(drafted, tbs=drafted.tbs.replace(old, new))


@pytest.mark.parametrize(("rule", "make"), REFUSED)
def test_refuses_what_a_rule_forbids(template: AnswerTemplate, rule: str, make: Change) -> None:
    with pytest.raises(PolicyViolation) as caught:
        lint_ocsp_answer(make(template))
    assert caught.value.rule == rule


def test_accepts_each_edge(template: AnswerTemplate) -> None:
    lint_ocsp_answer(draft(template, this_update=NOW, next_update=NOW + timedelta(days=10)))
    end = template.responder.not_valid_after_utc
    lint_ocsp_answer(draft(template, this_update=end - 48 * HOUR, next_update=end))
    lint_ocsp_answer(draft(template, revoked(date=NOW + HOUR), archive_cutoff=NOW + HOUR))


def test_refuses_a_responder_that_the_ca_did_not_make(pki: SoftPKI) -> None:
    other = soft_pki(label="other")
    for issuer, responder in (
        (pki.issuing, other.issue_responder(KEY)),
        (pki.root, pki.issue_responder(KEY)),
        (pki.issuing, pki.issue(software_key(KeyKind.P256, "leaf"))),
        (pki.root, pki.issuing),
    ):
        with pytest.raises(PolicyViolation, match="OCSP-RESPONDER"):
            AnswerTemplate.of(issuer, responder)


def test_only_lint_makes_what_is_signed(template: AnswerTemplate) -> None:
    with pytest.raises(TypeError):
        LintedAnswer(draft(template), made_by=object())
    with pytest.raises(TypeError):
        sign_ocsp_answer(draft(template), KEY)  # type: ignore[arg-type]  # that is the point


def test_refuses_a_signature_by_another_key(template: AnswerTemplate) -> None:
    with pytest.raises(IntegrityError):
        sign_ocsp_answer(lint_ocsp_answer(draft(template)), software_key(KeyKind.P256, "another"))
