"""The follower: no key, no right to write, and a memory."""

import shutil
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.errors import IntegrityError, NotFound
from sealwright.ledger.log import Ledger
from sealwright.ledger.reader import LedgerReader


def test_follows_the_writer(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        reader = LedgerReader(folder, origin, key.public_key())
        assert (reader.size, reader.refresh()) == (0, 0)
        for batch in (1, 5, 250, 1, 256, 99):
            before = ledger.size
            ledger.append(*(f"{before + place}".encode() for place in range(batch)))
            assert reader.size == before
            assert reader.refresh() == batch
            assert (reader.size, reader.root, reader.checkpoint) == (ledger.size, ledger.root, ledger.checkpoint)
            assert list(reader.iterate(before)) == [f"{before + place}".encode() for place in range(batch)]
        assert [reader.read(index) for index in (0, 255, 256, 611)] == [b"0", b"255", b"256", b"611"]
        assert reader.inclusion_proof(300) == ledger.inclusion_proof(300)
        assert reader.resource("tile/entries/002.p/100") == ledger.resource("tile/entries/002.p/100")


def test_needs_no_right_to_write(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(b"one")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    LedgerReader(folder, origin, key.public_key())
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_does_not_see_what_the_checkpoint_does_not_cover(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(b"one")
        with (folder / "open/0").open("ab") as file:
            file.write(b"\x00\x03two\x00")
        reader = LedgerReader(folder, origin, key.public_key())
        assert list(reader.iterate()) == [b"one"]
        with pytest.raises(NotFound):
            reader.read(1)


def test_notices_a_ledger_that_was_rolled_back(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(b"one")
        shutil.copytree(folder, folder.with_name("older"))
        ledger.append(b"two")
    reader = LedgerReader(folder, origin, key.public_key())
    shutil.rmtree(folder)
    folder.with_name("older").rename(folder)
    with pytest.raises(IntegrityError, match="rolled back: it has 1 entries, and had 2"):
        reader.refresh()
    assert reader.size == 2
    with pytest.raises(IntegrityError, match="truncated"):
        reader.read(1)


def test_reads_what_was_verified_or_nothing(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(b"one", b"two")
    reader = LedgerReader(folder, origin, key.public_key())
    bundle = folder / "open/0"
    bundle.write_bytes(bundle.read_bytes().replace(b"two", b"owt"))
    with pytest.raises(IntegrityError, match="entry 1 was changed"):
        reader.read(0)


def test_notices_a_ledger_that_was_rewritten(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(b"one")
    reader = LedgerReader(folder, origin, key.public_key())
    shutil.rmtree(folder)
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(b"won")
    with pytest.raises(IntegrityError, match="was changed"):
        reader.refresh()
    with Ledger.open(folder, origin, key) as ledger:
        ledger.append(b"two")
    with pytest.raises(IntegrityError, match="was changed"):
        reader.refresh()
    assert reader.size == 1


def test_follows_while_the_writer_writes(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        stop = threading.Event()

        def write() -> None:
            while not stop.is_set():
                ledger.append(*(f"{ledger.size + place}".encode() for place in range(97)))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            reader, seen = LedgerReader(folder, origin, key.public_key()), 0
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                reader.refresh()
                for found in reader.iterate(seen):
                    assert found == f"{seen}".encode()
                    seen += 1
        finally:
            stop.set()
            writer.join()
    assert seen > 256, "bundles were sealed meanwhile"


def test_there_has_to_be_a_ledger(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with pytest.raises(NotFound, match="no ledger"):
        LedgerReader(folder, origin, key.public_key())
