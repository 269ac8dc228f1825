"""The ledger as its writer has it: appending, reading, proving, and the files of tlog-tiles."""

import hashlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.errors import Conflict, InputError, IntegrityError, NotFound, StorageError
from sealwright.ledger.bundles import BUNDLE, ENTRY_LIMIT, encode_entry, tile_name
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.log import Ledger
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.tree import check_consistency, check_inclusion, leaf_hash


def entry(number: int) -> bytes:
    return f"entry {number} ".encode() * (1 + number % 5)


def fill(ledger: Ledger, size: int) -> None:
    while ledger.size < size:
        count = min(BUNDLE, size - ledger.size)
        ledger.append(*(entry(ledger.size + place) for place in range(count)))


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 700])
def test_what_was_appended_is_there_after_it_was_closed(
    size: int, folder: Path, origin: str, key: Ed25519PrivateKey
) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        fill(ledger, size)
        root, checkpoint = ledger.root, ledger.checkpoint
    with Ledger.open(folder, origin, key) as ledger:
        assert (ledger.size, ledger.root, ledger.checkpoint, ledger.cut_back) == (size, root, checkpoint, 0)
        assert list(ledger.iterate()) == [entry(number) for number in range(size)]
        assert verify_checkpoint(checkpoint, origin, key.public_key()) == (size, root)
        assert ledger.append(b"next") == (size,)
        assert ledger.read(size) == b"next"
        ledger.check_unchanged()


def test_appends_of_any_size_make_the_same_ledger(tmp_path: Path, origin: str, key: Ed25519PrivateKey) -> None:
    one, other = Ledger.create(tmp_path / "one", origin, key), Ledger.create(tmp_path / "other", origin, key)
    fill(one, 600)
    for batch in (1, 100, 155, 3, 256, 85):
        places = other.append(*(entry(other.size + place) for place in range(batch)))
        assert places == tuple(range(other.size - batch, other.size))
        other.check_unchanged()
    assert (one.size, one.root) == (other.size, other.root)
    for ledger in (one, other):
        ledger.close()
    files = [
        {str(path.relative_to(base)): path.read_bytes() for path in base.rglob("*") if path.is_file()}
        for base in (tmp_path / "one", tmp_path / "other")
    ]
    assert files[0] == files[1]


def test_files_are_those_of_tlog_tiles(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        fill(ledger, 600)
        leaves = b"".join(hashlib.sha256(b"\x00" + entry(number)).digest() for number in range(600))
        for number in (0, 1):
            first = number * 256
            assert (folder / f"tile/0/00{number}").read_bytes() == leaves[first * 32 : (first + 256) * 32]
            bundle = b"".join(encode_entry(entry(place)) for place in range(first, first + 256))
            assert (folder / f"tile/entries/00{number}").read_bytes() == bundle
        # Partial tiles of this size, cut when they are asked for.
        assert ledger.resource("tile/0/002.p/88") == leaves[512 * 32 :]
        assert ledger.resource("tile/0/001") == leaves[256 * 32 : 512 * 32]
        assert ledger.resource("tile/1/000.p/2") == b"".join(
            _subtree([entry(place) for place in range(number * 256, number * 256 + 256)]) for number in (0, 1)
        )
        assert ledger.resource("tile/entries/002.p/88") == b"".join(encode_entry(entry(n)) for n in range(512, 600))
        assert ledger.resource("checkpoint").decode() == ledger.checkpoint
        for absent in (
            "tile/0/002",
            "tile/0/002.p/89",
            "tile/0/003.p/1",
            "tile/0/000.p/256",
            "tile/0/000.p/0",
            "tile/1/000",
            "tile/64/000",
            "tile/00/000",
            "tile/0/x000/000",
            "tile/entries/003",
            "tile/../checkpoint",
            "open/2",
            "lock",
            "",
        ):
            with pytest.raises(NotFound):
                ledger.resource(absent)


def _subtree(entries: list[bytes]) -> bytes:
    level = [hashlib.sha256(b"\x00" + each).digest() for each in entries]
    while len(level) > 1:
        level = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level), 2)]
    return level[0]


def test_a_full_tile_of_full_tiles_is_written(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        while ledger.size < 256 * 256 + 3:
            ledger.append(*([b"x"] * min(256, 256 * 256 + 3 - ledger.size)))
        assert len((folder / "tile/1/000").read_bytes()) == 8192
        assert ledger.resource("tile/2/000.p/1") == _subtree([b"x"] * 65536)
    with Ledger.open(folder, origin, key) as ledger:
        assert ledger.size == 65539


def test_tile_names_are_those_of_the_specification() -> None:
    assert [tile_name(number) for number in (0, 7, 999, 1000, 1234067)] == [
        "000",
        "007",
        "999",
        "x001/000",
        "x001/x234/067",
    ]


def test_proofs_lead_from_entries_to_the_checkpoint(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        fill(ledger, 300)
        old = ledger.size, ledger.root
        fill(ledger, 611)
        for index in (0, 255, 256, 299, 610):
            proof = ledger.inclusion_proof(index)
            leaf = leaf_hash(ledger.read(index))
            check_inclusion(leaf=leaf, index=index, size=611, proof=proof, root=ledger.root)
        proof = ledger.consistency_proof(300)
        check_consistency(old=old[0], old_root=old[1], size=611, root=ledger.root, proof=proof)


def test_refuses_what_no_entry_can_be(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        for entries in ((), (b"",), (b"good", b"x" * (ENTRY_LIMIT + 1)), (b"x",) * (BUNDLE + 1)):
            with pytest.raises(InputError):
                ledger.append(*entries)
        assert ledger.size == 0
        ledger.append(b"x" * ENTRY_LIMIT)
        assert ledger.read(0) == b"x" * ENTRY_LIMIT
        for beyond in (1, -1):
            with pytest.raises(NotFound):
                ledger.read(beyond)


def test_a_ledger_is_never_written_over(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    Ledger.create(folder, origin, key).close()
    with pytest.raises(Conflict, match="not empty"):
        Ledger.create(folder, origin, key)
    with pytest.raises(NotFound, match="no ledger"):
        Ledger.open(folder.parent / "elsewhere", origin, key)


def test_one_writer_at_a_time(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    with Ledger.create(folder, origin, key):
        with pytest.raises(Conflict, match="another process"):
            Ledger.open(folder, origin, key)
        program = (
            "import sys; from pathlib import Path; from sealwright.errors import Conflict\n"
            "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as K\n"
            "from sealwright.ledger.log import Ledger\n"
            "try: Ledger.open(Path(sys.argv[1]), sys.argv[2], K.from_private_bytes(bytes.fromhex(sys.argv[3])))\n"
            "except Conflict: sys.exit(7)\n"
        )
        arguments = [str(folder), origin, key.private_bytes_raw().hex()]
        assert subprocess.run([sys.executable, "-c", program, *arguments], check=False).returncode == 7
    Ledger.open(folder, origin, key).close()


def test_a_closed_ledger_takes_nothing(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    ledger = Ledger.create(folder, origin, key)
    ledger.close()
    ledger.close()
    with pytest.raises(StorageError, match="closed"):
        ledger.append(b"late")
    with pytest.raises(StorageError, match="closed"):
        ledger.check_unchanged()


def test_another_key_or_another_pki_does_not_open_it(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    Ledger.create(folder, origin, key).close()
    with pytest.raises(IntegrityError, match="not signed by the ledger key"):
        Ledger.open(folder, origin, Ed25519PrivateKey.generate())
    with pytest.raises(IntegrityError, match="wanted 'sealwright/cd"):
        Ledger.open(folder, "sealwright/cd", key)
    Ledger.open(folder, origin, key).close()


def test_a_ledger_key_that_fails_leaves_nothing(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    ledger = Ledger.create(folder, origin, key)
    fill(ledger, 10)
    good, ledger._key = ledger._key, None  # type: ignore[assignment]  # what a token that went away is like
    with pytest.raises(AttributeError):
        ledger.append(b"unsigned")
    ledger._key = good
    assert ledger.size == 10
    ledger.check_unchanged()
    assert ledger.append(b"signed") == (10,)
    ledger.close()
    with LedgerReaderOf(folder, origin, key) as reader:
        assert list(reader.iterate(9)) == [entry(9), b"signed"]


class LedgerReaderOf:
    def __init__(self, folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
        self.reader = LedgerReader(folder, origin, key.public_key())

    def __enter__(self) -> LedgerReader:
        return self.reader

    def __exit__(self, *_: object) -> None:
        pass


def test_threads_append_and_read_at_once(folder: Path, origin: str, key: Ed25519PrivateKey) -> None:
    places: list[int] = []
    with Ledger.create(folder, origin, key) as ledger:

        def work(name: int) -> None:
            for turn in range(40):
                (place,) = ledger.append(f"{name} {turn}".encode())
                assert ledger.read(place) == f"{name} {turn}".encode()
                ledger.check_unchanged()
                places.append(place)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(places) == list(range(160))
    assert Ledger.open(folder, origin, key).size == 160


def test_opening_ten_thousand_entries_takes_less_than_a_second(
    folder: Path, origin: str, key: Ed25519PrivateKey
) -> None:
    with Ledger.create(folder, origin, key) as ledger:
        filler = os.urandom(4096)
        while ledger.size < 10_000:
            ledger.append(*(filler + bytes([number]) for number in range(250)))
    started = time.process_time()
    Ledger.open(folder, origin, key).close()
    assert time.process_time() - started < 1.0
