"""Answers by the hundred: octet for octet what would have been drafted one by one, and nothing of another shape."""

from datetime import timedelta

import pytest
from cryptography.x509 import ocsp

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki.keys import KeyKind, PrivateKey
from sealwright.pki.ocsp import AnswerTemplate, CertIDForm, CertificateStatus, draft_ocsp_answer
from sealwright.pki.ocsp_shapes import AnswerShape, AnswerTimes, lint_shape, shape_key, sign_shape
from sealwright.pki.revocation import END_ENTITY_REASONS, RevocationEntry, RevocationReason
from sealwright.pki.serials import LARGEST_SERIAL, SerialNumber, new_serial
from sealwright.pki.signatures import SignatureScheme, sign_each, verify_bytes
from softpki import NOW, SoftPKI, soft_pki, software_key

KEY = software_key(KeyKind.P256, "ocsp")
HOUR = timedelta(hours=1)
TIMES = AnswerTimes(NOW + HOUR, NOW + 49 * HOUR, NOW - timedelta(days=3652))


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


@pytest.fixture(scope="module")
def template(pki: SoftPKI) -> AnswerTemplate:
    return AnswerTemplate.of(pki.issuing, pki.issue_responder(KEY))


def status(serial: int = 0, reason: object = "good", minutes: int = 0) -> CertificateStatus:
    number = SerialNumber(serial) if serial else new_serial()
    if reason == "good":
        return CertificateStatus(number)
    assert reason is None or isinstance(reason, RevocationReason)
    return CertificateStatus(number, RevocationEntry(number, NOW + timedelta(minutes=minutes), reason))


@pytest.mark.parametrize("form", CertIDForm)
@pytest.mark.parametrize("reason", ["good", None, *sorted(END_ENTITY_REASONS)])
def test_every_answer_has_the_octets_of_one_that_is_drafted_alone(
    template: AnswerTemplate, form: CertIDForm, reason: object
) -> None:
    statuses = [status(reason=reason, minutes=minutes) for minutes in range(-3, 60, 7)]
    shape = lint_shape(template, form, TIMES, statuses[3])
    for one, answer in zip(statuses, sign_shape(shape, statuses, KEY), strict=True):
        alone = draft_ocsp_answer(
            template,
            form,
            one,
            this_update=TIMES.this_update,
            next_update=TIMES.next_update,
            archive_cutoff=TIMES.archive_cutoff,
        )
        read = ocsp.load_der_ocsp_response(answer)
        assert read.tbs_response_bytes == alone.tbs
        assert read.certificates == [template.responder]
        verify_bytes(template.public_key, template.scheme, alone.tbs, read.signature)


@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0xFF, 0x100, 2**152 - 1, 2**152, LARGEST_SERIAL])
def test_serials_of_every_length(template: AnswerTemplate, serial: int) -> None:
    one = status(serial)
    (answer,) = sign_shape(lint_shape(template, CertIDForm.SHA1, TIMES, one), [one], KEY)
    assert ocsp.load_der_ocsp_response(answer).serial_number == serial


def test_an_rsa_key_signs_each_message_too() -> None:
    key, scheme = software_key(KeyKind.RSA_3072, "ocsp"), SignatureScheme.RSA_PKCS1_SHA256
    messages = [b"one", b"two"]
    for message, signature in zip(messages, sign_each(key, scheme, messages), strict=True):
        verify_bytes(key.public_key(), scheme, message, signature)


SUPERSEDED, COMPROMISE = RevocationReason.SUPERSEDED, RevocationReason.KEY_COMPROMISE


@pytest.mark.parametrize(
    ("of", "other", "rule"),
    [
        (status(), status(reason=SUPERSEDED), "OCSP-STATUS"),
        (status(reason=SUPERSEDED), status(), "OCSP-STATUS"),
        (status(), status(0x7ABC), "OCSP-STATUS"),
        (status(), CertificateStatus(SerialNumber(-(2**158)), None), "OCSP-STATUS"),
        (status(reason=SUPERSEDED), status(reason=COMPROMISE), "OCSP-REASON"),
        (status(reason=None), status(reason=SUPERSEDED), "OCSP-REASON"),
        (status(reason=SUPERSEDED), status(reason=SUPERSEDED, minutes=61), "OCSP-REVOCATION-DATE"),
    ],
)
def test_what_is_not_of_the_shape_is_refused(
    template: AnswerTemplate, of: CertificateStatus, other: CertificateStatus, rule: str
) -> None:
    shape = lint_shape(template, CertIDForm.SHA1, TIMES, of)
    with pytest.raises(PolicyViolation, match=rule):
        sign_shape(shape, [of, other, of], KEY)


def test_a_shape_that_a_rule_refuses_is_not_made(template: AnswerTemplate) -> None:
    with pytest.raises(PolicyViolation, match="OCSP-REASON"):
        lint_shape(template, CertIDForm.SHA1, TIMES, status(reason=RevocationReason.CA_COMPROMISE))
    late = AnswerTimes(TIMES.this_update, TIMES.this_update + timedelta(days=11), TIMES.archive_cutoff)
    with pytest.raises(PolicyViolation, match="OCSP-VALIDITY"):
        lint_shape(template, CertIDForm.SHA1, late, status())


def test_a_key_that_is_not_the_responders_is_noticed(template: AnswerTemplate) -> None:
    one = status()
    wrong: PrivateKey = software_key(KeyKind.P256, "leaf")
    with pytest.raises(IntegrityError):
        sign_shape(lint_shape(template, CertIDForm.SHA1, TIMES, one), [one], wrong)


def test_only_the_linter_makes_one(template: AnswerTemplate) -> None:
    one = status()
    with pytest.raises(TypeError, match="lint_shape"):
        AnswerShape(template, CertIDForm.SHA1, TIMES, one, made_by=object())
    shape = lint_shape(template, CertIDForm.SHA1, TIMES, one)
    with pytest.raises(AttributeError):
        shape._tbs = b""
    with pytest.raises(TypeError):
        sign_shape(object(), [one], KEY)  # type: ignore[arg-type]
    assert sign_shape(shape, [], KEY) == []


def test_statuses_of_one_key_share_a_shape() -> None:
    assert shape_key(status()) == shape_key(status())
    assert len({shape_key(each) for each in (status(), status(1), status(reason=None), status(reason=SUPERSEDED))}) == 4
