"""``scripts/setup`` where something is in its way: one error and one hint, and the next run goes on."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


def checkout(folder: Path) -> Path:
    """What ``scripts/setup`` reads of one."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("scripts/setup", "pyproject.toml", "server.lock"):
        shutil.copy(CHECKOUT / name, folder / name)
    return folder


def setup(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [folder / "scripts/setup", *words],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def test_it_says_what_it_takes(tmp_path: Path) -> None:
    done = setup(checkout(tmp_path), "everything")
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: scripts/setup server|dev" in done.stderr


def test_two_at_once_wait_for_each_other(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    with subprocess.Popen(["flock", folder / "pyproject.toml", "cat"], stdin=subprocess.PIPE) as first:
        assert first.stdin is not None
        second = subprocess.Popen(
            [folder / "scripts/setup", "server"],
            env={**os.environ, "PATH": f"{stubs(tmp_path / 'stubs')}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert second.stdout is not None
        assert second.stdout.readline() == "another scripts/setup is at work in this checkout: waiting for it\n"
        first.stdin.close()
        assert "installing from Debian" in second.communicate(timeout=60)[0]


def stubs(folder: Path) -> Path:
    """A machine on which nothing is installed, and on which apt-get finds nothing."""
    folder.mkdir()
    for name in ("dpkg-query", "apt-get"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name}: nothing' >&2\nexit 1\n")
        (folder / name).chmod(0o755)
    return folder


def test_what_is_missing_is_named_and_root_is_told_what_apt_get_said(tmp_path: Path) -> None:
    done = setup(checkout(tmp_path / "c"), "server", PATH=f"{stubs(tmp_path / 's')}:{os.environ['PATH']}")
    assert done.returncode == 7
    *said, error, hint = done.stderr.splitlines()
    if os.getuid() == 0:
        assert said == ["apt-get: nothing"]
        assert error.startswith("error: apt-get could not install: softhsm2")
        assert hint.startswith("hint: the whole of what it said is in ")
    else:
        assert error.startswith("error: not installed: softhsm2")
        assert hint.startswith("hint: as root: apt-get install -y softhsm2")


@pytest.mark.slow
def test_an_interrupted_venv_is_made_again_and_an_index_out_of_reach_is_said(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    away = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1", "PIP_NO_INDEX": "1"}
    done = setup(folder, "server", **away)
    assert done.returncode == 7
    assert "No module named pip" not in done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: pip could not install the wheels of server.lock")
    assert done.stderr.splitlines()[-1].startswith("hint: ")
    subprocess.run([folder / ".venv/bin/python", "-m", "pip", "--version"], check=True, capture_output=True)
    assert not list((folder / ".venv").glob(".installed-*"))
