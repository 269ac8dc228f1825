"""Every damage to the files is detected when the ledger is opened, and named: the file, and the entry where that can
be known."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealwright.errors import IntegrityError, NotFound, StorageError
from sealwright.ledger.log import Ledger
from sealwright.ledger.reader import LedgerReader

SIZE = 600
PRISTINE: list[Path] = []
ORIGIN = "sealwright/" + "ab" * 32
KEY = Ed25519PrivateKey.generate()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pristine") / "ledger"
    with Ledger.create(folder, ORIGIN, KEY) as ledger:
        for start in range(0, SIZE, 100):
            ledger.append(*(f"entry number {place}".encode() for place in range(start, start + 100)))
            if start == 400:
                shutil.copy(folder / "checkpoint", folder.with_name("checkpoint-500"))
            if start == 0:
                shutil.copy(folder / "checkpoint", folder.with_name("checkpoint-100"))
    return folder


@pytest.fixture
def damaged(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "ledger"))


def flip(path: Path, place: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def cut(path: Path, octets: int) -> None:
    path.write_bytes(path.read_bytes()[:-octets])


def extend(path: Path, data: bytes) -> None:
    path.write_bytes(path.read_bytes() + data)


def opens(folder: Path) -> str:
    """What opening it says is wrong."""
    with pytest.raises(IntegrityError) as caught:
        Ledger.open(folder, ORIGIN, KEY)
    return caught.value.message


def forge(at: Path, old: str, new: str) -> None:
    text = (at / "checkpoint").read_text()
    assert old in text
    (at / "checkpoint").write_text(text.replace(old, new))


def put_back(at: Path, name: str, source: Path | None = None) -> None:
    shutil.copy((source or PRISTINE[0]).with_name(name), at / "checkpoint")


def hide_rollback(at: Path) -> None:
    """An older checkpoint, and full bundles made to look as if they were still open."""
    put_back(at, "checkpoint-100")
    for number in (0, 1):
        (at / f"tile/entries/00{number}").rename(at / f"open/{number}")
        (at / f"tile/0/00{number}").unlink()


def swap_entries(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"entry number 260", b"entry number 269", 1))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda at: flip(at / "tile/entries/000", 40), "entry 2 was changed: tile/entries/000, 3. in the file"),
        (lambda at: swap_entries(at / "tile/entries/001"), "entry 260 was changed: tile/entries/001"),
        (
            lambda at: flip(at / "tile/entries/001", 0, 6),
            "changed length: tile/entries/001 has 0 whole",
        ),
        (lambda at: flip(at / "tile/entries/001", 19, 4), "entry 257 was changed, its length or before: tile/0/001"),
        (lambda at: flip(at / "open/2", 1, 6), "truncated or has a changed length: open/2"),
        (lambda at: cut(at / "tile/entries/001", 1), "changed length: tile/entries/001 has 255 whole entries"),
        (lambda at: cut(at / "tile/entries/001", 18), "(entry 511 is the first that is missing)"),
        (lambda at: (at / "tile/entries/001").write_bytes(b""), "truncated: tile/entries/001 has 0 whole"),
        (lambda at: (at / "tile/entries/001").unlink(), "tile/entries/001 with the entries from 256 on is missing"),
        (lambda at: extend(at / "tile/entries/000", b"x"), "tile/entries/000 has 256 entries and 1 octets"),
        (lambda at: flip(at / "open/2", 5), "look at open/2 (entries 512 to 599)"),
        (lambda at: cut(at / "open/2", 1), "open/2 has 87 whole entries; the checkpoint covers 88"),
        (lambda at: (at / "open/2").unlink(), "entries from 512 on is missing"),
        (lambda at: flip(at / "tile/0/001", 33), "tile/0/001 was changed: its hashes are not those of the entries"),
        (lambda at: cut(at / "tile/0/000", 32), "tile/0/000 was changed"),
        (lambda at: flip(at / "checkpoint", 80), "checkpoint"),
        (lambda at: cut(at / "checkpoint", 1), "checkpoint is not a signed note"),
        (lambda at: (at / "checkpoint").write_bytes(b""), "checkpoint is not a signed note"),
        (lambda at: (at / "checkpoint").write_bytes(b"\xff"), "checkpoint is not text"),
        (lambda at: forge(at, "\n600\n", "\n599\n"), "checkpoint was forged or changed"),
        (lambda at: put_back(at, "checkpoint-500"), "rolled back: the checkpoint covers 500 entries, and tile/"),
        (lambda at: put_back(at, "checkpoint-100"), "rolled back: the checkpoint covers 100 entries, and tile/"),
        (hide_rollback, "rolled back: the checkpoint covers 100 entries, and 500 whole entries follow"),
        (lambda at: (at / "open/notes").write_text("x"), "open/notes that nothing here made"),
        (lambda at: shutil.copy(at / "tile/entries/000", at / "open/0"), "both open/0 and tile/entries/000"),
    ],
)
def test_names_the_damage(damaged: Path, damage: Callable[[Path], object], says: str) -> None:
    damage(damaged)
    assert says in opens(damaged)


@pytest.fixture(autouse=True)
def _where_pristine_is(pristine: Path) -> None:
    PRISTINE[:] = [pristine]


def test_without_its_files_there_is_no_ledger(damaged: Path) -> None:
    shutil.rmtree(damaged / "open")
    with pytest.raises(IntegrityError, match="512"):
        Ledger.open(damaged, ORIGIN, KEY)
    (damaged / "checkpoint").unlink()
    with pytest.raises(NotFound, match="no ledger"):
        Ledger.open(damaged, ORIGIN, KEY)


def test_a_directory_in_a_files_place_is_a_clear_word(damaged: Path) -> None:
    (damaged / "checkpoint").unlink()
    (damaged / "checkpoint").mkdir()
    with pytest.raises(StorageError, match="cannot read"):
        Ledger.open(damaged, ORIGIN, KEY)


def test_a_damaged_ledger_does_not_keep_its_lock(damaged: Path) -> None:
    flip(damaged / "open/2", 5)
    opens(damaged)
    flip(damaged / "open/2", 5)
    Ledger.open(damaged, ORIGIN, KEY).close()


def test_missing_tiles_are_derived_again(damaged: Path, pristine: Path) -> None:
    (damaged / "tile/0/000").unlink()
    shutil.rmtree(damaged / "tile/0")
    Ledger.open(damaged, ORIGIN, KEY).close()
    for number in ("000", "001"):
        assert (damaged / "tile/0" / number).read_bytes() == (pristine / "tile/0" / number).read_bytes()


@pytest.mark.parametrize("torn", [b"\x00", b"\x00\x05abc", b"\x00\x03abc", b"\x00\x03abc\x00\x03abc\xff"])
def test_a_torn_tail_is_cut_back_durably(damaged: Path, pristine: Path, torn: bytes) -> None:
    with (damaged / "open/2").open("ab") as file:
        file.write(torn)
    with Ledger.open(damaged, ORIGIN, KEY) as ledger:
        assert (ledger.size, ledger.cut_back) == (SIZE, len(torn))
        assert (damaged / "open/2").read_bytes() == (pristine / "open/2").read_bytes()
        ledger.append(b"next")
    with Ledger.open(damaged, ORIGIN, KEY) as ledger:
        assert (list(ledger.iterate(SIZE)), ledger.cut_back) == ([b"next"], 0)


def test_a_torn_append_over_a_bundles_end_is_cut_back(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger.create(folder, ORIGIN, KEY) as ledger:
        ledger.append(*(b"old" for _ in range(200)))
        before = folder / "checkpoint.before"
        shutil.copy(folder / "checkpoint", before)
        entries = (folder / "open/0").read_bytes()
    # What a crash leaves between the entries of an append of 200 and its checkpoint.
    (folder / "open/0").write_bytes(entries + b"\x00\x03new" * 56)
    (folder / "open/1").write_bytes(b"\x00\x03new" * 144)
    before.unlink()
    with Ledger.open(folder, ORIGIN, KEY) as ledger:
        assert (ledger.size, ledger.cut_back) == (200, 200 * 5)
        assert not (folder / "open/1").exists()
        ledger.append(*(b"again" for _ in range(200)))
        ledger.check_unchanged()
    with Ledger.open(folder, ORIGIN, KEY) as ledger:
        assert ledger.read(399) == b"again"


def test_a_crash_before_the_full_bundle_was_sealed_is_finished(damaged: Path, pristine: Path) -> None:
    (damaged / "tile/entries/001").rename(damaged / "open/1")
    (damaged / "tile/0/001").unlink()
    reader = LedgerReader(damaged, ORIGIN, KEY.public_key())
    assert reader.read(300) == b"entry number 300"
    Ledger.open(damaged, ORIGIN, KEY).close()
    for name in ("tile/entries/001", "tile/0/001"):
        assert (damaged / name).read_bytes() == (pristine / name).read_bytes()
    assert reader.read(400) == b"entry number 400"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_flipped_bit_anywhere_is_detected(damaged: Path, data: st.DataObject) -> None:
    files = sorted(path for path in damaged.rglob("*") if path.is_file() and path.name != "lock")
    path = data.draw(st.sampled_from(files))
    content = path.read_bytes()
    place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
    flip(path, place, bit)
    try:
        opens(damaged)
        if "tile/0" not in str(path):  # a follower takes the hashes from the entries
            with pytest.raises(IntegrityError):
                LedgerReader(damaged, ORIGIN, KEY.public_key())
    finally:
        path.write_bytes(content)


# While the process runs


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda at: flip(at / "open/2", -1), "open/2"),
        (lambda at: flip(at / "open/2", 5), "open/2: entry 512 is another"),
        (lambda at: extend(at / "open/2", b"x"), "open/2"),
        (lambda at: cut(at / "open/2", 3), "open/2"),
        (lambda at: (at / "open/2").unlink(), "open/2: it cannot be read"),
        (lambda at: replace_by_copy(at / "open/2"), "open/2: it was replaced by a copy"),
        (lambda at: flip(at / "checkpoint", 70), "checkpoint is not the one it left"),
        (lambda at: put_back(at, "checkpoint-500"), "checkpoint is not the one it left"),
        (lambda at: flip(at / "tile/entries/000", 100), "tile/entries/000: entry 6 is another"),
        (lambda at: (at / "tile/entries/001").unlink(), "tile/entries/001: it cannot be read"),
        (lambda at: replace_by_copy(at / "lock"), "lock file was replaced"),
        (lambda at: (at / "lock").unlink(), "lock file was replaced"),
    ],
)
def test_a_change_behind_the_writers_back_is_seen_before_the_next_signature(
    damaged: Path, damage: Callable[[Path], object], says: str
) -> None:
    with Ledger.open(damaged, ORIGIN, KEY) as ledger:
        for _ in range(5):
            ledger.check_unchanged()
        damage(damaged)
        with pytest.raises(IntegrityError) as caught:
            check_in_turn(ledger)
        assert says in caught.value.message


def check_in_turn(ledger: Ledger) -> None:
    """As often as it takes until each bundle had its turn."""
    for _ in range(3):
        ledger.check_unchanged()


def replace_by_copy(path: Path) -> None:
    path.with_suffix(".copy").write_bytes(path.read_bytes())
    path.with_suffix(".copy").replace(path)


def test_a_backup_that_only_reads_or_touches_is_no_change(damaged: Path, tmp_path: Path) -> None:
    with Ledger.open(damaged, ORIGIN, KEY) as ledger:
        shutil.copytree(damaged, tmp_path / "backup")
        for path in damaged.rglob("*"):
            path.touch()
        for _ in range(6):
            ledger.check_unchanged()
        assert ledger.append(b"next") == (SIZE,)
