"""What a bad disk does to the running signer, on real tokens: a precise word, no signature meanwhile, and the way out.

The whole folder is on a disk of its own (``small_disk``), and the fault comes at the points of an act: before the
intent, between intent and signature, between signature and record. What the ledger does by itself is ``tests/ledger``.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from exports import audit
from sealwright import errors
from sealwright.channel import SignerChannel
from sealwright.errors import IntegrityError, SealwrightError, StorageError
from sealwright.hsm.generation import generate_key
from sealwright.hsm.session import Pin, TokenSession
from sealwright.installed import load_installed
from sealwright.issuing.fence import claim
from sealwright.issuing.service import SignerConfig, TokenKey
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RevocationRecord, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.keys import KeyKind
from sealwright.points import Point
from sealwright.statements.receipts import Receipt
from small_disk import SmallDisk, small_disk
from softhsm import TokenFactory
from world import World, make_world


@dataclass
class Signer:
    """The signer as it runs on servers, with its folder on a disk that can break: ``faulty``."""

    world: World
    config: SignerConfig
    disk: SmallDisk
    notes: Path
    process: subprocess.Popen[str] | None = None

    @property
    def channel(self) -> SignerChannel:
        return SignerChannel(self.config.socket)

    @property
    def signed(self) -> list[str]:
        """What the issuing key signed since anybody last looked."""
        found = self.notes.read_text().split() if self.notes.exists() else []
        self.notes.unlink(missing_ok=True)
        return found

    def status(self) -> dict[str, Any]:
        return self.channel.call("status")

    def tell(self, line: str, answer: str = "done") -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        self.hear(answer)

    def hear(self, answer: str) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert said == f"{answer}\n", said

    @contextmanager
    def running(self) -> Iterator[None]:
        """Until the block ends. Raises what it refuses to start with."""
        task = self.notes.with_name("task.pickle")
        task.write_bytes(pickle.dumps((self.config, self.world.clock.now, self.notes)))
        program = Path(__file__).with_name("faulty.py")
        paths = os.pathsep.join((str(program.parents[1]), os.environ.get("PYTHONPATH", "")))
        self.process = subprocess.Popen(
            self.disk.command((sys.executable, program, task)),
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            while not self.config.socket.exists() and self.process.poll() is None:
                time.sleep(0.01)
            if self.process.poll() is not None:
                assert self.process.stdout is not None
                kind, message, hint = json.loads(self.process.stdout.readline())
                raise getattr(errors, kind, SealwrightError)(message, hint=hint)
            yield
        finally:
            self.process.communicate(timeout=60)
            self.process = None

    @contextmanager
    def broken_at(self, point: Point, break_it: Callable[[], None]) -> Iterator[None]:
        """The disk goes bad when the act in this block gets there. It has to fail with what it raises in a thread."""
        self.tell(f"pause {point}")

        def wait() -> None:
            self.hear("paused")
            break_it()
            self.tell("go")

        breaker = threading.Thread(target=wait)
        breaker.start()
        yield
        breaker.join(60)

    def issue(self) -> Any:
        answer = self.channel.call("issue", order=self.world.order())
        return Receipt.parse(answer["receipt"]).load_certificate()

    def revoke(self, serial: str) -> None:
        order = {"revocation": self.world.signed(self.world.revocation(serial)).to_wire()}
        assert self.channel.call("revoke", order=order)["serials"] == [serial]

    def entries(self) -> list[Any]:
        installed = self.world.installed
        reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
        return [parse_entry(data) for data in reader.iterate()]

    def check_what_counts(self) -> None:
        """Once it is well again: nothing that was reserved is open, and an auditor finds no fault."""
        entries = self.entries()
        reserved = {each.serial for each in entries if isinstance(each, IntentEntry)}
        certified = {each.serial for each in entries if isinstance(each, CertificateEntry)}
        revoked = {serial for each in entries if isinstance(each, RevocationRecord) for serial in each.serials}
        assert reserved == certified | (revoked & reserved)
        assert audit(self.world).problems == []


@dataclass(frozen=True)
class Tokens:
    world: World
    issuing: TokenKey
    ledger: TokenKey


@pytest.fixture(scope="module")
def tokens(softhsm: TokenFactory, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    """A PKI whose issuing and ledger keys are on tokens, with a roster and a CRL."""
    folder = tmp_path_factory.mktemp("faults")
    found: dict[str, tuple[Any, TokenKey]] = {}
    for name, kind in (("issuing", KeyKind.P384), ("ledger", KeyKind.ED25519)):
        serial, pin = softhsm.new_token(name)
        with TokenSession.open(softhsm.module, serial, pin) as session:
            key = generate_key(session, kind, key_id=name.encode(), label=name)
            key.public_key()
            if name == "ledger":
                world = make_world(folder / "w", found["issuing"][0], key)  # type: ignore[arg-type]  # Ed25519
        found[name] = key, TokenKey(serial, name.encode(), softhsm.pin_file(folder, pin, name))
    issuing = found["issuing"][1]
    with TokenSession.open(softhsm.module, issuing.token_serial, Pin.from_file(issuing.pin_file)) as session:
        claim(session, world.installed.ledger, 1)  # every copy of this world is the same signer to the token
    return Tokens(world, issuing, found["ledger"][1])


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", "4m") as disk:
        yield disk


@pytest.fixture
def signer(disk: SmallDisk, tokens: Tokens, softhsm: TokenFactory, tmp_path: Path) -> Signer:
    shutil.copytree(tokens.world.installed.folder, disk.seen / "pki")
    installed = load_installed(disk.seen / "pki")
    before = tokens.world
    world = World(installed.folder, before.people, before.keys, before.ledger_key, installed, replace(before.clock))
    me = frozenset({os.getuid()})
    config = SignerConfig(
        disk.path / "pki", tmp_path / "s.sock", softhsm.module_path, tokens.issuing, tokens.ledger, me, me
    )
    return Signer(world, config, disk, tmp_path / "signed")


def publish_roster(signer: Signer) -> None:
    roster = signer.world.signed(signer.world.roster(), "olga", "omar").to_wire()
    signer.channel.call("publish-roster", roster=roster)
    wait_for(lambda: signer.status()["crl_number"] == 1)


def wait_for(what: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def fill(disk: SmallDisk) -> None:
    """To the last page: an open bundle has room in its own last one, so it is as full as it gets."""
    disk.fill()
    with (disk.seen / "ballast").open("ab") as file, suppress(OSError):
        while True:
            os.write(file.fileno(), b"x")


def make_read_only(disk: SmallDisk) -> None:
    """The ledger's directory, while the signer has files open in it: a remount would be refused as busy."""
    ledger = disk.path / "pki/ledger"
    for words in (("--bind", ledger, ledger), ("-o", "remount,bind,ro", ledger)):
        assert disk.run("mount", *words).returncode == 0


def make_writable(disk: SmallDisk) -> None:
    assert disk.run("umount", "--lazy", disk.path / "pki/ledger").returncode == 0


FAULTS = {
    "full": (fill, SmallDisk.make_room, "No space left on device"),
    "read-only": (make_read_only, make_writable, "Read-only file system"),
}
AFTER_THE_INTENT = (Point.INTENT_DURABLE, Point.CERTIFICATE_SIGNED)


def slow(*values: Any) -> Any:
    """The same proof at another step."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("fault", "point"),
    [
        slow("full", None),
        ("full", Point.INTENT_DURABLE),
        ("read-only", Point.CERTIFICATE_SIGNED),
        slow("full", Point.STILL_PERMITTED),
        slow("full", Point.CERTIFICATE_SIGNED),
        slow("read-only", None),
        slow("read-only", Point.STILL_PERMITTED),
        slow("read-only", Point.INTENT_DURABLE),
    ],
)
def test_a_disk_that_takes_nothing_stops_all_that_is_signed_until_it_does_again(
    signer: Signer, disk: SmallDisk, fault: str, point: Point | None
) -> None:
    break_it, mend_it, word = FAULTS[fault]
    with signer.running():
        publish_roster(signer)
        first = f"{signer.issue().serial_number:x}"
        assert signer.signed == ["sign_book", "sign_certificate"]
        size = signer.status()["ledger_size"]
        if point is None:
            break_it(disk)
        else:
            with signer.broken_at(point, lambda: break_it(disk)), pytest.raises(StorageError, match=word):
                signer.issue()
        assert signer.signed == (["sign_certificate"] if point in AFTER_THE_INTENT else [])
        roster = signer.world.signed(signer.world.roster(2), "olga", "omar").to_wire()
        suspension = signer.world.signed(signer.world.suspension("carol")).to_wire()
        acts: list[Callable[[], Any]] = [
            signer.issue,
            lambda: signer.revoke(first),
            lambda: signer.channel.call("responder-certificate"),
            lambda: signer.channel.call("publish-roster", roster=roster),
            lambda: signer.channel.call("suspend", suspension=suspension),
            lambda: signer.channel.call("issue", order={**signer.world.order(), "decisions": []}),  # a refusal
        ]
        for act in acts:
            with pytest.raises(StorageError, match=word) as caught:
                act()
            assert "free or remount the disk" in caught.value.hint
        assert signer.signed == []
        status = signer.status()  # it says how it is
        assert status["ledger_size"] == size + (1 if point in AFTER_THE_INTENT else 0)
        assert len(signer.channel.call("entries", start=0, count=5)["entries"]) == 5
        mend_it(disk)
        signer.issue()  # by itself, and what was open is closed before
        assert signer.status()["open_intents"] == 0
        signer.revoke(first)
        wait_for(lambda: signer.status()["crl_number"] >= 2)
    with signer.running():
        signer.issue()
    signer.check_what_counts()


@pytest.mark.parametrize("point", [Point.INTENT_DURABLE, slow(Point.STILL_PERMITTED), slow(Point.CERTIFICATE_SIGNED)])
def test_after_a_failed_fsync_nothing_is_signed_until_the_ledger_was_read_again(signer: Signer, point: Point) -> None:
    with signer.running():
        publish_roster(signer)
        failed = pytest.raises(StorageError, match="durable: Input/output error")
        with signer.broken_at(point, lambda: signer.tell("fsync fails")), failed:
            signer.issue()
        signer.tell("fsync works")  # the disk says that it is well, and that says nothing of what it lost
        assert signer.signed
        for _ in range(2):
            with pytest.raises(StorageError, match="not used any more") as caught:
                signer.issue()
            assert "start again" in caught.value.hint
        assert signer.signed == []
        assert signer.status()["ledger_size"]
        assert "Input/output error" in signer.status()["problem"]
    with signer.running():
        signer.issue()
    signer.check_what_counts()


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def truncate(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


@pytest.mark.parametrize(
    ("damage", "file"),
    [(flip, "open/0"), slow(truncate, "checkpoint"), slow(truncate, "open/0"), slow(flip, "checkpoint")],
)
def test_a_ledger_that_was_damaged_is_named_and_signs_nothing_until_it_is_put_back(
    signer: Signer, tmp_path: Path, damage: Callable[[Path], None], file: str
) -> None:
    ledger = signer.world.installed.ledger
    with signer.running():
        publish_roster(signer)
        signer.issue()
        copy = shutil.copytree(ledger, tmp_path / "copy")  # of a moment when it was well, as a follower has it
        assert signer.signed
        damage(ledger / file)
        with pytest.raises(IntegrityError, match="behind the signer's back"):
            signer.issue()
        with pytest.raises(IntegrityError, match="behind the signer's back"):
            signer.revoke(signer.status()["latest_serial"])
        assert signer.signed == []
    for _ in range(2):
        with pytest.raises(SealwrightError) as caught, signer.running():
            pass
        assert isinstance(caught.value, IntegrityError)
        assert caught.value.hint
        assert signer.signed == []
    shutil.rmtree(ledger)
    shutil.copytree(copy, ledger)
    with signer.running():
        signer.issue()
    signer.check_what_counts()


@pytest.mark.parametrize("damage", [slow(flip), slow(truncate)])
def test_a_damage_between_intent_and_record_leaves_no_certificate_that_is_good(
    signer: Signer, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    ledger = signer.world.installed.ledger
    copies: list[Path] = []

    def spoil() -> None:
        copies.append(shutil.copytree(ledger, tmp_path / "copy"))
        damage(ledger / "open/0")

    behind = pytest.raises(IntegrityError, match="behind the signer's back")
    with signer.running():
        publish_roster(signer)
        with signer.broken_at(Point.CERTIFICATE_SIGNED, spoil), behind:
            signer.issue()
    shutil.rmtree(ledger)
    shutil.copytree(copies[0], ledger)
    with signer.running():
        assert signer.status()["open_intents"] == 0
        assert signer.status()["revoked"] == 1  # it was signed, and nobody will ever find it good
        signer.issue()
    signer.check_what_counts()
