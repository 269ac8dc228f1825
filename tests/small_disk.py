"""A small disk to fill: a tmpfs in a mount namespace of its own, which ends with its holder and leaves nothing behind.

Commands run in that namespace; ``seen`` is how a test outside looks in. Root needs no more than ``unshare``; anybody
else gets a user namespace. Where neither is allowed, the test fails and says so: a full disk is not skipped in silence.
"""

import errno
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class SmallDisk:
    """``path`` is where commands see it."""

    path: Path
    holder: int

    @property
    def seen(self) -> Path:
        return Path(f"/proc/{self.holder}/root{self.path}")

    def command(self, words: Sequence[str | Path]) -> list[str]:
        """``words``, to be run where the disk is."""
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        return ["nsenter", f"--target={self.holder}", "--mount", *user, "--", *map(str, words)]

    def run(self, *words: str | Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(words),
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )

    def fill(self) -> None:
        """Take all of its room, in the file ``ballast``; whoever writes meanwhile takes the rest."""
        with (self.seen / "ballast").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(65536))  # a short write at the end, and then the error
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def make_room(self) -> None:
        (self.seen / "ballast").unlink()

    def make_read_only(self) -> None:
        assert self.run("mount", "-o", "remount,ro", self.path).returncode == 0

    @property
    def files(self) -> dict[str, bytes]:
        """Every file by its name, apart from the ballast."""
        found = (path for path in sorted(self.seen.rglob("*")) if path.is_file() and path.name != "ballast")
        return {str(path.relative_to(self.seen)): path.read_bytes() for path in found}


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[SmallDisk]:
    path.mkdir()
    namespaces = ("--mount",) if os.geteuid() == 0 else ("--mount", "--user", "--map-root-user")
    script = 'mount -t tmpfs -o "size=$2" tmpfs "$1" && echo mounted && read -r _'
    holder = subprocess.Popen(
        ["unshare", *namespaces, "sh", "-c", script, "sh", str(path), size],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stderr is not None
    try:
        if holder.stdout.readline() != "mounted\n":
            pytest.fail(f"this test needs a tmpfs of its own, and could not mount one: {holder.stderr.read()}")
        yield SmallDisk(path, holder.pid)
    finally:
        holder.stdin.close()
        holder.wait(timeout=20)
        holder.stdout.close()
        holder.stderr.close()
