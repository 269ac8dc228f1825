"""Where a PKI is to run and cannot: a port that is taken, a disk that is full or read-only."""

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from refusals import WHAT, Done, csr, daemon, nothing_changes, refused
from rehearsal import CHECKOUT, Rehearsal
from sealwright.hsm.module import find_softhsm
from sealwright.installation.config import DaemonConfig, load_config
from small_disk import SmallDisk, small_disk


def test_a_busy_port_is_named_and_who_has_it_is_left_in_peace(settled: Rehearsal, config: DaemonConfig) -> None:
    cases = {
        "up": (7, config.registry.listen),
        "registry": (7, config.registry.listen),
        "validation": (7, config.validation.listen),
        "signer": (12, "ledger"),
    }
    with nothing_changes(settled):
        with ThreadPoolExecutor(2) as pool:
            said = list(pool.map(lambda name: daemon(settled, name, "--dir", settled.pki), cases))
        told = subprocess.run([CHECKOUT / "scripts/quickstart", "--dir", settled.folder, "--once"],
                              capture_output=True, text=True, check=False, timeout=60)  # fmt: skip
    for done, (code, word) in zip(said, cases.values(), strict=True):
        refused(done, code, word)
    refused(told, 7, config.registry.listen)
    assert settled.team("alice", "requests").returncode == 0


def sealwright(disk: SmallDisk, running: Rehearsal, person: str, *words: str | Path) -> Done:
    home = {"SEALWRIGHT_HOME": str(running.folder / "people" / f"{person}-home")}
    return disk.run(sys.executable, "-m", "sealwright.cli.team", *words, environment={**running.environment, **home})


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_a_folder_that_cannot_be_written_gets_nothing_at_all(settled: Rehearsal, tmp_path: Path, fault: str) -> None:
    issued = json.loads((settled.folder / "quickstart.json").read_text())["facts"]["request"]
    words = Path(settled.folder / "people/alice-home/config.toml").read_text().split('"')
    init = (
        "init",
        "--server",
        words[1],
        "--pki-id",
        words[3],
        "--person",
        "alice",
        "--key",
        settled.folder / "people/alice",
    )
    pins = [f"--{name}-pin={settled.folder}/pins/{name}.pin" for name in ("issuing", "ocsp", "ledger")]
    records = [f"--record={settled.folder}/ceremonies/{name}/record" for name in ("issuing-key", "issuing-ca")]
    genesis = ("--genesis", settled.folder / "ceremonies/root-genesis/record", *records)
    with nothing_changes(settled), small_disk(tmp_path / "disk", "300k") as disk:
        disk.fill()
        if fault == "read-only":
            disk.make_read_only()
        here, python = disk.path, (sys.executable, "-m")
        install = ("install", "--rehearsal", "--ca", settled.folder / "ca", "--dir", here / "pki", *genesis, *pins)
        said = {
            "fetch": sealwright(disk, settled, "alice", "fetch", issued, "--out", here / "out"),
            "draft": sealwright(disk, settled, "olga", "roster", "edit", "--ca", settled.folder / "ca",
                                "--out", here / "r.json"),
            "init": disk.run(*python, "sealwright.cli.team", *init,
                             environment={"SEALWRIGHT_HOME": str(here / "home")}),
            "ceremony": disk.run(*python, "sealwright.cli.ceremony", "new", "root-genesis", here / "ceremony",
                                 "--ca", settled.folder / "ca"),
            "install": disk.run(*python, "sealwright.cli.daemon", *install, "--module", find_softhsm(),
                                environment=settled.environment),
            "quickstart": disk.run(CHECKOUT / "scripts/quickstart", "--dir", here / "var", "--once"),
        }  # fmt: skip
        left = disk.files
    for done in said.values():
        refused(done, 9, str(tmp_path / "disk"))
    assert left == {}


def test_a_quickstart_without_room_says_so_before_it_begins(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        done = disk.run(CHECKOUT / "scripts/quickstart", "--dir", disk.path / "var", "--once")
        assert list(disk.seen.iterdir()) == []
    refused(done, 9, "KiB of room")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.slow
def test_a_disk_that_fills_under_the_servers_stops_what_writes_and_loses_nothing(
    settled: Rehearsal, tmp_path: Path
) -> None:
    """A copy of the PKI on its own disk: full, it refuses, and verifiers are answered; with room, it goes on."""
    people = settled.folder / "people"
    (tmp_path / "csr").write_bytes(csr(settled))
    with small_disk(tmp_path / "disk", "8m") as disk:
        config = load_config(settled.pki)
        ports = {
            config.registry.listen: f"127.0.0.1:{free_port()}",
            config.validation.listen: f"127.0.0.1:{free_port()}",
        }
        copy = disk.seen / "pki"
        shutil.copytree(
            settled.pki,
            copy,
            ignore=shutil.ignore_patterns("*.sock", "registry.db*", "publication.db*", "snapshot", "log"),
        )
        for name in ("registry.db", "publication.db"):
            with (
                closing(sqlite3.connect(settled.pki / name)) as source,
                closing(sqlite3.connect(tmp_path / name)) as to,
            ):
                source.backup(to)
            shutil.copyfile(tmp_path / name, copy / name)
        text = (copy / "sealwrightd.toml").read_text()
        for old, new in ports.items():
            text = text.replace(old, new)
        shutil.copytree(settled.folder / "pins", tmp_path / "pins")  # one presign for each PIN file
        text = text.replace(str(settled.folder / "pins"), str(tmp_path / "pins"))
        (copy / "sealwrightd.toml").write_text(text)
        up = subprocess.Popen(
            disk.command([sys.executable, "-m", "sealwright.cli.daemon", "up", "--dir", disk.path / "pki"]),
            env=settled.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert up.stdout is not None
        try:
            assert any(line.startswith("ready:") for line in up.stdout)
            url = f"http://{ports[config.registry.listen]}"
            for person in ("alice", "bob"):
                home = shutil.copytree(people / f"{person}-home", people / f"{person}-copy-home", dirs_exist_ok=True)
                file = home / "config.toml"
                file.write_text(file.read_text().replace(config.registry.url, url))
            ask = ("alice-copy", *WHAT, "--csr", str(tmp_path / "csr"), "--json")
            wanted = json.loads(settled.team(*ask).stdout)
            disk.fill()
            approve = ("bob-copy", "approve", wanted["id"], "--yes", wanted["sha256"])
            refused_to_issue = settled.team(*approve, check=False)
            refused_to_ask = settled.team(*ask, check=False)
            refused_to_read = settled.team("alice-copy", "requests", check=False)  # its login would be a row
            question = ("-issuer", settled.file("issuing.pem"), "-cert", settled.file("renewed.pem"), "-no_nonce")
            trust = ("-CAfile", settled.file("root.pem"), "-verify_other", settled.file("issuing.pem"))
            ocsp = subprocess.run(
                ["openssl", "ocsp", "-url", f"http://{ports[config.validation.listen]}/ocsp", *question, *trust],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            disk.make_room()
            approved = settled.team(*approve, check=False)
            got = settled.team("alice-copy", "fetch", wanted["id"], "--out", str(tmp_path / "out"), check=False)
        finally:
            up.terminate()
            up.wait(timeout=60)
            up.stdout.close()
    for done in (refused_to_issue, refused_to_ask, refused_to_read):
        refused(done, 9, "full")
    assert "renewed.pem: good" in ocsp.stdout, ocsp.stderr
    assert approved.returncode == 0, approved.stderr
    assert got.returncode == 0, got.stderr
