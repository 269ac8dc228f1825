"""What a ceremony made for the root tier is verified and published; and another CA's answers stand beside ours."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from databases import Databases
from sealwright.errors import InputError, PolicyViolation, SealwrightError
from sealwright.pki.crl import draft_crl, lint_crl, sign_crl
from sealwright.pki.keys import KeyKind
from sealwright.pki.ocsp import AnswerTemplate, CertIDForm, CertificateStatus, assemble_answer, draft_ocsp_answer
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber
from sealwright.pki.signatures import sign_bytes
from sealwright.publication.root_answers import RootAnswers, read_root_answer
from sealwright.store.publication import GOOD, REVOKED, PublishedAnswer, open_publication
from softpki import NOW, SoftPKI, soft_pki, software_key

KEY = software_key(KeyKind.P256, "root-ocsp")


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


@pytest.fixture(scope="module")
def delegate(pki: SoftPKI) -> x509.Certificate:
    """Certified by the root itself, for as long as its answers."""
    return pki.issue_delegate(KEY)


def install_crl(folder: Path, pki: SoftPKI, number: int = 1, *revoked: int) -> None:
    """The root's, where presign reads it."""
    entries = [RevocationEntry(SerialNumber(each), NOW, RevocationReason.CA_COMPROMISE) for each in revoked]
    draft = draft_crl(
        issuer=pki.root_record,
        number=number,
        this_update=NOW,
        next_update=NOW + timedelta(days=180),
        entries=entries,
        expired_certs_since=None,
    )
    (folder / "crl").mkdir(exist_ok=True)
    (folder / "crl/root-1.crl").write_bytes(sign_crl(lint_crl(draft), pki.root_key).public_bytes(Encoding.DER))


def answer(
    pki: SoftPKI,
    delegate: x509.Certificate,
    *,
    revoked: bool = False,
    days: float = 364,
    form: CertIDForm = CertIDForm.SHA1,
    later: timedelta = timedelta(0),
) -> bytes:
    serial = SerialNumber(pki.issuing.serial_number)
    entry = RevocationEntry(serial, NOW, RevocationReason.CA_COMPROMISE) if revoked else None
    template = AnswerTemplate.of(pki.root, delegate)
    at = NOW + timedelta(hours=1) + later
    draft = draft_ocsp_answer(
        template,
        form,
        CertificateStatus(serial, entry),
        this_update=at,
        next_update=at + timedelta(days=days),
        archive_cutoff=NOW - timedelta(days=3650),
    )
    return assemble_answer(template, draft.tbs, sign_bytes(KEY, template.scheme, draft.tbs))


def test_files_are_published_forward_only(
    pki: SoftPKI, delegate: x509.Certificate, tmp_path: Path, databases: Databases
) -> None:
    folder = tmp_path / "answers"
    folder.mkdir()
    install_crl(tmp_path, pki)
    publication = open_publication(databases.new("publication"))
    watched = RootAnswers(tmp_path, "root-1", pki.root)
    for form in CertIDForm:
        (folder / f"{form}.der").write_bytes(answer(pki, delegate, form=form))
    (folder / "garbage.der").write_bytes(b"\x30\x03\x0a\x01\x06")
    watched.publish(publication)
    assert {(row.ca_id, row.form, row.status) for row in publication.answers_since(0, 9)} == {
        ("root-1", "sha1", GOOD),
        ("root-1", "sha256", GOOD),
    }
    _, change = publication.state()
    watched.publish(publication)
    assert publication.state()[1] == change
    (folder / "sha1.der").write_bytes(answer(pki, delegate, revoked=True, later=timedelta(days=1), days=300))
    watched.publish(publication)
    (folder / "sha1.der").write_bytes(answer(pki, delegate, later=timedelta(days=2), days=300))
    watched.publish(publication)
    assert {row.form: row.status for row in publication.answers_since(0, 9)} == {"sha1": REVOKED, "sha256": GOOD}
    publication.close()


def test_good_of_what_the_root_s_crl_lists_is_never_published(
    pki: SoftPKI, delegate: x509.Certificate, tmp_path: Path, databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where nothing is published yet: a database that was made again, and an answer that somebody kept."""
    folder, publication = tmp_path / "answers", open_publication(databases.new("publication"))
    folder.mkdir()
    (folder / "kept.der").write_bytes(answer(pki, delegate))
    RootAnswers(tmp_path, "root-1", pki.root).publish(publication)  # there is no CRL: it cannot be known
    assert "cannot read" in caplog.text
    install_crl(tmp_path, pki, 2, pki.issuing.serial_number)
    watched = RootAnswers(tmp_path, "root-1", pki.root)
    watched.publish(publication)
    assert "which the root's CRL number 2 lists" in caplog.text
    assert publication.answers_since(0, 9) == ()
    (folder / "kept.der").write_bytes(answer(pki, delegate, revoked=True))
    watched.publish(publication)
    assert [row.status for row in publication.answers_since(0, 9)] == [REVOKED]
    publication.close()


def test_refuses_what_the_root_did_not_delegate(pki: SoftPKI, delegate: x509.Certificate) -> None:
    good = answer(pki, delegate)
    assert isinstance(read_root_answer(good, "root-1", pki.root), PublishedAnswer)
    with pytest.raises(PolicyViolation, match="OCSP-RESPONDER"):
        read_root_answer(good, "root-1", pki.issuing)
    with pytest.raises(PolicyViolation, match="OCSP-VALIDITY"):
        read_root_answer(answer(pki, delegate, days=380), "root-1", pki.root)
    for at in (len(good) // 4, 60):
        changed = bytearray(good)
        changed[at] ^= 1
        with pytest.raises(SealwrightError):
            read_root_answer(bytes(changed), "root-1", pki.root)
    with pytest.raises(InputError):
        read_root_answer(bytes(70_000), "root-1", pki.root)


def test_another_cas_answer_for_the_same_serial_stands_beside_ours(databases: Databases) -> None:
    """After a rekey the former CA's presign publishes into the same database, under its own id."""
    publication = open_publication(databases.new("publication"))
    for number, ca_id in enumerate(("issuing-1", "issuing-2"), 1):
        row = PublishedAnswer(
            ca_id=ca_id,
            serial="a1",
            form="sha1",
            status=REVOKED if number == 1 else GOOD,
            revocation_date=NOW if number == 1 else None,
            this_update=NOW,
            next_update=NOW + timedelta(days=2),
            refresh_at=NOW + timedelta(hours=12),
            der=b"%d" % number,
        )
        publication.put_answers([row])
    assert [[each.status for each in publication.answer_states(ca_id)] for ca_id in ("issuing-1", "issuing-2")] == [
        [REVOKED],
        [GOOD],
    ]
    publication.close()
