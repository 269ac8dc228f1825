"""``--user`` and ``--group``: all or nothing, nobody twice, never root; and what sealwrightd.toml may say of users."""

import os
import tomllib
from pathlib import Path

import pytest

from sealwright.cli.daemon.options import notices_config
from sealwright.errors import Conflict, InputError, NotFound
from sealwright.installation.config import load_config
from sealwright.installation.owners import ROLES, parse_owners
from sealwright.installation.toml import write_toml
from sealwright.installation.units import make_units, write_units

ALL = [f"{role}={61001 + number}" for number, role in enumerate(ROLES)]
PLACE = {"token_serial": "01ab", "key_id": "aa", "pin_file": "pin"}


def config(**sections: object) -> dict[str, object]:
    return {
        "mode": "REHEARSAL",
        "token": {"module": "/m.so"},
        "signer": {"socket": "s", "peers": ["root"], "presign_peers": [7], "issuing": PLACE, "ledger": PLACE},
        "presign": {"ocsp": PLACE, "publication": "sqlite:///p"},
        "registry": {"listen": "127.0.0.1:1", "url": "http://x", "database": "sqlite:///r"},
        "validation": {"listen": "127.0.0.1:1", "publication": "sqlite:///p"},
        **sections,
    }


def write(folder: Path, value: dict[str, object]) -> Path:
    (folder / "sealwrightd.toml").write_bytes(write_toml(value))
    return folder


def test_every_role_has_a_user_of_its_own() -> None:
    assert os.geteuid() == 0, "giving files away needs root"
    owners = parse_owners(ALL, "61010")
    assert owners is not None
    assert [owners.uid(role) for role in ROLES] == [61001, 61002, 61003, 61004, 61005]
    assert owners.clients == 61010
    assert parse_owners([], None) is None


@pytest.mark.parametrize(
    ("users", "group", "message"),
    [
        (ALL[:-1], "61010", "missing: metrics"),
        (ALL, None, "missing: --group"),
        ([*ALL[:-1], "metrics=61001"], "61010", "a user of its own"),
        ([*ALL[:-1], "metrics=root"], "61010", "none is root"),
        ([*ALL[:-1], "metrics=nobody-has-this-name"], "61010", "no such user"),
        ([*ALL, "janitor=5"], "61010", "wanted ROLE=USER"),
    ],
)
def test_users_that_would_separate_nothing_are_refused(users: list[str], group: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_owners(users, group)
    assert message in str(caught.value)


def test_peers_are_named_by_user_or_by_number(tmp_path: Path) -> None:
    signer = load_config(write(tmp_path, config())).signer
    assert (signer.peers, signer.presign_peers, signer.status_peers) == ((0,), (7,), ())


def test_a_peer_that_is_no_user_of_this_machine_is_named(tmp_path: Path) -> None:
    wrong = config()
    wrong["signer"] = {**tomllib.loads(write_toml(config()).decode())["signer"], "peers": ["nobody-has-this-name"]}
    with pytest.raises(InputError, match=r"signer\.peers: .*there is no user 'nobody-has-this-name'"):
        load_config(write(tmp_path, wrong))


def test_units_need_separate_users_and_never_overwrite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="installed for one user"):
        make_units(tmp_path, load_config(write(tmp_path, config())), Path("/bin/true"))
    users = dict(item.split("=") for item in ALL) | {"group": "sealwright"}
    units = make_units(tmp_path, load_config(write(tmp_path, config(users=users))), Path("/bin/true"))
    assert sorted(units) == [f"sealwright-{role}.service" for role in ("presign", "registry", "signer", "validation")]
    assert "PrivateNetwork=yes" in units["sealwright-signer.service"]
    assert "AF_INET" not in units["sealwright-signer.service"]
    standby = config(users=users) | {"standby": {"source": "https://pki.example.org"}}
    loaded = load_config(write(tmp_path, standby))
    follower = make_units(tmp_path, loaded, Path("/bin/true"))["sealwright-standby.service"]
    assert "ExecStart=/bin/true signer --standby" in follower
    assert "Restart=on-failure" in follower  # a takeover ends it, and it stays so
    never = follower.split("InaccessiblePaths=")[1]
    assert all(f"-{place.pin_file}" in never for place in (loaded.signer.issuing, loaded.signer.ledger))
    for line in (
        "ExecReload=/bin/kill -HUP $MAINPID",
        "LimitNOFILE=65536",
        "SystemCallFilter=sched_setattr",
    ):  # who may not raise it is told it
        assert [name for name, text in units.items() if line in text] == ["sealwright-validation.service"]
    write_units(units, tmp_path)
    write_units(units, tmp_path)
    (tmp_path / "sealwright-signer.service").write_text("[Service]\n")
    with pytest.raises(Conflict, match="says something else"):
        write_units(units, tmp_path)
    for nowhere in (tmp_path / "nowhere", tmp_path / "sealwright-signer.service"):
        with pytest.raises(NotFound, match="is not a folder"):
            write_units(units, nowhere)


def test_a_webhooks_address_comes_from_a_file_of_its_own(tmp_path: Path) -> None:
    secret = tmp_path / "webhook"
    secret.write_text("https://chat.example.org/hooks/s3cret\n")
    secret.chmod(0o644)
    notices = {"days": [30, 7], "webhook_file": "webhook"}
    wanted = load_config(write(tmp_path, config(notices=notices)))
    with pytest.raises(InputError, match="has mode 0644"):
        notices_config(wanted)
    secret.chmod(0o400)
    found = notices_config(wanted)
    assert found is not None
    assert (found.webhook, found.days) == ("https://chat.example.org/hooks/s3cret", (30, 7))
