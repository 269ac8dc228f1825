"""A snapshot that is damaged, cut short or another's is refused; one that is built takes its place whole."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from databases import Databases
from edge import BODY, HASHES, NOW, fill
from published import Published, make_published, present
from sealwright.errors import IntegrityError
from sealwright.installed import load_installed
from sealwright.pki.ocsp import CertIDForm, cert_id
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber
from sealwright.store.publication import PublishedObject, open_publication
from sealwright.validation import build as build_module
from sealwright.validation.acceptance import Acceptance
from sealwright.validation.build import Builder
from sealwright.validation.generations import (
    DATA,
    check_file,
    find_current,
    make_current,
    new_generation,
    remove_others,
)
from sealwright.validation.scrub import Scrubber
from sealwright.validation.snapshot import Freshness, Progress, SnapshotReader, SnapshotWriter, make_record, pack

READ = (
    "import sys; from pathlib import Path; from sealwright.validation.snapshot import SnapshotReader, unpack;"
    "reader = SnapshotReader.open(Path(sys.argv[1])); print(sum(1 for _, data in reader.records() if unpack(data)))"
)


def read_in_a_process(folder: Path) -> subprocess.CompletedProcess[str]:
    """A file that is not all there ends a process that maps it: not this one."""
    return subprocess.run([sys.executable, "-c", READ, str(folder)], capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = fill(tmp_path)
    with writer.write() as transaction:
        for serial in range(1000, 3000):
            record = make_record(content_type="application/ocsp-response", body=BODY, this_update=NOW, next_update=NOW)
            transaction.put_answer(CertIDForm.SHA1, HASHES, serial, record)
    writer.close()
    return tmp_path


def test_a_whole_one_is_read(folder: Path) -> None:
    check_file(folder)
    assert read_in_a_process(folder).stdout == "2004\n"


@pytest.mark.parametrize("share", [0.0, 0.00001, 0.3, 0.9, 0.999])
def test_one_that_was_cut_short_is_refused_before_it_is_mapped(folder: Path, share: float) -> None:
    size = (folder / DATA).stat().st_size
    os.truncate(folder / DATA, int(size * share))
    for refuse in (check_file, SnapshotReader.open, SnapshotWriter):
        with pytest.raises(IntegrityError):
            refuse(folder)


def test_one_that_was_cut_short_while_it_was_open_is_noticed(folder: Path) -> None:
    reader = SnapshotReader.open(folder)
    os.truncate(folder / DATA, 5 * 4096)
    with pytest.raises(IntegrityError, match="cut short"):
        check_file(folder)
    reader.close()


def test_no_changed_octet_is_ever_served(folder: Path) -> None:
    """Wherever the disk lies: a record is as it was written, or refused, or the process ends."""
    before = (folder / DATA).read_bytes()
    random.seed(7)
    refused = 0
    for _ in range(8):
        data = bytearray(before)
        for _ in range(200):
            data[random.randrange(2 * 4096, len(data))] ^= 1 << random.randrange(8)
        (folder / DATA).write_bytes(data)
        done = read_in_a_process(folder)
        assert done.returncode != 0 or done.stdout == "2004\n"
        refused += done.returncode != 0
    assert refused == 8


@pytest.mark.parametrize("content", [b"", b"\x00" * 8192, b"not a database" * 1000])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / DATA).write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        SnapshotReader.open(tmp_path)


def test_another_pkis_is_refused(tmp_path: Path) -> None:
    SnapshotWriter(tmp_path, "aa").close()
    SnapshotWriter(tmp_path, "aa").close()
    for refuse in (SnapshotReader.open, SnapshotWriter):
        with pytest.raises(IntegrityError, match="another PKI or format"):
            refuse(tmp_path, "bb")


def test_the_scrubber_finds_a_record_that_changed_and_counts_what_is_late(folder: Path) -> None:
    writer = SnapshotWriter(folder)
    scrubber = Scrubber(writer)
    assert [scrubber.step(int(NOW.timestamp())) for _ in range(2)] == [False, True]
    assert writer.reader().freshness() == Freshness(answers=2002, overdue=2001, over=2001, crls_overdue=1, crls_over=1)
    writer.close()
    data = (folder / DATA).read_bytes()
    at = data.rindex(BODY)
    (folder / DATA).write_bytes(data[:at] + b"X" + data[at + 1 :])
    writer = SnapshotWriter(folder)
    scrubber = Scrubber(writer)
    with pytest.raises(IntegrityError, match="not as it was written"):
        [scrubber.step(0) for _ in range(2)]
    writer.close()


def test_a_generation_takes_the_place_of_another_in_one_step(tmp_path: Path) -> None:
    assert find_current(tmp_path / "none") is None
    first, second, third = (new_generation(tmp_path) for _ in range(3))
    make_current(tmp_path, first)
    make_current(tmp_path, second)
    assert find_current(tmp_path) == second
    remove_others(tmp_path, second)
    assert (first.exists(), second.exists(), third.exists()) == (False, True, False)


class Node:
    """What ``sync`` has when it builds."""

    def __init__(self, published: Published, folder: Path, url: str) -> None:
        self.published, self.folder = published, folder
        installed = load_installed(published.folder)
        self.pki = installed.anchor.pki_id
        self.acceptance = Acceptance(installed, published.pki.settings)
        self.follower = open_publication(url, read_only=True)

    def build(self) -> Builder:
        builder = Builder(self.follower, self.folder, self.published.folder, self.acceptance, self.pki)
        builder.build(present(), lambda: None)
        return builder

    def read(self) -> SnapshotReader:
        current = find_current(self.folder)
        assert current is not None
        return SnapshotReader.open(current, self.pki)


@pytest.fixture
def node(tmp_path: Path, databases: Databases) -> Iterator[Node]:
    published = make_published(tmp_path, databases.new("publication"))
    made = Node(published, tmp_path / "snapshot", databases.reader(published.url))
    yield made
    made.follower.close()
    published.database.close()


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with helpers"])
def test_one_is_built_from_nothing(node: Node, monkeypatch: pytest.MonkeyPatch, *, alone: bool) -> None:
    if not alone:
        monkeypatch.setattr(build_module, "_ALONE", 0)
        monkeypatch.setattr(build_module, "_BATCH", 3)
    leaves = [node.published.publish(node.published.issue(label=f"{number}")) for number in range(4)]
    forged = node.published.answers(node.published.issue(label="forged"))[0]
    forged.der = forged.der[:-1] + bytes((forged.der[-1] ^ 1,))
    node.published.database.put_answers([forged])
    assert node.build().refused == 1
    reader = node.read()
    for leaf in leaves:
        for form in CertIDForm:
            assert reader.find(form, cert_id(form, node.published.pki.issuing), leaf.serial_number) is not None
    assert reader.find_object("/crl/issuing-1.crl") is not None
    assert reader.number("/crl/issuing-1.crl") == node.published.crl_number
    assert reader.freshness().answers == 8
    identity, change = node.follower.state()
    progress = reader.progress()
    assert progress is not None
    assert (progress.identity, progress.change) == (identity, change)
    reader.close()


def test_a_reader_gives_the_file_that_stands_there_now_and_checks_each_once(tmp_path: Path) -> None:
    writer, path = SnapshotWriter(tmp_path / "snapshot"), "/crl/issuing-1.crl"
    reader = writer.reader()
    assert reader.find_object(path) is None
    bodies = [bytes(3000), bytes(2999) + b"1", bytes(2999)]
    for body in bodies:
        with writer.write() as transaction:
            transaction.put_object(path, make_record(content_type="application/pkix-crl", body=body))
        found = reader.find_object(path)
        assert found is not None
        assert found.body == body
        with writer.write() as transaction:
            transaction.put_progress(Progress("identity", 1, 1))
        assert reader.find_object(path) is found
    with writer.write() as transaction:
        transaction._transaction.delete(b"o" + path.encode())
    assert reader.find_object(path) is None
    with writer.write() as transaction:
        record = bytearray(pack(make_record(content_type="application/pkix-crl", body=bodies[0])))
        record[2000] ^= 1
        transaction._transaction.put(b"o" + path.encode(), bytes(record))
    with pytest.raises(IntegrityError, match="not as it was written"):
        reader.find_object(path)
    writer.close()


def test_one_that_is_built_again_goes_back_in_nothing(node: Node, databases: Databases) -> None:
    leaf = node.published.issue()
    revoked = RevocationEntry(SerialNumber(leaf.serial_number), present(), RevocationReason.SUPERSEDED)
    node.published.database.put_answers(node.published.answers(leaf, revoked))
    node.build()
    with databases.as_owner(node.published.url) as connection:
        connection.execute(sa.text("DELETE FROM answers"))
    node.published.database.put_answers(node.published.answers(leaf, now=present() + timedelta(seconds=20)))
    older = node.published.crl_row(node.published.crl(number=1))
    node.published.database.put_object(older)
    assert node.build().refused == 3
    reader = node.read()
    found = reader.find(CertIDForm.SHA1, cert_id(CertIDForm.SHA1, node.published.pki.issuing), leaf.serial_number)
    assert found is not None
    assert found.revoked
    assert reader.number("/crl/issuing-1.crl") == node.published.crl_number
    reader.close()


def test_one_that_is_built_again_keeps_what_it_has_where_a_row_is_refused(node: Node) -> None:
    published = node.published
    leaf = published.publish(published.issue())
    node.build()
    forged = published.answers(leaf)
    for each in forged:
        each.der = each.der[:-1] + bytes((each.der[-1] ^ 1,))
    stranger = published.answers(published.issue(label="other"))[0]
    stranger.ca_id = "nobody"
    published.database.put_answers([*forged, stranger])
    for path in ("/crl/issuing-1.crl", "/ca/issuing-1.cer"):
        row = published.database.find_object(path)
        assert row is not None
        row.number = "ff"
        published.database.put_object(row)
    published.database.put_object(PublishedObject(path="/\u0131", content_type="text/html", body=b"?"))
    assert node.build().refused == 6
    reader = node.read()
    for form in CertIDForm:
        assert reader.find(form, cert_id(form, published.pki.issuing), leaf.serial_number) is not None
    assert reader.find_object("/ca/issuing-1.cer") is not None
    assert reader.find_object("/crl/issuing-1.crl") is not None
    assert reader.number("/crl/issuing-1.crl") == published.crl_number
    assert reader.freshness().answers == 2
    reader.close()


def test_one_whose_building_was_given_up_is_not_served(node: Node) -> None:
    node.published.publish(node.published.issue())

    def give_up() -> None:
        raise KeyboardInterrupt

    builder = Builder(node.follower, node.folder, node.published.folder, node.acceptance, node.pki)
    with pytest.raises(KeyboardInterrupt):
        builder.build(present(), give_up)
    assert find_current(node.folder) is None


def test_progress_is_told_in_whole_transactions(tmp_path: Path) -> None:
    writer = SnapshotWriter(tmp_path)
    with pytest.raises(RuntimeError), writer.write() as transaction:  # noqa: PT012  # the block is what is undone
        transaction.put_progress(Progress("x", 1, 1))
        raise RuntimeError
    assert writer.progress() is None
    writer.close()
