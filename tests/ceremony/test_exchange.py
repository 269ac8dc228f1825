"""What is carried between rooms: every file that was laid down, and nothing that was not."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sealwright.ceremony import exchange
from sealwright.ceremony.exchange import Direction, read_exchange, write_exchange
from sealwright.errors import Conflict, InputError, IntegrityError, NotFound, SealwrightError

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A stick with a record's folder and a loose file on it, for the way out."""
    record = tmp_path / "production-1"
    (record / "outputs").mkdir(parents=True)
    (record / "outputs/root.pem").write_bytes(b"root")
    (record / "transcript.jsonl").write_bytes(b"{}\n")
    (tmp_path / "note.txt").write_bytes(b"")
    stick = tmp_path / "stick"
    stick.mkdir()
    write_exchange(stick, Direction.OUT, [record, tmp_path / "note.txt"], AT)
    return stick


def read(medium: Path, *, direction: Direction = Direction.OUT, sha256: str | None = None) -> exchange.Manifest:
    return read_exchange(medium, direction, medium.parent / "received", sha256=sha256)


def test_what_was_laid_down_is_what_is_taken_off(medium: Path) -> None:
    manifest = read(medium)
    received = medium.parent / "received"
    assert {path.relative_to(received).as_posix(): path.read_bytes() for path in received.rglob("*.*")} | {} == {
        "production-1/outputs/root.pem": b"root",
        "production-1/transcript.jsonl": b"{}\n",
        "note.txt": b"",
    }
    assert sorted(manifest.files) == ["note.txt", "production-1/outputs/root.pem", "production-1/transcript.jsonl"]
    assert not list(medium.glob(".exchange-*"))


def test_the_manifest_s_digest_from_another_channel_is_what_it_has_to_be(medium: Path) -> None:
    wanted = read(medium).sha256
    (medium.parent / "received").rename(medium.parent / "first")
    assert read(medium, sha256=wanted).sha256 == wanted
    with pytest.raises(IntegrityError, match="told was"):
        read(medium, sha256="0" * 64)


SPOILED: dict[str, tuple[Callable[[Path], object], type[SealwrightError], str]] = {
    "an extra file": (lambda out: (out / "extra.txt").write_text("x"), IntegrityError, "extra.txt is there and is not"),
    "an extra file below": (
        lambda out: (out / "production-1/outputs/issuing.pem").write_text("x"),
        IntegrityError,
        "issuing.pem is there and is not",
    ),
    "a hidden file": (lambda out: (out / ".hidden").write_text("x"), InputError, "not a name that can be carried"),
    "an empty folder": (lambda out: (out / "empty").mkdir(), InputError, "empty folder"),
    "a file that is gone": (lambda out: (out / "note.txt").unlink(), IntegrityError, "note.txt is on the manifest"),
    "changed bytes": (
        lambda out: (out / "production-1/outputs/root.pem").write_bytes(b"r00t"),
        IntegrityError,
        "root.pem is not what the manifest says",
    ),
    "a longer file": (lambda out: (out / "note.txt").write_text("x" * 99), IntegrityError, "note.txt is not what"),
    "a link": (lambda out: _to_link(out / "production-1/outputs/root.pem"), InputError, "is a link"),
    "a link to a folder": (lambda out: _to_link(out / "production-1/outputs"), InputError, "is a link"),
    "a pipe": (lambda out: os.mkfifo(out / "pipe"), InputError, "neither a file nor a folder"),
    "a manifest that was laid out again": (
        lambda out: (out / "manifest.json").write_text(
            json.dumps(json.loads((out / "manifest.json").read_text()), indent=1)
        ),
        InputError,
        "not in canonical form",
    ),
    "no manifest": (lambda out: (out / "manifest.json").unlink(), NotFound, "manifest.json is not there"),
}


def _to_link(path: Path) -> None:
    elsewhere = path.parents[3] / f"elsewhere-{path.name}"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


@pytest.mark.parametrize("what", SPOILED)
def test_whatever_is_not_on_the_manifest_is_refused_and_nothing_is_copied(medium: Path, what: str) -> None:
    spoil, error, said = SPOILED[what]
    spoil(medium / "out")
    with pytest.raises(error, match=said):
        read(medium)
    assert not (medium.parent / "received").exists()


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "a/../../b", "con.", "a b", "-", "x/" * 9 + "x", ".x", "r\u043e\u043et.pem"]
)
def test_a_name_with_a_trick_in_it_is_refused(medium: Path, name: str) -> None:
    path = medium / "out/manifest.json"
    file = json.loads(path.read_text())
    file["files"][name] = {"size": 0, "sha256": "0" * 64}
    path.write_text(json.dumps(file, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    with pytest.raises(InputError, match="not a name that can be carried") as refused:
        read(medium)
    assert refused.value.message.isascii(), "what looks like another name is shown as it is"


def test_what_goes_in_is_never_taken_for_what_comes_out(medium: Path) -> None:
    with pytest.raises(NotFound):
        read(medium, direction=Direction.IN)
    (medium / "out").rename(medium / "in")
    with pytest.raises(InputError, match="the manifest is of `out`, and lies in in/"):
        read(medium, direction=Direction.IN)


def test_nothing_is_written_over_what_is_there(medium: Path) -> None:
    with pytest.raises(Conflict):
        write_exchange(medium, Direction.OUT, [medium.parent / "note.txt"], AT)
    read(medium)
    with pytest.raises(Conflict):
        read(medium)


@pytest.mark.parametrize(("limit", "value"), [("FILE_LIMIT", 3), ("FILES_LIMIT", 2), ("TOTAL_LIMIT", 6)])
def test_what_is_too_big_is_refused_both_ways(
    medium: Path, limit: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, limit, value)
    with pytest.raises((InputError, IntegrityError)):
        read(medium)
    assert not (medium.parent / "received").exists()
    with pytest.raises(InputError, match="octets"):
        write_exchange(medium, Direction.IN, [medium.parent / "production-1", medium.parent / "note.txt"], AT)
    assert not (medium / "in").exists()


def test_what_cannot_be_carried_is_not_laid_down(medium: Path) -> None:
    folder = medium.parent
    (folder / "link").symlink_to(folder / "note.txt")
    (folder / "pair").mkdir()
    (folder / "pair/a.txt").write_text("1")
    (folder / "pair/A.txt").write_text("2")
    (folder / "manifest.json").write_text("{}")
    (folder / "other").mkdir()
    (folder / "other/note.txt").write_text("two")
    for sources, said in (
        (["link"], "is a link"),
        (["pair"], "differ in capitals only"),
        (["manifest.json"], "a file is called manifest.json"),
        (["note.txt", "other/note.txt"], "two of the files are called note.txt"),
    ):
        with pytest.raises(InputError, match=said):
            write_exchange(medium, Direction.IN, [folder / each for each in sources], AT)
    for absent in (folder / "absent", folder / "note.txt"):
        with pytest.raises(NotFound):
            write_exchange(folder / "no-medium", Direction.IN, [absent], AT)
    assert not (medium / "in").exists()
