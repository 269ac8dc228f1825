"""A root ceremony gave the issuing CA a later certificate, and an operator imported it: how its people go on."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from exports import audit
from office import free_server, registry_config, running_signer, serving
from sealwright.channel import SignerChannel
from sealwright.cli.edge import _run
from sealwright.cli.team import app
from sealwright.installed import load_installed
from sealwright.pki.certificates import draft_certificate, lint_draft, sign_certificate
from sealwright.pki.keys import key_kind
from sealwright.pki.serials import new_serial
from sealwright.registration.registry import system_clock
from softpki import profiles, soft_pki
from world import World, make_world

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def command(person: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setenv("SEALWRIGHT_HOME", str(tmp_path / "homes" / person))
        capsys.readouterr()
        code = _run(app, [str(each) for each in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = make_world(tmp_path / "world")
    world.clock = system_clock  # type: ignore[assignment]  # the client's clock is the machine's
    return world


@pytest.fixture
def server() -> str:
    return free_server()


@contextmanager
def running(world: World, folder: Path, server: str) -> Iterator[None]:
    folder.mkdir()
    config = registry_config(world, folder, server)
    with running_signer(world, config.socket):
        if world.authority is not None and world.authority.roster is None:
            signed = world.signed(world.roster(), "olga", "omar")
            SignerChannel(config.socket).call("publish-roster", roster=signed.to_wire())
        SignerChannel(config.socket).call("issue", order=world.order())
        with serving(config):
            yield


def renew(world: World) -> None:
    """What ``sealwrightd import`` leaves behind."""
    soft, before = soft_pki(), world.installed
    draft = draft_certificate(
        replace(profiles()["issuing-ca"], keys=(key_kind(soft.issuing_key.public_key()),)),
        issuer=soft.root_record,
        subject=soft.issuing.subject,
        public_key=soft.issuing_key.public_key(),
        serial=new_serial(),
        not_before=system_clock(),
    )
    renewed = sign_certificate(lint_draft(draft), soft.root_key).public_bytes(Encoding.PEM)
    (before.folder / "issuing.pem").write_bytes(renewed + before.issuing_pem)
    world.installed = load_installed(before.folder)
    assert world.installed.issuing != before.issuing


def draft_of(world: World, folder: Path) -> Path:
    shutil.copytree(world.folder / "ca", folder)
    roster = world.roster()
    lines = ["threshold = 2"]
    for table in ("officers", "people", "teams"):
        for each in roster[table]:
            lines += [f"[[{table}]]", *(f"{name} = {json.dumps(value)}" for name, value in each.items())]
    (folder / "roster.toml").write_text("\n".join(lines))
    return folder


@pytest.mark.slow
def test_the_next_roster_names_it_and_every_certificate_of_before_still_counts(
    world: World, server: str, run: Run, tmp_path: Path
) -> None:
    ca, file = draft_of(world, tmp_path / "ca"), tmp_path / "roster-2.json"
    people = {
        name: ("--person", name, "--key", world.people[name].key_file) for name in ("olga", "omar", "alice", "bob")
    }
    init = ("init", "--server", server, "--pki-id", world.pki)
    with running(world, tmp_path / "before", server):
        for name, who in people.items():
            assert run(name, *init, *who)[0] == 0
    renew(world)
    with running(world, tmp_path / "after", server):
        code, out, _ = run("alice", "certificates", "--json")  # whoever knows the earlier one goes on
        assert (code, len(json.loads(out)["certificates"])) == (0, 2)
        for name in ("olga", "omar"):
            again = run(name, *init, *people[name], "--replace")
            assert again[0] == 0, again[2]  # the roster in force names the earlier one, and counts
        assert run("olga", "roster", "edit", "--ca", ca, "--out", file)[0] == 0
        code, _, said = run("omar", "roster", "sign", file, "--yes", "0" * 16)
        assert "change  issuing CA was " in said
        for name in ("olga", "omar"):
            digest = json.loads(run(name, "roster", "show", file, "--json")[1])["sha256"]
            assert run(name, "roster", "sign", file, "--yes", digest)[0] == 0
        assert run("olga", "roster", "publish", file)[1] == "roster 2 is in force\n"
        code, _, said = run("bob", "roster", "show")
        assert (code, "`sealwright init --replace`" in said) == (8, True)
        assert run("bob", *init, *people["bob"], "--replace")[0] == 0
        assert run("bob", "roster", "show")[0] == 0
        code, out, said = run("bob", "audit", "verify")
        assert code == 0, out + said
    assert audit(world).problems == []
