"""The ceremony reaches nothing that is online: a rehearsal with no network, in which every connect is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from ceremonies import Domain
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.script import Kind

pytestmark = pytest.mark.xdist_group("ceremony")

WITHOUT_NETWORK = """
import sys

def refuse(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__",):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(refuse)
from sealwright.cli.ceremony import main
main()
"""
ONLINE = (
    "sqlmodel",
    "sqlalchemy",
    "fastapi",
    "httpx",
    "granian",
    "lmdb",
    "uvloop",
    "sealwright.store",
    "sealwright.channel",
)


def test_a_whole_rehearsal_needs_no_network(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "genesis"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers)
    for arguments in (["prepare"], ["check"], ["rehearse", "--unattended"]):
        command, *options = arguments
        done = subprocess.run(
            [
                "unshare",
                "--net",
                "--map-root-user",
                sys.executable,
                "-c",
                WITHOUT_NETWORK,
                command,
                str(folder),
                *options,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert (folder / "rehearsal-1/outputs/root.pem").is_file()


def test_the_command_loads_no_online_library() -> None:
    code = f"import sys, sealwright.cli.ceremony; print([name for name in {ONLINE!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
