"""Files are there whole or not at all, never over others by mistake, and nothing is left beside them."""

import errno
import os
from pathlib import Path

import pytest

from sealwright.durable import read_file, replace_file, write_new
from sealwright.errors import Conflict, InputError, NotFound, StorageError


def test_a_new_file_is_never_laid_over_another(tmp_path: Path) -> None:
    write_new(tmp_path / "file", b"one", mode=0o640)
    with pytest.raises(Conflict):
        write_new(tmp_path / "file", b"two")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Conflict):
        write_new(tmp_path / "link", b"two")
    assert (tmp_path / "file").read_bytes() == b"one"
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


def test_on_a_medium_without_hard_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "FAT has none")

    monkeypatch.setattr(os, "link", refuse)
    write_new(tmp_path / "file", b"one")
    with pytest.raises(StorageError):
        write_new(tmp_path / "file", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"one")]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    replace_file(tmp_path / "file", b"one")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(StorageError, match="No space left"):
        replace_file(tmp_path / "file", b"two")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"one")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path: Path) -> None:
    replace_file(tmp_path / "file", b"one")
    os.chown(tmp_path / "file", 12345, 54321)
    replace_file(tmp_path / "file", b"two")
    status = (tmp_path / "file").stat()
    assert (status.st_uid, status.st_gid) == (12345, 54321)


def test_a_link_that_was_laid_where_we_write_is_not_followed(tmp_path: Path) -> None:
    """Whoever owns the folder cannot have us write somewhere else."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").symlink_to(victim)
    replace_file(folder / "file", b"two")
    assert victim.read_bytes() == b"mine"
    assert (folder / "file").read_bytes() == b"two"
    assert not (folder / "file").is_symlink()


def test_a_name_that_no_disk_has_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="File name too long"):
        read_file(tmp_path / ("x" * 256))
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="symbolic links"):
        read_file(tmp_path / "loop")


def test_reading_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    assert read_file(tmp_path / "file", limit=4) == b"1234"
    with pytest.raises(InputError, match="longer than 3 octets"):
        read_file(tmp_path / "file", limit=3)
    with pytest.raises(NotFound):
        read_file(tmp_path / "absent")
    with pytest.raises(InputError, match="not a file"):
        read_file(tmp_path)
