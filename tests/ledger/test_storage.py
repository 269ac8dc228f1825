"""What a disk can do to the writer: full, read-only, failing. Nothing is half-written, and the word is precise.

"Full" is a real refusal by the kernel: a limit on the size of files of a child process (EFBIG), and /dev/full (ENOSPC).
A failing fsync cannot be had from a healthy disk, so ``os.fsync`` is made to fail.
"""

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.errors import StorageError
from sealwright.ledger.log import Ledger


@contextmanager
def largest_file(octets: int) -> Iterator[None]:
    """Writes beyond this are refused by the kernel, in this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def ledger(folder: Path, origin: str, key: Ed25519PrivateKey) -> Iterator[Ledger]:
    with Ledger.create(folder, origin, key) as ledger:
        ledger.append(*(f"entry {number}".encode() for number in range(250)))
        yield ledger


def state(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_disk_that_is_full_takes_nothing_of_an_append(
    ledger: Ledger, folder: Path, origin: str, key: Ed25519PrivateKey
) -> None:
    before = state(folder)
    octets = len(before["open/0"])
    for room in (0, 1, 2, 500):  # somewhere inside the append's entries
        with largest_file(octets + room), pytest.raises(StorageError, match=r"cannot write .*open/0"):
            ledger.append(*(b"x" * 300 for _ in range(5)))
        assert state(folder) == before
        assert ledger.size == 250
        ledger.check_unchanged()
    assert ledger.append(b"room again") == (250,)
    ledger.close()
    with Ledger.open(folder, origin, key) as again:
        assert (again.size, again.cut_back) == (251, 0)


def test_a_disk_that_is_full_in_the_second_bundle_takes_nothing(ledger: Ledger, folder: Path) -> None:
    before = state(folder)
    with largest_file(len(before["open/0"]) + 6 * 202), pytest.raises(StorageError, match=r"cannot write .*open/1"):
        ledger.append(*(b"x" * 200 for _ in range(6 + 60)))
    assert state(folder) == before
    ledger.check_unchanged()
    assert ledger.append(*(b"y" * 200 for _ in range(66))) == tuple(range(250, 316))


def test_a_disk_that_is_full_at_the_checkpoint_takes_nothing(ledger: Ledger, folder: Path) -> None:
    before = state(folder)
    (folder / ".checkpoint.new").symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left") as caught:
        ledger.append(b"no room for the checkpoint")
    assert "nothing was half-written" in caught.value.hint
    assert state(folder) == before
    ledger.check_unchanged()
    assert ledger.append(b"room again") == (250,)


def test_an_append_that_counts_is_not_refused_for_want_of_a_tile(
    ledger: Ledger, folder: Path, origin: str, key: Ed25519PrivateKey
) -> None:
    (folder / "tile/0").write_text("in the way")
    assert ledger.append(*(b"x" for _ in range(10))) == tuple(range(250, 260))
    ledger.check_unchanged()
    with pytest.raises(StorageError, match="tile/0"):
        ledger.append(b"refused before anything is written")
    assert ledger.size == 260
    (folder / "tile/0").unlink()
    assert ledger.append(b"sealed now") == (260,)
    assert (folder / "tile/entries/000").exists()
    ledger.close()
    assert Ledger.open(folder, origin, key).size == 261


@pytest.mark.parametrize("which", range(3))
def test_after_a_failed_fsync_the_instance_is_used_no_more(
    which: int, ledger: Ledger, folder: Path, origin: str, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    real = os.fsync

    def failing(descriptor: int) -> None:
        if next(calls) == which:  # entries, checkpoint, directory
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", failing)
        with pytest.raises(StorageError, match="durable: Input/output error"):
            ledger.append(b"perhaps")
    assert ledger.size == 250
    for _ in range(2):
        with pytest.raises(StorageError, match="not used any more"):
            ledger.append(b"no")
        with pytest.raises(StorageError, match="not used any more"):
            ledger.check_unchanged()
    ledger.close()
    with Ledger.open(folder, origin, key) as again:
        # The checkpoint tells: cut back where it is the old one, kept where it is the new one. Never torn.
        assert again.size == (251 if which == 2 else 250)
        assert again.append(b"next") == (again.size - 1,)


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A directory that every user may enter, which pytest's are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_read_only_directory_is_a_clear_word(
    ledger: Ledger, folder: Path, origin: str, key: Ed25519PrivateKey, everybodys: Path
) -> None:
    """As another user, because root may write everywhere: where the test is root, it becomes ``nobody``."""
    ledger.close()
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey as K\n"
        "from sealwright.errors import StorageError\n"
        "from sealwright.ledger.log import Ledger\n"
        "if os.getuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: Ledger.open(Path(sys.argv[1]), sys.argv[2], K.from_private_bytes(bytes.fromhex(sys.argv[3])))\n"
        "except StorageError as error: print(error, '/', error.hint)\n"
    )
    shutil.copytree(folder, everybodys / "ledger")
    folder = everybodys / "ledger"
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    arguments = [str(folder), origin, key.private_bytes_raw().hex()]
    said = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    ).stdout
    assert "cannot open" in said
    assert "Permission denied" in said
    assert "give this user the directory" in said


def test_a_ledger_whose_directory_is_gone_is_seen(ledger: Ledger, folder: Path) -> None:
    shutil.rmtree(folder)
    with pytest.raises(Exception, match="no ledger"):
        ledger.check_unchanged()
    with pytest.raises(StorageError):
        ledger.append(b"nowhere")
