"""``sealwright audit`` as an auditor runs it, against the registry under granian; its exports, with nothing running."""

import csv
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from office import free_server, registry_config, running_signer, serving
from sealwright.channel import SignerChannel
from sealwright.cli.edge import _run
from sealwright.cli.team import app
from sealwright.errors import PolicyViolation
from sealwright.registration.registry import system_clock
from sealwright.statements.receipts import Receipt
from world import World, make_world

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    world.clock = system_clock  # type: ignore[assignment]  # the auditor's clock is the machine's
    return world


@pytest.fixture(scope="module")
def signer(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SignerChannel, str]]:
    folder = tmp_path_factory.mktemp("registry")
    config = registry_config(world, folder, free_server())
    with running_signer(world, config.socket), serving(config) as url:
        channel = SignerChannel(config.socket)
        channel.call("publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
        channel.call("issue", order=world.order())
        with pytest.raises(PolicyViolation):
            channel.call("issue", order=world.order(project="chess"))
        size = channel.call("status")["ledger_size"]
        for _ in range(400):  # the registry looks every two seconds
            said = httpx.get(f"{url}/tlog/checkpoint", trust_env=False)
            if said.is_success and said.text.split("\n")[1] == str(size):
                break
            threading.Event().wait(0.02)
        yield channel, url


@pytest.fixture
def run(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("SEALWRIGHT_HOME", str(tmp_path / "home"))

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _run(app, [str(each) for each in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def auditor(run: Run, world: World, signer: tuple[SignerChannel, str]) -> Run:
    key = world.people["nina"].key_file
    code, _, said = run("init", "--server", signer[1], "--pki-id", world.pki, "--person", "nina", "--key", key)
    assert code == 0, said
    return run


def test_verifies_the_registry_s_tiles_and_keeps_the_checkpoint_for_the_next_time(
    auditor: Run, signer: tuple[SignerChannel, str], world: World
) -> None:
    code, said, error = auditor("audit", "verify", "--json")
    assert code == 0, said + error
    first = json.loads(said)
    assert (first["sound"], first["problems"]) == (True, [])
    assert "AUDIT-CONSISTENCY" not in {each["claim"] for each in first["claims"]}
    signer[0].call("issue", order=world.order())
    for _ in range(100):  # the registry looks every two seconds
        second = json.loads(auditor("audit", "verify", "--json")[1])
        if second["ledger_entries"] > first["ledger_entries"]:
            break
        threading.Event().wait(0.05)
    assert "AUDIT-CONSISTENCY" in {each["claim"] for each in second["claims"]}
    assert second["sound"]
    code, said, _ = auditor("audit", "verify")
    assert "no problem" in said
    assert "What this cannot know:" in said


@pytest.mark.parametrize("name", ["export", "export.zip"])
def test_an_export_is_checked_with_the_pki_id_alone(
    auditor: Run, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    target = tmp_path / name
    assert auditor("audit", "export", target)[0] == 0
    assert auditor("audit", "export", target)[0] == 12
    monkeypatch.setenv("SEALWRIGHT_HOME", str(tmp_path / "another"))
    code, said, error = auditor("audit", "verify", target, "--pki-id", world.pki, "--json")
    assert (code, json.loads(said)["sound"]) == (0, True), error
    assert auditor("audit", "verify", target)[0] == 3  # whose ledger?
    code, said, _ = auditor("audit", "verify", target, "--pki-id", "0" * 64)
    assert code == 8
    assert "AUDIT-ANCHOR" in said


def test_a_changed_export_is_refused_by_name_and_its_checkpoint_is_not_kept(auditor: Run, tmp_path: Path) -> None:
    assert auditor("audit", "export", tmp_path / "export")[0] == 0
    (bundle,) = (tmp_path / "export/tile/entries").rglob("*.p/*")
    bundle.write_bytes(bundle.read_bytes().replace(b'"team":"payments"', b'"team":"purposes"'))
    code, said, _ = auditor("audit", "verify", tmp_path / "export")
    assert code == 8
    assert "PROBLEM" in said
    assert "it is not the entry that tile/0/000" in said
    assert not (tmp_path / "home/audited-checkpoint").exists()


def test_search_and_show_find_by_person_team_rule_serial_and_time(
    auditor: Run, signer: tuple[SignerChannel, str], world: World
) -> None:
    receipt = Receipt.parse(signer[0].call("issue", order=world.order())["receipt"])
    serial = f"{receipt.load_certificate().serial_number:x}"

    def search(*conditions: str) -> list[dict[str, object]]:
        code, said, error = auditor("audit", "search", *conditions, "--json")
        assert code == 0, error
        return list(json.loads(said)["entries"])

    for _ in range(100):
        if found := search("--serial", serial):
            break
        threading.Event().wait(0.05)
    assert [each["type"] for each in found] == ["intent", "certificate"]
    assert all(each["people"] == ["alice", "bob"] for each in found)
    assert {each["type"] for each in search("--person", "bob")} == {"intent", "certificate"}
    assert search("--team", "games") == []
    (refusal,) = search("--rule", "REQ-PROJECT")
    assert refusal["type"] == "refusal"
    assert search("--until", "2020-01-01") == []
    assert len(search("--since", "2020-01-01T00:00:00Z")) == len(search())

    said = auditor("audit", "show", serial)[1]
    shown = json.loads(said)["entries"]
    request = shown[0]["entry"]["order"]["request"]["statement"]
    assert json.loads(auditor("audit", "show", request["id"])[1])["entries"] == shown
    assert json.loads(auditor("audit", "show", str(shown[0]["index"]))[1])["entries"] == shown[:1]
    assert auditor("audit", "show", "abcdef")[0] == 11

    unwanted = world.signed(world.request())
    no = world.signed(world.decision(unwanted, "alice", verdict="deny", comment="wrong key"))
    signer[0].call("deny", request=unwanted.to_wire(), decision=no.to_wire())
    for _ in range(100):
        if found := search("--type", "denial"):
            break
        threading.Event().wait(0.05)
    assert [(each["says"], each["team"], each["request"]) for each in found] == [
        ("withdrawn by alice: wrong key", "payments", unwanted.sha256)
    ]
    for key in (unwanted.sha256, str(unwanted.statement["id"])):
        (entry,) = json.loads(auditor("audit", "show", key)[1])["entries"]
        assert entry["entry"]["decision"] == no.to_wire()

    said = auditor("audit", "search", "--type", "intent", "--format", "csv")[1]
    header, *rows = csv.reader(io.StringIO(said))
    assert header[:4] == ["entry", "at", "type", "serial"]
    assert all(row[2] == "intent" for row in rows)
    assert "REQ-PROJECT" in auditor("audit", "search", "--type", "refusal")[1]
