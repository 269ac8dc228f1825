"""A follower's copy takes in what the ledger key signed and nothing else, and is a ledger that a signer can open."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.errors import Conflict, IntegrityError, Unavailable
from sealwright.ledger import copy as module
from sealwright.ledger.checkpoint import sign_checkpoint
from sealwright.ledger.copy import LedgerCopy
from sealwright.ledger.log import Ledger

ORIGIN = "sealwright/test"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.create(tmp_path / "ledger", ORIGIN, KEY) as ledger:
        yield ledger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Ledger.create(tmp_path / "copy", ORIGIN, KEY).close()  # as installation leaves it
    return tmp_path / "copy"


def grow(ledger: Ledger, count: int) -> None:
    for start in range(0, count, 200):
        ledger.append(*(os.urandom(40) for _ in range(min(200, count - start))))


def opened(folder: Path) -> LedgerCopy:
    return LedgerCopy.open(folder, ORIGIN, KEY.public_key())


def test_follows_in_any_steps_and_can_be_opened_as_the_ledger(ledger: Ledger, folder: Path) -> None:
    with opened(folder) as copy:
        for step in (1, 254, 1, 1, 600, 255):
            grow(ledger, step)
            assert copy.follow(ledger.checkpoint, ledger.resource) == step
            assert (copy.size, copy.root) == (ledger.size, ledger.root)
            assert copy.read(copy.size - 1) == ledger.read(ledger.size - 1)
        assert copy.follow(ledger.checkpoint, ledger.resource) == 0
    with opened(folder) as copy:
        assert list(copy.iterate()) == list(ledger.iterate())
    with Ledger.open(folder, ORIGIN, KEY) as taken:
        taken.append(b"the next")
        assert taken.size == ledger.size + 1


def other_entry(name: str, data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("tile/entries") else data


def shorter_bundle(name: str, data: bytes) -> bytes:
    return data[:-1] if name.startswith("tile/entries") else data


def other_hash(name: str, data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("tile/0") else data


def shorter_tile(name: str, data: bytes) -> bytes:
    return data[:-32] if name.startswith("tile/0") else data


LIES: dict[str, tuple[Callable[[str, bytes], bytes], str]] = {
    "an entry": (other_entry, "changed entry 511"),
    "a bundle's length": (shorter_bundle, "has 255 entries"),
    "a hash": (other_hash, "forks"),
    "a tile's length": (shorter_tile, "octets"),
}


@pytest.mark.parametrize("lie", LIES)
def test_takes_nothing_from_a_feed_that_changed(ledger: Ledger, folder: Path, lie: str) -> None:
    change, said = LIES[lie]
    grow(ledger, 500)
    with opened(folder) as copy:
        copy.follow(ledger.checkpoint, ledger.resource)
        before = copy.size, copy.root, copy.checkpoint
        grow(ledger, 200)
        with pytest.raises(IntegrityError, match=said):
            copy.follow(ledger.checkpoint, lambda name: change(name, ledger.resource(name)))
        assert (copy.size, copy.root, copy.checkpoint) == before
    with opened(folder) as copy:  # also what was written before the lie was met is gone
        assert copy.size == 500
        assert copy.follow(ledger.checkpoint, ledger.resource) == 200


def test_refuses_a_checkpoint_of_another_key_origin_or_form(ledger: Ledger, folder: Path) -> None:
    grow(ledger, 3)
    forged = sign_checkpoint(ORIGIN, ledger.size, ledger.root, OTHER)
    other = sign_checkpoint("sealwright/other", ledger.size, ledger.root, KEY)
    with opened(folder) as copy:
        for note in (forged, other, ledger.checkpoint.replace("\n3\n", "\n4\n"), "nothing"):
            with pytest.raises(IntegrityError):
                copy.follow(note, ledger.resource)
        assert copy.size == 0


def test_refuses_a_feed_that_went_back_or_forked(ledger: Ledger, folder: Path, tmp_path: Path) -> None:
    grow(ledger, 10)
    with opened(folder) as copy, Ledger.create(tmp_path / "fork", ORIGIN, KEY) as fork:
        copy.follow(ledger.checkpoint, ledger.resource)
        grow(fork, 9)
        with pytest.raises(IntegrityError, match="went back"):
            copy.follow(fork.checkpoint, fork.resource)
        for more in (1, 1):
            grow(fork, more)
            with pytest.raises(IntegrityError, match="forks"):
                copy.follow(fork.checkpoint, fork.resource)
        assert copy.root == ledger.root


class PowerCut(BaseException):
    pass


@pytest.mark.parametrize("cut", range(1, 7))
def test_a_crash_at_any_write_leaves_a_copy_that_goes_on(
    ledger: Ledger, folder: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    grow(ledger, 300)
    with opened(folder) as copy:
        copy.follow(ledger.checkpoint, ledger.resource)
    grow(ledger, 700)
    writes, real = 0, module.replace_file

    def cut_off(path: Path, data: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == cut:
            raise PowerCut
        real(path, data)

    with monkeypatch.context() as patch, opened(folder) as copy:
        patch.setattr(module, "replace_file", cut_off)
        with pytest.raises(PowerCut):
            copy.follow(ledger.checkpoint, ledger.resource)
    with opened(folder) as copy:
        assert copy.size == 300
        assert list(copy.iterate()) == list(ledger.iterate())[:300]
        assert copy.follow(ledger.checkpoint, ledger.resource) == 700
    with Ledger.open(folder, ORIGIN, KEY) as taken:
        assert taken.root == ledger.root


def test_a_source_that_goes_away_leaves_the_copy_as_it_was(ledger: Ledger, folder: Path) -> None:
    grow(ledger, 600)
    asked = 0

    def fetch(name: str) -> bytes:
        nonlocal asked
        asked += 1
        if asked == 5:
            raise Unavailable("gone")
        return ledger.resource(name)

    with opened(folder) as copy:
        with pytest.raises(Unavailable):
            copy.follow(ledger.checkpoint, fetch)
        assert copy.size == 0
        assert copy.follow(ledger.checkpoint, ledger.resource) == 600


def test_there_is_one_writer(ledger: Ledger, folder: Path) -> None:
    with opened(folder), pytest.raises(Conflict):
        Ledger.open(folder, ORIGIN, KEY)
    with pytest.raises(Conflict):
        opened(ledger._files.directory)


def test_a_changed_file_of_the_copy_is_seen(ledger: Ledger, folder: Path) -> None:
    grow(ledger, 300)
    with opened(folder) as copy:
        copy.follow(ledger.checkpoint, ledger.resource)
    path = folder / "tile/entries/000"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError, match="entry 255 was changed"):
        opened(folder)
    shutil.rmtree(folder)
