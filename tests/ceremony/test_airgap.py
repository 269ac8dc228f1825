"""The bundle for the machine without a network: the same twice, refused when it was touched, and used offline."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ceremonies import officer_line
from rehearsal import CHECKOUT
from softpki import CA_FOLDER

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ceremony")]

OFFLINE = """
import sys

def refuse(event, arguments):
    if event.startswith("socket.") and event != "socket.__new__":
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
"""


def make(out: Path) -> str:
    done = subprocess.run([CHECKOUT / "scripts/airgap-bundle", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def alone(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """In a network namespace that has no interface that is up, and with nothing of the checkout on any path."""
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(cwd), "LANG": "C.UTF-8"}
    isolated = ("unshare", "--net", "--map-root-user", *map(str, command))
    return subprocess.run(isolated, cwd=cwd, env=clean, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("airgap") / "bundle"
    return out, make(out)


@pytest.fixture(scope="module")
def installed(bundle: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("laptop") / "environment"
    done = alone("sh", bundle[0] / "install", target, cwd=target.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_same_commit_gives_the_same_digests_and_they_can_be_read_aloud(
    bundle: tuple[Path, str], tmp_path: Path
) -> None:
    out, said = bundle
    again = make(tmp_path / "again")
    assert (tmp_path / "again/MANIFEST").read_bytes() == (out / "MANIFEST").read_bytes()
    told = [text.split("SHA-256 of MANIFEST ", 1)[1].splitlines() for text in (said, again)]
    assert told[0] == told[1]
    assert len(told[0][0]) == 64
    assert len(" ".join(told[0][1:4]).split()) == 32


def test_a_bundle_is_never_written_over(bundle: tuple[Path, str]) -> None:
    done = subprocess.run([CHECKOUT / "scripts/airgap-bundle", bundle[0]], capture_output=True, text=True, check=False)
    assert (done.returncode, "exists" in done.stderr) == (12, True)


@pytest.mark.parametrize("touch", ["flip", "more", "part of a name", "a link", "less"])
def test_a_bundle_that_was_touched_installs_nothing(bundle: tuple[Path, str], tmp_path: Path, touch: str) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(bundle[0], copy)
    wheel = min((copy / "wheelhouse").iterdir())
    match touch:
        case "flip":
            data = bytearray(wheel.read_bytes())
            data[len(data) // 2] ^= 1
            wheel.write_bytes(data)
        case "more":
            (copy / "wheelhouse/typer-99.0-py3-none-any.whl").write_bytes(b"")
        case "part of a name":
            (copy / "wheelhouse" / wheel.name.removesuffix(".whl")).write_bytes(b"")
        case "a link":
            (copy / "wheelhouse/typer-99.0-py3-none-any.whl").symlink_to("/dev/null")
        case _:
            wheel.unlink()
    done = alone("sh", copy / "install", tmp_path / "environment", cwd=tmp_path)
    assert done.returncode == 8, done.stderr
    assert "bring a new bundle" in done.stderr
    assert not (tmp_path / "environment").exists()


def test_it_installs_with_no_network_and_rehearses_there(installed: Path, tmp_path: Path) -> None:
    (site,) = installed.glob("lib/python3*/site-packages")
    (site / "offline_hook.py").write_text(OFFLINE)
    (site / "offline_hook.pth").write_text("import offline_hook\n")  # Debian's Python has a sitecustomize of its own
    links = alone("cat", "/proc/net/dev", cwd=tmp_path).stdout.splitlines()[2:]
    assert [line.split(":")[0].strip() for line in links] in ([], ["lo"])
    (tmp_path / "officers.toml").write_text("threshold = 2\n" + "".join(map(officer_line, ("ada", "ben", "cyd"))))
    shutil.copytree(CA_FOLDER, tmp_path / "ca")
    command = installed / "bin/sealwright-ceremony"
    steps: tuple[tuple[str, ...], ...] = (
        ("new", "root-genesis", "genesis", "--ca", "ca", "--input", "officers.toml=officers.toml"),
        ("prepare", "genesis"),
        ("check", "genesis"),
        ("rehearse", "genesis", "--unattended"),
        ("verify", "genesis/rehearsal-1"),
    )
    for step in steps:
        done = alone(command, *step, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "genesis/rehearsal-1/outputs/root.pem").is_file()
    refused = alone(
        installed / "bin/python", "-c", "import socket; socket.create_connection(('127.0.0.1', 9))", cwd=tmp_path
    )
    assert "AssertionError: socket" in refused.stderr


def test_no_online_library_is_in_it(installed: Path) -> None:
    (site,) = installed.glob("lib/python3*/site-packages")
    names = {path.name for path in site.iterdir()}
    assert not names & {"fastapi", "granian", "httpx", "sqlmodel", "sqlalchemy", "lmdb", "uvloop", "psycopg"}
    assert os.access(installed / "bin/sealwright-ceremony", os.X_OK)
