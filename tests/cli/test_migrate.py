"""``sealwrightd migrate`` on PostgreSQL, as an operator runs it: URLs without passwords, an owner of its own."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sealwright.store
from postgres import Cluster
from sealwright.installation.toml import write_toml
from sealwright.store.postgresql import parse_address
from sealwright.store.publication import open_publication
from sealwright.store.registry import open_registry
from sealwright.store.roles import PUBLISHER, READER, REGISTRY

DOCUMENTED = (("registry", "database"), ("presign", "publication"), ("validation", "publication"))
KEY = {"token_serial": "0", "key_id": "00", "pin_file": "pin"}


def installed(folder: Path, registry: str, publisher: str, reader: str) -> Path:
    """A folder with nothing but ``sealwrightd.toml``: migrating needs no more."""
    folder.mkdir()
    config = {
        "mode": "REHEARSAL",
        "token": {"module": "none.so", "environment": {}},
        "signer": {"socket": "s", "peers": [0], "presign_peers": [0], "issuing": KEY, "ledger": KEY},
        "presign": {"ocsp": KEY, "publication": publisher},
        "registry": {"listen": "127.0.0.1:1", "url": "http://127.0.0.1:1", "database": registry},
        "validation": {"listen": "127.0.0.1:2", "publication": reader},
    }
    (folder / "sealwrightd.toml").write_bytes(write_toml(config))
    return folder


def migrate(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sealwright.cli.daemon", "migrate", "--dir", str(folder), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_the_documented_urls_are_read() -> None:
    readme = Path(sealwright.store.__file__).with_name("README.md").read_text()
    tables = tomllib.loads(readme.split("```toml\n")[1].split("```")[0])
    roles = [parse_address(tables[each][key])["user"] for each, key in DOCUMENTED]
    assert roles == [REGISTRY, PUBLISHER, READER]


@pytest.fixture
def urls(cluster: Cluster) -> tuple[str, str, str]:
    registry, publication = cluster.create("registry"), cluster.create("publication")
    return (
        cluster.url(registry, REGISTRY),
        cluster.url(publication, PUBLISHER),
        cluster.url(publication, READER),
    )


def test_one_command_makes_tables_and_grants_in_both(tmp_path: Path, urls: tuple[str, str, str]) -> None:
    folder = installed(tmp_path / "pki", *urls)
    for _ in range(2):
        done = migrate(folder)
        assert done.returncode == 0, done.stderr
    open_registry(urls[0]).close()
    for url, read_only in ((urls[1], False), (urls[2], True)):
        publication = open_publication(url, read_only=read_only)
        assert publication.state()[1] == 0
        publication.close()


def test_the_owner_does_not_log_in_with_a_process_s_passfile(tmp_path: Path, urls: tuple[str, str, str]) -> None:
    done = migrate(installed(tmp_path / "pki", *urls), PGPASSFILE="/nowhere")
    assert done.returncode == 7
    assert "no password supplied" in done.stderr
    assert "passfile" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_owner_may_have_another_name(tmp_path: Path, urls: tuple[str, str, str]) -> None:
    done = migrate(installed(tmp_path / "pki", *urls), "--owner", "nobody-at-all")
    assert done.returncode == 7
    assert "nobody-at-all" in done.stderr


def test_a_password_in_the_file_is_refused_and_not_shown(tmp_path: Path, urls: tuple[str, str, str]) -> None:
    with_password = urls[0].replace("@", ":hunter2-hunter2@")
    done = migrate(installed(tmp_path / "pki", with_password, *urls[1:]))
    assert done.returncode == 3
    assert "holds a password" in done.stderr
    assert "passfile" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
