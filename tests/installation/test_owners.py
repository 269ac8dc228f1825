"""``sealwrightd owners`` on a folder that was put back from a backup."""

import os
from pathlib import Path

from typer.testing import CliRunner

from sealwright.cli.daemon import app
from sealwright.installation.owners import ROLES
from sealwright.installation.toml import write_toml

UIDS = {role: 61001 + number for number, role in enumerate(ROLES)}
CLIENTS = 61010


def folder_of(tmp_path: Path, **sections: object) -> Path:
    place = {"token_serial": "01ab", "key_id": "aa", "pin_file": str(tmp_path / "pin")}
    config = {
        "mode": "REHEARSAL",
        "token": {"module": "/m.so"},
        "signer": {"socket": "s", "peers": ["root"], "presign_peers": [7], "issuing": place, "ledger": place},
        "presign": {"ocsp": {**place, "pin_file": str(tmp_path / "ocsp")}, "publication": "sqlite:///p"},
        "registry": {"listen": "127.0.0.1:1", "url": "http://x", "database": "sqlite:///r"},
        "validation": {"listen": "127.0.0.1:1", "publication": "sqlite:///p"},
        **sections,
    }
    folder = tmp_path / "pki"
    (folder / "ledger" / "open").mkdir(parents=True)
    (folder / "ledger" / "checkpoint").write_text("kept")
    (folder / "sealwrightd.toml").write_bytes(write_toml(config))
    for name in ("pin", "ocsp"):
        (tmp_path / name).write_text("1234")
    return folder


def test_every_file_is_its_users_again_and_what_was_not_kept_is_made(tmp_path: Path) -> None:
    assert os.geteuid() == 0, "giving files away needs root"
    folder = folder_of(tmp_path, users={**UIDS, "group": CLIENTS})
    done = CliRunner().invoke(app, ["owners", "--dir", str(folder)])
    assert done.exit_code == 0, done.output
    for path in (folder / "ledger", folder / "ledger/open", folder / "ledger/checkpoint"):
        assert (path.stat().st_uid, path.stat().st_gid) == (UIDS["signer"], UIDS["presign"])
    assert (folder / "ledger/checkpoint").read_text() == "kept"
    made = {name: (folder / name).stat() for name in ("run", "publication", "status", "registry", "snapshot", "crl")}
    assert {name: oct(status.st_mode & 0o7777) for name, status in made.items()} == {
        "run": "0o2750",
        "publication": "0o750",
        "status": "0o755",
        "registry": "0o700",
        "snapshot": "0o700",
        "crl": "0o750",
    }
    assert (made["run"].st_uid, made["run"].st_gid) == (UIDS["signer"], CLIENTS)
    assert (tmp_path / "pin").stat().st_uid == UIDS["signer"]
    assert (tmp_path / "ocsp").stat().st_uid == UIDS["presign"]
    assert (tmp_path / "pin").stat().st_mode & 0o777 == 0o400


def test_a_pki_of_one_user_has_nobody_to_give_files_to(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["owners", "--dir", str(folder_of(tmp_path))])
    assert done.exit_code != 0
    assert "installed for one user" in str(done.exception)
