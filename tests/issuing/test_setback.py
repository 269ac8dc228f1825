"""A backup of the ledger is restored: the signer hears of it, signs nothing, and is made whole from a copy."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from exports import DictExport
from sealwright.audit.export import TRUST, wanted_names
from sealwright.audit.verify import Evidence, verify_export
from sealwright.errors import Conflict, IntegrityError
from sealwright.issuing.clock import leave_word
from sealwright.issuing.crl import issue_crl
from sealwright.issuing.recover import recover_ledger
from sealwright.issuing.recovery import record_start
from sealwright.ledger.checkpoint import sign_checkpoint
from sealwright.ledger.entries import ClockEntry, StartEntry, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.tree import MerkleTree, leaf_hash
from sealwright.pki.crl import read_crl
from sealwright.statements.receipts import Receipt
from world import World, call


def issue(world: World) -> str:
    receipt = Receipt.parse(call(world, "issue", order=world.order())["receipt"])
    return f"{receipt.load_certificate().serial_number:x}"


def copy_of(world: World) -> tuple[tuple[bytes, ...], str]:
    """Entries and checkpoint, as an export has them."""
    installed = world.installed
    reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
    return tuple(reader.iterate()), reader.checkpoint


def start_again(world: World) -> None:
    authority = world.start()
    authority.record(StartEntry(at=world.clock(), pki=world.pki, mode="REHEARSAL", version="0.1.0"))


@pytest.fixture
def restored(world: World, tmp_path: Path) -> tuple[tuple[bytes, ...], str]:
    """What a follower has; the world's ledger is the backup from before the last certificate, and runs."""
    issue(world)
    assert world.authority is not None
    issue_crl(world.authority)
    world.stop()
    shutil.copytree(world.installed.ledger, tmp_path / "backup")
    world.start()
    issue(world)
    world.clock.pass_(seconds=1)
    issue_crl(world.authority)
    world.stop()
    copy = copy_of(world)
    shutil.rmtree(world.installed.ledger)
    (tmp_path / "backup").rename(world.installed.ledger)
    world.start()
    return copy


def test_shown_what_it_lost_it_signs_nothing_also_after_a_restart(
    world: World, restored: tuple[tuple[bytes, ...], str]
) -> None:
    with pytest.raises(IntegrityError, match="was set back: it has"):
        call(world, "witness", checkpoint=restored[1])
    for _ in range(2):
        assert world.authority is not None
        size = world.authority.ledger.size
        assert "was set back" in call(world, "status")["problem"]
        with pytest.raises(IntegrityError, match="was set back"):
            issue(world)
        with pytest.raises(IntegrityError, match="was set back"):
            issue_crl(world.authority)
        world.stop()
        with pytest.raises(IntegrityError, match="was set back"):
            start_again(world)
        assert world.authority.ledger.size == size


def test_a_copy_makes_it_whole_and_no_crl_number_comes_twice(
    world: World, restored: tuple[tuple[bytes, ...], str]
) -> None:
    assert world.authority is not None
    start_entry_of_its_own = issue_crl(world.authority)
    _, number = read_crl(start_entry_of_its_own.read_bytes(), world.installed.issuing)
    with pytest.raises(IntegrityError):
        call(world, "witness", checkpoint=restored[1])
    world.stop()
    entries, checkpoint = restored
    done = recover_ledger(world.installed, entries, checkpoint)
    assert (done.size, done.dropped) == (len(entries), 2)
    assert done.kept.is_dir()
    start_again(world)
    issue(world)
    again = issue_crl(world.authority).read_bytes()
    assert read_crl(again, world.installed.issuing)[1] == number + 1
    world.stop()
    assert copy_of(world)[0][: len(entries)] == entries


def test_what_an_operator_said_of_the_clock_meanwhile_stops_no_recovery(
    world: World, restored: tuple[tuple[bytes, ...], str]
) -> None:
    """A backup is older than a long weekend: the clock has to be vouched for before anybody shows what is missing."""
    world.stop()
    world.clock.pass_(days=5)
    leave_word(world.installed.folder, world.clock(), world.clock())
    record_start(world.start())
    assert world.authority is not None
    assert any(isinstance(parse_entry(data), ClockEntry) for data in world.authority.ledger.iterate())
    world.stop()
    recover_ledger(world.installed, *restored)
    record_start(world.start())
    assert issue(world)


def test_a_recovered_ledger_stands_an_audit(world: World, restored: tuple[tuple[bytes, ...], str]) -> None:
    world.stop()
    recover_ledger(world.installed, *restored)
    start_again(world)
    issue(world)
    world.stop()
    installed = world.installed
    reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
    files = {name: reader.resource(name) for name in wanted_names(reader.size) if name not in TRUST}
    files |= {name: (installed.folder / name).read_bytes() for name in TRUST}
    found = verify_export(DictExport(files), Evidence(pki_id=world.pki, earlier=restored[1]))
    assert found.problems == []


def test_a_witness_that_the_ledger_continues_or_that_nobody_signed_stops_nothing(world: World) -> None:
    issue(world)
    assert world.authority is not None
    early = world.authority.ledger.checkpoint
    issue(world)
    assert call(world, "witness", checkpoint=early)["continues"] is True
    origin = world.installed.anchor.ledger_origin
    with pytest.raises(IntegrityError):
        call(world, "witness", checkpoint=sign_checkpoint(origin, 999, bytes(32), Ed25519PrivateKey.generate()))
    with pytest.raises(IntegrityError):
        call(world, "witness", checkpoint="no note")
    issue(world)


def _running(world: World, copy: Any) -> Any:
    return copy


def _short(world: World, copy: Any) -> Any:
    world.stop()
    size = len(copy[0]) - 1
    tree = MerkleTree()
    for entry in copy[0][:size]:
        tree.append(leaf_hash(entry))
    return copy[0][:size], sign_checkpoint(world.installed.anchor.ledger_origin, size, tree.root(), world.ledger_key)


def _changed(world: World, copy: Any) -> Any:
    world.stop()
    return (*copy[0][:-1], copy[0][-1] + b" "), copy[1]


def _forged(world: World, copy: Any) -> Any:
    world.stop()
    origin = world.installed.anchor.ledger_origin
    return copy[0], sign_checkpoint(origin, len(copy[0]), bytes(32), Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (_running, Conflict, "stop|writes the ledger"),
        (_short, IntegrityError, "does not go on from"),
        (_changed, IntegrityError, "changed|root"),
        (_forged, IntegrityError, "not signed by|forged"),
    ],
)
def test_a_copy_that_will_not_do_changes_nothing(
    world: World,
    restored: tuple[tuple[bytes, ...], str],
    make: Callable[[World, Any], Any],
    error: type[Exception],
    said: str,
) -> None:
    with pytest.raises(IntegrityError):
        call(world, "witness", checkpoint=restored[1])
    copy = make(world, restored)
    before = copy_of(world)
    with pytest.raises(error, match=said):
        recover_ledger(world.installed, *copy)
    assert copy_of(world) == before
    world.stop()
    with pytest.raises(IntegrityError, match="was set back"):
        start_again(world)


def test_a_recovery_that_was_cut_off_between_its_renames_is_finished(
    world: World, restored: tuple[tuple[bytes, ...], str]
) -> None:
    world.stop()
    recover_ledger(world.installed, *restored)
    folder = world.installed.ledger
    folder.rename(folder.with_name("ledger.new"))
    assert recover_ledger(world.installed, *restored).size == len(restored[0])
    start_again(world)
    issue(world)


def test_what_has_nothing_missing_is_left_alone(world: World) -> None:
    issue(world)
    copy = copy_of(world)
    issue(world)
    world.stop()
    with pytest.raises(Conflict, match="nothing is missing"):
        recover_ledger(world.installed, *copy)


def test_a_certificate_that_the_set_back_ledger_issued_is_not_dropped(
    world: World, restored: tuple[tuple[bytes, ...], str]
) -> None:
    serial = issue(world)
    world.stop()
    with pytest.raises(IntegrityError, match="went its own way, with entries of type certificate, intent"):
        recover_ledger(world.installed, *restored)
    entries = copy_of(world)[0]
    assert any(serial.encode() in entry for entry in entries)
