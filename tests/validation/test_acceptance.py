"""Several CAs side by side: the root's own answers from a ceremony, and issuing CAs that were replaced."""

import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from published import OCSP_KEY, Published, make_published, present
from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.installed import load_installed
from sealwright.pki import ocsp_rules
from sealwright.pki.certificates import draft_certificate, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind
from sealwright.pki.names import ca_subject
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    assemble_answer,
    cert_id,
    draft_ocsp_answer,
)
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber, format_serial, new_serial
from sealwright.pki.signatures import sign_bytes
from sealwright.store.publication import GOOD, REVOKED, PublishedAnswer
from sealwright.validation import acceptance as module
from sealwright.validation.acceptance import Acceptance, split_answer
from sealwright.validation.snapshot import SnapshotWriter
from sealwright.validation.sync import Synchroniser
from softpki import profiles, software_key

YEAR = timedelta(days=360)


@pytest.fixture
def published(tmp_path: Path) -> Iterator[Published]:
    made = make_published(tmp_path)
    yield made
    made.database.close()


def accept(published: Published) -> Acceptance:
    return Acceptance(load_installed(published.folder), published.pki.settings)


def root_template(published: Published) -> AnswerTemplate:
    """A delegate of the root's, as a ceremony makes it: it lives longer than the issuing CA's."""
    key = software_key(KeyKind.P256, "root delegate")
    pki = published.pki
    issued = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Root OCSP")]))
        .issuer_name(pki.root.subject)
        .public_key(key.public_key())
        .serial_number(new_serial())
        .not_valid_before(pki.moment)
        .not_valid_after(pki.moment + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, False, False, False, False),  # as RFC 5280 lists them
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(pki.root_key, pki.root.signature_hash_algorithm)  # type: ignore[arg-type]  # a software key
    )
    return AnswerTemplate.of(pki.root, issued)


def answer(
    template: AnswerTemplate,
    ca_id: str,
    serial: int,
    *,
    valid: timedelta = timedelta(days=2),
    revoked: RevocationEntry | None = None,
) -> PublishedAnswer:
    now = present()
    draft = draft_ocsp_answer(
        template,
        CertIDForm.SHA1,
        CertificateStatus(SerialNumber(serial), revoked),
        this_update=now,
        next_update=now + valid,
        archive_cutoff=now - timedelta(days=3653),
    )
    key = software_key(KeyKind.P256, "root delegate") if ca_id == "root-1" else OCSP_KEY
    return PublishedAnswer(
        ca_id=ca_id,
        serial=format_serial(serial),
        form="sha1",
        status=REVOKED if revoked else GOOD,
        revocation_date=revoked.revocation_date if revoked else None,
        reason=revoked.reason if revoked else None,
        this_update=now,
        next_update=now + valid,
        refresh_at=now + valid / 2,
        der=assemble_answer(template, draft.tbs, sign_bytes(key, template.scheme, draft.tbs)),
    )


def test_the_roots_answers_stand_for_a_year_and_those_for_end_entities_for_ten_days(published: Published) -> None:
    issuing = published.pki.issuing.serial_number
    accept(published).check_answer(answer(root_template(published), "root-1", issuing, valid=YEAR), present())
    leaf = published.issue().serial_number
    with pytest.raises(PolicyViolation) as refused:
        accept(published).check_answer(
            answer(published.template, "issuing-1", leaf, valid=timedelta(days=11)), present()
        )
    assert refused.value.rule == "OCSP-VALIDITY"


def test_only_a_ca_is_compromised_as_a_ca(published: Published) -> None:
    issuing, leaf = published.pki.issuing.serial_number, published.issue().serial_number
    compromised = [
        RevocationEntry(SerialNumber(each), present(), RevocationReason.CA_COMPROMISE) for each in (issuing, leaf)
    ]
    root = answer(root_template(published), "root-1", issuing, revoked=compromised[0])
    accept(published).check_answer(root, present())
    with pytest.raises(PolicyViolation) as refused:
        accept(published).check_answer(answer(published.template, "issuing-1", leaf, revoked=compromised[1]), present())
    assert refused.value.rule == "OCSP-REASON"


def test_a_delegate_answers_only_for_the_ca_that_made_it(published: Published) -> None:
    leaf = published.issue().serial_number
    with pytest.raises(PolicyViolation) as refused:
        accept(published).check_answer(answer(root_template(published), "issuing-1", leaf), present())
    assert refused.value.rule == "OCSP-RESPONDER"


def rekey(published: Published) -> tuple[x509.Certificate, AnswerTemplate]:
    """An issuing CA with another key, made by the same root, and a responder of its own."""
    pki, key = published.pki, software_key(KeyKind.P384, "issuing before")
    draft = draft_certificate(
        dataclasses.replace(profiles()["issuing-ca"], keys=(KeyKind.P384,)),
        issuer=pki.root_record,
        subject=ca_subject(pki.settings, "issuing", rehearsal=True),
        public_key=key.public_key(),
        serial=new_serial(),
        not_before=pki.moment,
    )
    before = sign_certificate(lint_draft(draft), pki.root_key)
    other = dataclasses.replace(pki, issuing=before, issuing_key=key)
    return before, AnswerTemplate.of(before, other.issue_responder(OCSP_KEY))


def test_what_a_former_issuing_ca_issued_is_answered_for_beside_the_present_ones(
    published: Published, tmp_path: Path
) -> None:
    """The same serial number by two CAs of one name: two certificates, two answers."""
    former, template = rekey(published)
    (published.folder / "former").mkdir()
    (published.folder / "former/issuing-0.pem").write_bytes(former.public_bytes(Encoding.PEM))
    serial = published.issue().serial_number
    revoked = RevocationEntry(SerialNumber(serial), present(), RevocationReason.SUPERSEDED)
    published.database.put_answers(
        [
            answer(published.template, "issuing-1", serial),
            answer(template, "issuing-0", serial, revoked=revoked),
            answer(root_template(published), "root-1", serial, valid=YEAR),
        ]
    )
    writer = SnapshotWriter(tmp_path / "snapshot")
    synchroniser = Synchroniser(published.database, writer, accept(published), present)
    synchroniser.follow()
    assert synchroniser.refused == 0
    found = {
        ca: writer.reader().find(CertIDForm.SHA1, cert_id(CertIDForm.SHA1, ca), serial)
        for ca in (published.pki.issuing, former, published.pki.root)
    }
    said = [None if each is None else each.revoked for each in found.values()]
    assert said == [False, True, False]
    writer.close()


def test_a_former_ca_that_the_root_did_not_issue_is_refused(published: Published) -> None:
    (published.folder / "former").mkdir()
    (published.folder / "former/issuing-0.pem").write_bytes(published.issue().public_bytes(Encoding.PEM))
    with pytest.raises(IntegrityError, match="no certificate that the root issued"):
        accept(published)


def test_an_answer_of_ours_is_known_by_its_bytes_and_another_one_is_read(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def check(der: bytes, **options: object) -> object:
        asked.append(der)
        return ocsp_rules.check_answer(der, **options)  # type: ignore[arg-type]  # passed through

    monkeypatch.setattr(module, "check_answer", check)
    ours = published.answers(published.issue())[0]
    accept(published).check_answer(ours, present())
    assert asked == []
    parts = split_answer(ours.der)
    assert assemble_answer(published.template, parts.tbs, parts.signature) == ours.der
    later = PublishedAnswer(**(ours.model_dump() | {"this_update": ours.this_update + timedelta(seconds=1)}))
    with pytest.raises((IntegrityError, PolicyViolation)):
        accept(published).check_answer(later, present())
    assert asked == [ours.der]


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_no_change_of_an_octet_is_let_in(data: st.DataObject) -> None:
    acceptance, ours = _one_answer()
    at = data.draw(st.integers(0, len(ours.der) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != ours.der[at]))
    changed = ours.der[:at] + bytes((octet,)) + ours.der[at + 1 :]
    with pytest.raises((IntegrityError, PolicyViolation)):
        acceptance.check_answer(PublishedAnswer(**(ours.model_dump() | {"der": changed})), ours.this_update)


def test_a_responder_of_a_version_that_does_not_exist_is_refused() -> None:
    acceptance, ours = _one_answer()
    at = ours.der.index(b"\xa0\x03\x02\x01\x02") + 4  # [0] version of the certificate inside
    changed = ours.der[:at] + b"\x01" + ours.der[at + 1 :]
    with pytest.raises(IntegrityError, match="cannot be read: 1 is not a valid X509 version"):
        acceptance.check_answer(PublishedAnswer(**(ours.model_dump() | {"der": changed})), ours.this_update)


@functools.cache
def _one_answer() -> tuple[Acceptance, PublishedAnswer]:
    with tempfile.TemporaryDirectory() as folder:
        published = make_published(Path(folder))
        acceptance = accept(published)
        ours = published.answers(published.issue())[0]
        published.database.close()
        return acceptance, ours
