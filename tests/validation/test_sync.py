"""What the sync lets into the snapshot when an enemy owns the publication database."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp

from databases import Databases
from published import OCSP_KEY, Published, make_published, present
from sealwright.installed import load_installed
from sealwright.pki.crl import draft_crl, lint_crl, sign_crl
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    cert_id,
    draft_ocsp_answer,
    lint_ocsp_answer,
    sign_ocsp_answer,
)
from sealwright.pki.ocsp_query import OCSPQuery
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber
from sealwright.publication.root_answers import read_root_answer
from sealwright.store.publication import GOOD, REVOKED, PublishedAnswer, PublishedObject, open_publication
from sealwright.validation.acceptance import Acceptance
from sealwright.validation.build import Builder
from sealwright.validation.snapshot import Progress, Record, SnapshotReader, SnapshotWriter
from sealwright.validation.sync import Synchroniser
from softpki import soft_pki

HOUR = timedelta(hours=1)


@dataclass
class Node:
    published: Published
    databases: Databases
    sync: Synchroniser
    writer: SnapshotWriter
    reader: SnapshotReader
    clock: list[datetime]

    def find(self, serial: int, form: CertIDForm = CertIDForm.SHA1) -> Record | None:
        hashes = cert_id(form, self.published.pki.issuing)
        return self.reader.find_answer(OCSPQuery(form, *hashes, serial))

    def force(self, *answers: PublishedAnswer) -> None:
        """Into the database as its owner can: past the guard in the statement."""
        for answer in answers:
            with self.databases.as_owner(self.published.url) as connection:
                connection.execute(
                    sa.text("DELETE FROM answers WHERE serial = :serial AND form = :form"),
                    {"serial": answer.serial, "form": answer.form},
                )
        self.published.database.put_answers(answers)


@pytest.fixture
def node(tmp_path: Path, databases: Databases) -> Iterator[Node]:
    published = make_published(tmp_path, databases.new("publication"))
    follower = open_publication(databases.reader(published.url), read_only=True)
    clock = [present()]
    writer = SnapshotWriter(tmp_path / "snapshot")
    acceptance = Acceptance(load_installed(published.folder), published.pki.settings)
    sync = Synchroniser(follower, writer, acceptance, lambda: clock[0])
    assert sync.follow() == 6
    yield Node(published, databases, sync, writer, writer.reader(), clock)
    writer.close()
    follower.close()
    published.database.close()


def revocation(certificate: x509.Certificate) -> RevocationEntry:
    return RevocationEntry(SerialNumber(certificate.serial_number), present(), RevocationReason.SUPERSEDED)


def test_takes_what_is_new_once(node: Node) -> None:
    leaf = node.published.publish(node.published.issue())
    assert node.sync.follow() == 2
    assert node.sync.follow() == 0
    for form in CertIDForm:
        found = node.find(leaf.serial_number, form)
        assert found is not None
        assert found.revoked is False
    assert node.find(leaf.serial_number + 1) is None


def test_finds_only_by_the_very_hashes(node: Node) -> None:
    leaf = node.published.publish(node.published.issue())
    node.sync.follow()
    name, key = cert_id(CertIDForm.SHA1, node.published.pki.issuing)
    for query in (
        OCSPQuery(CertIDForm.SHA1, key, key, leaf.serial_number),
        OCSPQuery(CertIDForm.SHA1, name, name, leaf.serial_number),
        OCSPQuery(None, name, key, leaf.serial_number),
        OCSPQuery(CertIDForm.SHA1, name, key, -leaf.serial_number),
        OCSPQuery(CertIDForm.SHA1, name, key, leaf.serial_number << 80),
        OCSPQuery(CertIDForm.SHA1, name, key, 0),
    ):
        assert node.reader.find_answer(query) is None


def test_an_answer_of_a_revoked_certificate_never_becomes_good_again(node: Node) -> None:
    leaf = node.published.issue()
    node.force(*node.published.answers(leaf, revocation(leaf)))
    node.sync.follow()
    node.force(*node.published.answers(leaf, now=present() + timedelta(seconds=30)))
    node.clock[0] += timedelta(minutes=1)
    assert node.sync.follow() == 0
    assert node.sync.refused == 2
    found = node.find(leaf.serial_number)
    assert found is not None
    assert found.revoked is True


def test_a_corrected_date_is_taken_and_the_one_before_is_not_taken_back(node: Node) -> None:
    leaf = node.published.issue()
    first, now = revocation(leaf), present()
    node.force(*node.published.answers(leaf, first))
    node.sync.follow()
    earlier = dataclasses.replace(first, revocation_date=now - timedelta(days=30), reason=None)
    node.force(*node.published.answers(leaf, earlier, now=now + timedelta(seconds=20)))
    node.clock[0] += timedelta(minutes=1)
    assert node.sync.follow() == 2
    node.force(*node.published.answers(leaf, first))
    assert node.sync.follow() == 0
    found = node.find(leaf.serial_number)
    assert found is not None
    answer = ocsp.load_der_ocsp_response(found.body)
    assert (answer.revocation_time_utc, answer.revocation_reason) == (earlier.revocation_date, None)


def test_an_answer_is_never_replaced_by_an_older_one(node: Node) -> None:
    leaf = node.published.issue()
    node.force(*node.published.answers(leaf))
    node.sync.follow()
    before = node.find(leaf.serial_number)
    node.force(*node.published.answers(leaf, now=present() - timedelta(minutes=5)))
    assert node.sync.follow() == 0
    assert node.find(leaf.serial_number) == before


def _changed(answer: PublishedAnswer, **changes: object) -> PublishedAnswer:
    return PublishedAnswer(**(answer.model_dump() | changes))


Forgery = Callable[[Published, x509.Certificate], PublishedAnswer]


def _flip(published: Published, leaf: x509.Certificate) -> PublishedAnswer:
    answer = published.answers(leaf)[0]
    at = answer.der.index(bytes.fromhex("8000180f"))  # good, then thisUpdate
    return _changed(answer, der=answer.der[: at + 6] + b"1" + answer.der[at + 7 :])


def _by_a_stranger(published: Published, leaf: x509.Certificate) -> PublishedAnswer:
    stranger = soft_pki(label="stranger", moment=published.pki.moment)
    template = AnswerTemplate.of(stranger.issuing, stranger.issue_responder(OCSP_KEY))
    return published.answers(leaf, template=template)[0]


FORGERIES: dict[str, Forgery] = {
    "another serial": lambda p, leaf: _changed(p.answers(leaf)[0], serial=f"{leaf.serial_number + 1:x}"),
    "another form": lambda p, leaf: _changed(p.answers(leaf)[0], form="sha256"),
    "a status of its own": lambda p, leaf: _changed(p.answers(leaf, revocation(leaf))[0], status=GOOD),
    "revoked in the row only": lambda p, leaf: _changed(p.answers(leaf)[0], status=REVOKED, revocation_date=present()),
    "another reason": lambda p, leaf: _changed(p.answers(leaf, revocation(leaf))[0], reason="keyCompromise"),
    "no such reason": lambda p, leaf: _changed(p.answers(leaf, revocation(leaf))[0], reason="boredom"),
    "no such status": lambda p, leaf: _changed(p.answers(leaf)[0], status="unknown"),
    "other times": lambda p, leaf: _changed(p.answers(leaf)[0], next_update=present() + 400 * HOUR),
    "to be refreshed long ago": lambda p, leaf: _changed(
        p.answers(leaf)[0], refresh_at=datetime(1900, 1, 1, tzinfo=UTC)
    ),
    "to be refreshed when it is over": lambda p, leaf: _changed(p.answers(leaf)[0], refresh_at=present() + 400 * HOUR),
    "garbage": lambda p, leaf: _changed(p.answers(leaf)[0], der=b"\x30\x03\x0a\x01\x00"),
    "an error": lambda p, leaf: _changed(p.answers(leaf)[0], der=b"\x30\x03\x0a\x01\x06"),
    "a changed octet": _flip,
    "a stranger's signature": _by_a_stranger,
    "another CA": lambda p, leaf: _changed(p.answers(leaf)[0], ca_id="root-1"),
    "of tomorrow": lambda p, leaf: p.answers(leaf, now=present() + 24 * HOUR)[0],
    "over": lambda p, leaf: p.answers(leaf)[0],
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_refuses(node: Node, forge: Forgery) -> None:
    leaf = node.published.issue()
    forged = forge(node.published, leaf)
    node.force(forged)
    if forge is FORGERIES["over"]:
        node.clock[0] = forged.next_update
    assert node.sync.follow() == 0
    assert node.sync.refused == 1
    assert node.find(leaf.serial_number) is None


def progress_of(node: Node) -> Progress:
    found = node.reader.progress()
    assert found is not None
    return found


@pytest.mark.parametrize("is_new", [False, True], ids=["the same process", "another process"])
def test_what_is_of_the_future_is_let_in_when_its_time_has_come(node: Node, *, is_new: bool) -> None:
    """presign's clock was ahead, and is right again: nobody writes the row once more."""
    published, minute = node.published, timedelta(minutes=1)
    leaf = published.publish(published.issue())
    node.sync.follow()
    dead = RevocationEntry(SerialNumber(leaf.serial_number), present() + 3 * minute, RevocationReason.KEY_COMPROMISE)
    node.force(*published.answers(leaf, dead, now=present() + 3 * minute))
    assert (node.sync.follow(), node.sync.refused) == (0, 2)
    held = progress_of(node)
    # What comes meanwhile is taken at once, what waits is not looked at again; that the database was seen is told.
    other = published.publish(published.issue(label="other"))
    node.clock[0] += minute
    assert (node.sync.follow(), node.sync.follow(), node.sync.refused) == (2, 0, 2)
    node.clock[0] += minute / 2
    assert (node.sync.follow(), node.sync.refused) == (0, 2)
    assert node.find(other.serial_number) is not None
    assert progress_of(node) == dataclasses.replace(held, looked=int(node.clock[0].timestamp()))
    if is_new:
        acceptance = Acceptance(load_installed(published.folder), published.pki.settings)
        node.sync = Synchroniser(published.database, node.writer, acceptance, lambda: node.clock[0])
        assert (node.sync.follow(), node.sync.refused) == (2, 2)
    node.clock[0] += 5 * minute
    assert node.sync.follow() == 4
    found = node.find(leaf.serial_number)
    assert found is not None
    assert found.revoked is True
    assert progress_of(node).change == published.database.state()[1]
    assert node.sync.follow() == 0


def test_a_crl_of_the_future_is_let_in_when_its_time_has_come(node: Node) -> None:
    """The node's own clock is behind."""
    right = node.clock[0]
    node.clock[0] -= timedelta(minutes=3)
    node.published.publish_crl()
    assert (node.sync.follow(), node.sync.refused) == (0, 1)
    node.clock[0] = right
    assert node.sync.follow() == 1
    assert node.reader.number("/crl/issuing-1.crl") == node.published.crl_number


def test_what_a_node_with_a_slow_clock_built_is_made_good_when_its_clock_is_right(node: Node, tmp_path: Path) -> None:
    published = node.published
    leaf = published.publish(published.issue())
    acceptance = Acceptance(load_installed(published.folder), published.pki.settings)
    builder = Builder(published.database, tmp_path / "built", published.folder, acceptance, "")
    built = builder.build(present() - HOUR, lambda: None)
    assert builder.refused == 4
    writer = SnapshotWriter(built)
    sync = Synchroniser(published.database, writer, acceptance, present)
    sync.follow()
    found = writer.reader().find(CertIDForm.SHA1, cert_id(CertIDForm.SHA1, published.pki.issuing), leaf.serial_number)
    assert found is not None
    assert writer.reader().find_object("/crl/issuing-1.crl") is not None
    writer.close()


def test_what_was_over_by_a_fast_clock_is_let_in_when_the_clock_is_right(node: Node) -> None:
    right, leaf = node.clock[0], node.published.publish(node.published.issue())
    node.clock[0] += timedelta(days=30)
    assert (node.sync.follow(), node.sync.refused) == (0, 2)
    node.clock[0] = right
    node.sync.follow()
    assert node.find(leaf.serial_number) is not None
    assert node.sync.refused == 2
    assert node.sync.follow() == 0


def _object(path: str, body: bytes, content_type: str = "application/pkix-cert") -> PublishedObject:
    return PublishedObject(path=path, content_type=content_type, body=body)


def test_refuses_files_that_do_not_belong_there(node: Node) -> None:
    published = node.published
    root = published.pki.root.public_bytes(Encoding.DER)
    both = pkcs7.serialize_certificates([published.pki.root, published.pki.issuing], Encoding.DER)
    forgeries = [
        _object("/ca/issuing-1.cer", root),
        _object("/ca/issuing-1.cer", published.pki.issuing.public_bytes(Encoding.DER), "text/html"),
        _object("/ca/issuing-1.p7c", both, "application/pkcs7-mime"),
        _object("/ca/issuing-1.p7c", b"?", "application/pkcs7-mime"),
        _object("/ca/../index.html", b"<script>", "text/html"),
        published.crl_row(published.crl(root=True, number=99)),  # the root's under the issuing CA's path
    ]
    older = published.crl_row(published.crl(number=1))
    newer = published.crl_row(published.crl(number=40))
    tampered = published.crl_row(published.crl(number=41))
    tampered.number = "ff"
    published.database.put_object(newer)
    assert node.sync.follow() == 1
    for each in (*forgeries, older, tampered):
        published.database.put_object(each)
        assert node.sync.follow() == 0
    assert node.sync.refused == len(forgeries) + 2
    found = node.reader.find_object("/crl/issuing-1.crl")
    assert found is not None
    assert found.body == newer.body


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        ("ca/issuing-1.cer", {"number": "zz"}),
        ("ca/issuing-1.p7c", {"number": "1"}),
        ("ca/issuing-1.cer", {"this_update": present()}),
        ("ca/issuing-1.p7c", {"next_update": present() + HOUR}),
        ("ca/issuing-1.cer", {"refresh_at": datetime(1900, 1, 1, tzinfo=UTC)}),
        ("crl/issuing-1.crl", {"number": "zz"}),
        ("crl/issuing-1.crl", {"refresh_at": None}),
        ("crl/issuing-1.crl", {"refresh_at": datetime(1900, 1, 1, tzinfo=UTC)}),
        ("crl/issuing-1.crl", {"refresh_at": present() + 400 * HOUR}),
    ],
    ids=lambda each: each if isinstance(each, str) else next(iter(each)),
)
def test_a_file_whose_row_is_odd_is_refused_and_the_others_go_on(
    node: Node, tmp_path: Path, name: str, odd: dict[str, object]
) -> None:
    published, path = node.published, f"/{name}"
    row = published.database.find_object(path)
    assert row is not None
    published.database.put_object(PublishedObject(**(row.model_dump() | odd)))
    published.publish_crl(root=True)
    assert node.sync.follow() == 1
    assert node.sync.refused == 1
    acceptance = Acceptance(load_installed(published.folder), published.pki.settings)
    builder = Builder(published.database, tmp_path / "built", published.folder, acceptance, "")
    reader = SnapshotReader.open(builder.build(present(), lambda: None))
    assert builder.refused == 1
    assert reader.find_object("/crl/root-1.crl") is not None
    reader.close()


def test_no_crl_stands_in_another_scopes_place(node: Node) -> None:
    published = node.published
    part, full = published.crl(number=9, scope="p128-5"), published.crl(number=9)

    def put(path: str, body: bytes) -> None:
        row = published.crl_row(body)
        row.path = path
        published.database.put_object(row)

    before = node.reader.find_object("/crl/issuing-1.crl")
    for path, body in (
        ("/crl/issuing-1.crl", part),
        ("/crl/issuing-1.p128-5.crl", full),
        ("/crl/issuing-1.p128-6.crl", part),
    ):
        put(path, body)
        assert node.sync.follow() == 0
    assert node.reader.find_object("/crl/issuing-1.crl") == before
    put("/crl/issuing-1.p128-5.crl", part)
    assert node.sync.follow() == 1
    found = node.reader.find_object("/crl/issuing-1.p128-5.crl")
    assert found is not None
    assert found.body == part


def test_a_database_made_anew_is_read_from_its_beginning_and_takes_nothing_back(node: Node) -> None:
    leaf = node.published.issue()
    node.force(*node.published.answers(leaf, revocation(leaf)))
    node.sync.follow()
    with node.databases.as_owner(node.published.url) as connection:
        connection.execute(sa.text("UPDATE state SET identity = 'another', change = 0"))
        connection.execute(sa.text("DELETE FROM answers"))
        connection.execute(sa.text("DELETE FROM objects"))
    other = node.published.issue(label="other")
    node.published.database.put_answers([*node.published.answers(leaf), *node.published.answers(other)])
    assert node.sync.follow() == 2
    found = node.find(leaf.serial_number)
    assert found is not None
    assert found.revoked is True
    assert node.find(other.serial_number) is not None


def test_the_snapshot_says_when_it_last_looked(node: Node) -> None:
    node.clock[0] += timedelta(seconds=5)
    node.sync.follow()
    progress = node.reader.progress()
    assert progress is not None
    assert progress.looked == int(node.clock[0].timestamp())


# The root tier: what the root's delegate says of the issuing CA, and what the root's CRL says


def root_answers(published: Published, revoked: RevocationEntry | None = None) -> list[PublishedAnswer]:
    """Both forms, as an ocsp-delegate ceremony makes them."""
    pki, now = published.pki, present()
    template = AnswerTemplate.of(pki.root, pki.issue_delegate(OCSP_KEY))
    status = CertificateStatus(SerialNumber(pki.issuing.serial_number), revoked)
    times = {"this_update": now, "next_update": now + timedelta(days=180), "archive_cutoff": now - timedelta(days=3650)}
    drafts = [draft_ocsp_answer(template, form, status, **times) for form in CertIDForm]
    signed = [sign_ocsp_answer(lint_ocsp_answer(draft, of_ca=True), OCSP_KEY) for draft in drafts]
    return [read_root_answer(each, pki.settings.root.id, pki.root) for each in signed]


def publish_root_crl(published: Published, *entries: RevocationEntry) -> None:
    now = present()
    draft = draft_crl(
        issuer=published.pki.root_record,
        number=99,
        this_update=now,
        next_update=now + timedelta(days=180),
        entries=entries,
        expired_certs_since=None,
    )
    body = sign_crl(lint_crl(draft), published.pki.root_key).public_bytes(Encoding.DER)
    published.database.put_object(published.crl_row(body, root=True))


def said_of_the_issuing_ca(reader: SnapshotReader, published: Published) -> list[bool | None]:
    """Revoked or not, in both forms; None: nothing is said."""
    serial, root = published.pki.issuing.serial_number, published.pki.root
    found = [reader.find_answer(OCSPQuery(form, *cert_id(form, root), serial)) for form in CertIDForm]
    return [each and each.revoked for each in found]


def test_a_root_crl_takes_away_what_says_good_of_the_ca_that_it_lists(node: Node) -> None:
    published = node.published
    dead = RevocationEntry(SerialNumber(published.pki.issuing.serial_number), present(), RevocationReason.CA_COMPROMISE)
    good = root_answers(published)
    published.database.put_answers(good)
    assert node.sync.follow() == 2
    publish_root_crl(published)
    node.sync.follow()
    assert said_of_the_issuing_ca(node.reader, published) == [False, False]
    publish_root_crl(published, dead)
    node.sync.follow()
    assert said_of_the_issuing_ca(node.reader, published) == [None, None]
    assert node.sync.refused == 2
    # Whoever owns the database puts the old ones back, or makes new ones of them.
    node.force(*good)
    node.sync.follow()
    assert said_of_the_issuing_ca(node.reader, published) == [None, None]
    node.force(*root_answers(published, dead))
    node.sync.follow()
    assert said_of_the_issuing_ca(node.reader, published) == [True, True]


def test_a_snapshot_made_from_nothing_says_good_of_no_ca_that_the_root_crl_lists(node: Node, tmp_path: Path) -> None:
    published = node.published
    dead = RevocationEntry(SerialNumber(published.pki.issuing.serial_number), present(), RevocationReason.CA_COMPROMISE)
    published.database.put_answers(root_answers(published))
    for entries, said in (((), [False, False]), ((dead,), [None, None])):
        publish_root_crl(published, *entries)
        folder = tmp_path / f"built-{len(entries)}"
        acceptance = Acceptance(load_installed(published.folder), published.pki.settings)
        builder = Builder(published.database, folder, published.folder, acceptance, "")
        reader = SnapshotReader.open(builder.build(present(), lambda: None))
        assert said_of_the_issuing_ca(reader, published) == said
        assert (builder.refused, reader.freshness().answers) == (2 * len(entries), 2 - 2 * len(entries))
        reader.close()
