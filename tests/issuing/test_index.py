"""The index's file: a start goes on from it, and a file that is not this ledger's, whole and of this version, counts
for nothing."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.errors import Conflict, IntegrityError, StorageError
from sealwright.issuing import index as module
from sealwright.issuing.index import BATCH, INDEX, LedgerIndex
from sealwright.ledger.entries import StartEntry
from sealwright.ledger.log import Ledger
from sealwright.statements.receipts import Receipt
from world import World, call


@dataclass
class Stopped:
    """A world with some history, its signer stopped, and what its index said."""

    world: World
    said: dict[str, Any]

    @property
    def file(self) -> Path:
        return self.world.installed.ledger / INDEX


def said(index: LedgerIndex) -> dict[str, Any]:
    """All that an index answers, from memory and from its file."""
    issued = dict(index.issued)
    return {
        "issued": issued,
        "issued_for": dict(index.issued_for),
        "teams": {each.secret_sha256: index.team_of_key(each.secret_sha256) for each in issued.values()},
        "serials": {each.secret_sha256: index.serials_of_key(each.secret_sha256) for each in issued.values()},
        "certificates": {serial: each.certificate for serial, each in issued.items()},
        **{
            name: getattr(index, name)
            for name in (
                *("size", "last_seen", "officers", "revoked", "crls_wanted", "intents", "revocation_orders"),
                *("compromised_keys", "crl_number", "last_crl", "policy", "refusals", "answered"),
            )
        },
    }


def issue(world: World) -> str:
    receipt = Receipt.parse(call(world, "issue", order=world.order())["receipt"])
    return f"{receipt.load_certificate().serial_number:x}"


@pytest.fixture
def stopped(world: World) -> Stopped:
    for reason in ("superseded", "keyCompromise"):
        order = {"revocation": world.signed(world.revocation(issue(world), reason=reason)).to_wire()}
        call(world, "revoke", order=order)
    issue(world)
    assert world.authority is not None
    everything = said(world.authority.index)
    assert len(everything["issued"]) == 3
    assert len(everything["revoked"]) == 2
    assert everything["compromised_keys"]
    world.stop()
    return Stopped(world, everything)


@contextmanager
def reading(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Which ledger entries are parsed for the index meanwhile."""
    seen: list[bytes] = []
    real = module.parse_entry

    def parse(data: bytes) -> Any:
        seen.append(data)
        return real(data)

    with monkeypatch.context() as patch:
        patch.setattr(module, "parse_entry", parse)
        yield seen


def test_a_start_goes_on_from_the_file_and_knows_the_same(stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    with reading(monkeypatch) as parsed:
        authority = stopped.world.start()
    assert said(authority.index) == stopped.said
    assert len(parsed) == len(authority.index.officers)  # what officers signed is judged again; nothing else is read


def test_what_a_kill_took_from_the_file_is_read_from_the_ledger(
    stopped: Stopped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = stopped.world.start()
    serial = issue(stopped.world)
    wanted = said(authority.index)
    killed = tmp_path / "killed"
    shutil.copytree(stopped.world.installed.ledger, killed)  # the disk as a SIGKILL leaves it at this moment
    stopped.world.stop()
    shutil.rmtree(stopped.world.installed.ledger)
    killed.rename(stopped.world.installed.ledger)
    with reading(monkeypatch) as parsed:
        after = stopped.world.start()
    assert said(after.index) == wanted
    assert after.index.issued.newest == int(serial, 16)
    assert len(parsed) == 2 + len(after.index.officers)


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def no_database(file: Path) -> None:
    file.write_bytes(b"no database at all" * 1000)


def run(sql: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(sql)

    return change


DAMAGE: dict[str, Callable[[Path], None]] = {
    "torn": cut_in_half,
    "empty": empty,
    "no database": no_database,
    "of an older version": run("UPDATE fact SET value = '0' WHERE name = 'format'"),
    "a revocation is missing": run("DELETE FROM revoked WHERE number = 0"),
    "a revocation says another reason": run("UPDATE revoked SET reason = 'superseded' WHERE number = 1"),
    "a certificate is missing": run("DELETE FROM reserved WHERE entry IS NOT NULL"),
    "a certificate is another team's": run("UPDATE reserved SET team = 'games'"),
    "a blocked key is missing": run("DELETE FROM noted WHERE kind = 'compromised'"),
    "its size is another": run("UPDATE fact SET value = '3' WHERE name = 'size'"),
    "the time last seen is earlier": run("UPDATE fact SET value = '1' WHERE name = 'last_seen'"),
    "a table is missing": run("DROP TABLE noted"),
}


def test_a_file_that_is_not_what_was_written_is_made_again(stopped: Stopped, caplog: pytest.LogCaptureFixture) -> None:
    for name, damage in DAMAGE.items():
        damage(stopped.file)
        assert said(stopped.world.start().index) == stopped.said, name
        assert "the index is made again from the ledger" in caplog.text, name
        caplog.clear()
        stopped.world.stop()
        assert said(stopped.world.start().index) == stopped.said, name
        assert "made again" not in caplog.text, name
        stopped.world.stop()


def test_a_single_bit_anywhere_in_the_rows_is_seen(stopped: Stopped, caplog: pytest.LogCaptureFixture) -> None:
    data = stopped.file.read_bytes()
    (serial, *_) = stopped.said["issued"]
    place = data.index(serial.to_bytes(20))
    stopped.file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    assert said(stopped.world.start().index) == stopped.said
    assert "the index is made again from the ledger" in caplog.text


def test_a_file_of_another_ledger_is_made_again(
    stopped: Stopped, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = Ed25519PrivateKey.generate()
    with Ledger.create(tmp_path / "other", "other", key) as ledger:
        with closing(LedgerIndex.open(tmp_path / "other" / INDEX, ledger)) as index:
            entry = StartEntry(at=stopped.world.clock(), pki="0" * 64, mode="REHEARSAL", version="0")
            ledger.append(entry.to_bytes())
            index.apply(entry)
        stopped.file.write_bytes((tmp_path / "other" / INDEX).read_bytes())
    assert said(stopped.world.start().index) == stopped.said
    assert "the ledger of" in caplog.text


def test_a_file_that_knows_more_than_the_ledger_is_made_again(stopped: Stopped, tmp_path: Path) -> None:
    """A backup of the ledger was restored, and the file was not in it."""
    backup = tmp_path / "backup"
    shutil.copytree(stopped.world.installed.ledger, backup)
    stopped.world.start()
    issue(stopped.world)
    stopped.world.stop()
    newer = stopped.file.read_bytes()
    shutil.rmtree(stopped.world.installed.ledger)
    backup.rename(stopped.world.installed.ledger)
    stopped.file.write_bytes(newer)
    assert said(stopped.world.start().index) == stopped.said


def test_a_ledger_in_which_a_serial_comes_twice_is_refused_by_either_way(stopped: Stopped) -> None:
    authority = stopped.world.start()
    (data,) = [each for each in authority.ledger.iterate() if b'"type":"intent"' in each][-1:]
    authority.ledger.append(data)
    stopped.world.stop()
    for _ in ("from the file", "from the first entry"):
        with pytest.raises(IntegrityError, match="reserved a second time"):
            stopped.world.start()
        stopped.file.unlink(missing_ok=True)


def test_two_processes_do_not_share_a_file(stopped: Stopped) -> None:
    stopped.world.start()
    with pytest.raises(Conflict, match="another process has"):
        LedgerIndex.open(stopped.file, stopped.world.authority.ledger)  # type: ignore[union-attr]


class FullDisk:
    """What ``sqlite3`` says of a full disk, at the commit: the transaction is gone with it."""

    def __init__(self, index: LedgerIndex) -> None:
        self.index, self.real = index, index._file.commit
        self.failures = 0

    def commit(self, facts: dict[str, str]) -> None:
        self.failures += 1
        self.index._file.roll_back()
        raise sqlite3.OperationalError("database or disk is full")


def test_what_cannot_be_written_now_waits_and_nothing_is_forgotten(
    stopped: Stopped, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = stopped.world.start()
    full = FullDisk(authority.index)
    with monkeypatch.context() as patch:
        patch.setattr(authority.index._file, "commit", full.commit)
        for _ in range(BATCH):
            authority.record(StartEntry(at=stopped.world.clock(), pki="0" * 64, mode="REHEARSAL", version="0"))
        serial = issue(stopped.world)
    assert full.failures == 1
    assert authority.index.size == authority.ledger.size
    wanted = said(authority.index)
    assert int(serial, 16) in wanted["issued"]
    stopped.world.stop()
    assert said(stopped.world.start().index) == wanted


def test_an_index_that_missed_an_entry_answers_nothing_more(stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = stopped.world.start()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(authority.index._file, "add", fail)
        with pytest.raises(StorageError, match="cannot be kept: disk I/O error"):
            issue(stopped.world)
    size = authority.ledger.size
    with pytest.raises(StorageError, match="cannot be kept"):
        issue(stopped.world)
    assert authority.ledger.size == size
    stopped.world.stop()
    assert stopped.world.start().index.size == size
