"""The whole house on PostgreSQL: a PKI that ran on SQLite goes on with empty databases, each process in its role."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from office import free_server
from postgres import PASSWORD, Cluster
from refusals import WHAT, csr
from rehearsal import Rehearsal
from sealwright.installation.config import load_config
from sealwright.store.roles import PUBLISHER, READER, REGISTRY


def moved(settled: Rehearsal, cluster: Cluster, folder: Path) -> tuple[str, str]:
    """A copy of the PKI, without its databases, on PostgreSQL and other ports: (registry, validation) HOST:PORT."""
    config = load_config(settled.pki)
    shutil.copytree(
        settled.pki,
        folder,
        ignore=shutil.ignore_patterns("*.sock", "registry.db*", "publication.db*", "snapshot", "log"),
    )
    registry, publication = cluster.create("registry"), cluster.create("publication")
    ports = tuple(free_server().removeprefix("http://") for _ in range(2))
    text = (folder / "sealwrightd.toml").read_text()
    text = text.replace(config.registry.listen, ports[0]).replace(config.validation.listen, ports[1])
    shutil.copytree(settled.folder / "pins", folder / "pins")  # one presign for each PIN file
    text = text.replace(str(settled.folder / "pins"), str(folder / "pins"))
    text = text.replace("sqlite:///registry.db", cluster.url(registry, REGISTRY))
    before, validation, after = text.partition("[validation]")
    before = before.replace("sqlite:///publication.db", cluster.url(publication, PUBLISHER))
    after = after.replace("sqlite:///publication.db", cluster.url(publication, READER))
    (folder / "sealwrightd.toml").write_text(before + validation + after)
    return ports[0], ports[1]


@pytest.mark.slow
def test_all_processes_go_on_with_empty_postgresql_databases(
    settled: Rehearsal, cluster: Cluster, tmp_path: Path
) -> None:
    people, folder = settled.folder / "people", tmp_path / "pki"
    registry, validation = moved(settled, cluster, folder)
    (tmp_path / "csr").write_bytes(csr(settled))
    old = load_config(settled.pki).registry.url
    for person in ("alice", "bob"):
        home = shutil.copytree(people / f"{person}-home", people / f"{person}-pg-home", dirs_exist_ok=True)
        (home / "config.toml").write_text((home / "config.toml").read_text().replace(old, f"http://{registry}"))
    up = subprocess.Popen(
        [sys.executable, "-m", "sealwright.cli.daemon", "up", "--dir", folder],
        env=settled.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert up.stdout is not None
    try:
        assert any(line.startswith("ready:") for line in up.stdout)
        wanted = json.loads(settled.team("alice-pg", *WHAT, "--csr", str(tmp_path / "csr"), "--json").stdout)
        settled.team("bob-pg", "approve", wanted["id"], "--yes", wanted["sha256"])
        settled.team("alice-pg", "fetch", wanted["id"], "--out", str(tmp_path / "out"))
        assert ocsp(settled, validation, "renewed.pem").startswith("good")  # issued before, on SQLite
        assert ocsp(settled, validation, "leaf.pem").startswith("revoked")
    finally:
        up.terminate()
        up.wait(timeout=60)
        up.stdout.close()
    logs = "".join(path.read_text() for path in (folder / "log").iterdir())
    assert PASSWORD not in logs
    assert "Traceback" not in logs


def ocsp(settled: Rehearsal, validation: str, certificate: str) -> str:
    """What OpenSSL hears; presign may still be at work."""
    question = ("-issuer", settled.file("issuing.pem"), "-cert", settled.file(certificate), "-no_nonce")
    trust = ("-CAfile", settled.file("root.pem"), "-verify_other", settled.file("issuing.pem"))
    for _ in range(100):
        said = subprocess.run(
            ["openssl", "ocsp", "-url", f"http://{validation}/ocsp", *question, *trust],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        if certificate in said:
            return said.partition(f"{certificate}: ")[2]
        time.sleep(0.1)
    raise AssertionError(said)
