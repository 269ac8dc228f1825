"""One rehearsal PKI for all of these tests, made by ``scripts/quickstart`` as a newcomer would, and then running.

Everything is real: four SoftHSM tokens, five processes, SSH keys, OpenSSL. All tests of this folder share one worker.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from refusals import kept
from rehearsal import CHECKOUT, Rehearsal
from sealwright.installation.config import DaemonConfig, load_config


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups, also where this folder is named on the command line
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.xdist_group("flow"))


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("flow") / "pki"
    done = subprocess.run(
        [CHECKOUT / "scripts/quickstart", "--dir", folder, "--once"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Rehearsal(folder, done.stdout, json.loads((folder / "evidence/evidence.json").read_text()))


@pytest.fixture(scope="session")
def running(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """A second run on the same folder, without --once: the services stay up."""
    process = subprocess.Popen(
        [CHECKOUT / "scripts/quickstart", "--dir", rehearsal.folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    told = []
    for line in process.stdout:
        told.append(line)
        if "The services stay up" in line:
            break
    else:
        pytest.fail("the second run ended: " + "".join(told))
    rehearsal.told_again = "".join(told)
    drain = threading.Thread(target=process.stdout.read)
    drain.start()
    yield rehearsal
    process.terminate()
    process.wait(timeout=60)
    drain.join()
    process.stdout.close()


@pytest.fixture(scope="module")
def settled(running: Rehearsal) -> Rehearsal:
    """The PKI with nothing under way: what others asked the registry for has been answered."""
    deadline = time.monotonic() + 20
    size = -1
    while size != (size := kept(running)["ledger_size"]):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return running


@pytest.fixture(scope="module")
def config(settled: Rehearsal) -> DaemonConfig:
    return load_config(settled.pki)
