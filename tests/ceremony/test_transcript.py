"""The transcript on the disk: chained, durable, never continued."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sealwright.ceremony.transcript import FIRST, Recorded, Transcript, parse_transcript
from sealwright.errors import Conflict, IntegrityError, StorageError

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_what_is_recorded_is_read_back_with_its_head(tmp_path: Path) -> None:
    journal = Transcript(tmp_path / "t", lambda: NOON)
    journal.record("header", {"kind": "x"})
    journal.record("result", {"step": 1}, {"serial": "a"})
    entries, head = parse_transcript((tmp_path / "t").read_bytes())
    journal.close()
    assert head == journal.head
    assert [entry["entry"] for entry in entries] == ["header", "result"]
    assert entries[0]["prev"] == FIRST
    assert entries[1] | {"prev": ""} == {
        "n": 1,
        "prev": "",
        "at": "2026-11-23T12:00:00Z",
        "entry": "result",
        "step": 1,
        "serial": "a",
    }


def test_each_line_is_on_the_disk_before_the_next_thing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(handle), real(handle)))
    journal = Transcript(tmp_path / "t", lambda: NOON)
    before = len(synced)
    journal.record("intent", {"step": 1})
    assert len(synced) == before + 1
    journal.close()


def test_a_clock_that_steps_back_does_not_make_the_record_false(tmp_path: Path) -> None:
    times = iter([NOON, NOON, NOON - timedelta(hours=1), NOON + timedelta(seconds=1)])
    journal = Transcript(tmp_path / "t", lambda: next(times))
    for number in range(3):
        journal.record("step", {"step": number})
    journal.close()
    entries, _ = parse_transcript((tmp_path / "t").read_bytes())
    assert [entry["at"][11:19] for entry in entries] == ["12:00:00", "12:00:00", "12:00:01"]


def test_an_existing_transcript_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"")
    with pytest.raises(Conflict, match="never overwritten"):
        Transcript(tmp_path / "t", lambda: NOON)


def test_a_disk_that_is_full_is_an_error_with_a_name(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        Transcript(tmp_path / "absent" / "t", lambda: NOON)
    journal = Transcript(tmp_path / "t", lambda: NOON)
    journal.close()
    journal._file = __import__("os").open("/dev/full", 1)
    with pytest.raises(StorageError, match="No space left"):
        journal.record("step", {"step": 1})
    journal.close()


def test_a_replay_that_comes_to_something_else_names_line_and_field() -> None:
    recorded = Recorded(({"n": 0, "prev": "", "at": "", "entry": "drafted", "sha256": "aa"},))
    with pytest.raises(IntegrityError, match=r"line 1 \(drafted\) says sha256 is 'aa'; done again it is 'bb'"):
        recorded.record("drafted", {"sha256": "bb"})
    with pytest.raises(IntegrityError, match="is 'drafted'; the script gives 'signed' here"):
        recorded.record("signed", {})
