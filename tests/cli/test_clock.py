"""``sealwrightd clock``: what the signer believes of its machine's clock, and an operator's word after months away."""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from office import running_signer
from sealwright.channel import SignerChannel
from sealwright.cli import daemon
from sealwright.cli.edge import _run
from sealwright.ledger.entries import ClockEntry, parse_entry
from world import World, call, make_world, wire_time

Said = tuple[int, str, str]


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


@pytest.fixture
def world(tmp_path: Path, socket: Path) -> World:
    """A signer that was off for sixty days."""
    world = make_world(tmp_path / "w")
    now = datetime.now(UTC).replace(microsecond=0)
    world.clock.now = now - timedelta(days=60)
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    world.stop()
    world.clock.now = now
    key = f'token_serial = "0123456789abcdef"\nkey_id = "01"\npin_file = "{tmp_path}/pin"\n'
    (world.folder / "sealwrightd.toml").write_text(
        f'mode = "REHEARSAL"\n[token]\nmodule = "/nowhere"\n[signer]\nsocket = "{socket}"\npeers = [0]\n'
        f"presign_peers = [0]\n[signer.issuing]\n{key}[signer.ledger]\n{key}[presign]\npublication = 'sqlite:///x'\n"
        f"[presign.ocsp]\n{key}[registry]\ndatabase = 'sqlite:///y'\nlisten = '127.0.0.1:1'\nurl = 'http://127.0.0.1:1'\n"
        "[validation]\npublication = 'sqlite:///x'\nlisten = '127.0.0.1:2'\n"
    )
    return world


@pytest.fixture
def clock(world: World, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def command(*arguments: str) -> Said:
        capsys.readouterr()
        code = _run(daemon.app, ["clock", "--dir", str(world.folder), *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_an_operator_s_word_is_heard_and_put_on_record(world: World, socket: Path, clock: Callable[..., Said]) -> None:
    word = wire_time(datetime.now(UTC) - timedelta(minutes=2))
    with running_signer(world, socket):
        code, out, _ = clock("--json")
        assert (code, json.loads(out)["clock"]) == (0, "ahead")
        code, out, err = clock("--time", "2026-11-23 12:00")
        assert (code, "YYYY-MM-DDTHH:MM:SSZ" in err or "does not match" in err) == (3, True)
        code, out, err = clock("--time", wire_time(datetime.now(UTC) - timedelta(days=60)))
        assert (code, "one of the two is wrong" in err) == (3, True)
        assert not (world.folder / "clock").exists()
        code, out, _ = clock("--time", word)
        assert (code, f"hears within half a minute that it is {word}" in out) == (0, True)
    with running_signer(world, socket):  # it listens at once when it starts
        end = time.monotonic() + 30
        while SignerChannel(socket).call("status")["clock"] != "well":
            assert time.monotonic() < end
            time.sleep(0.05)
        assert clock()[1].startswith("the signer's clock is well")
        assert world.authority is not None
        entries = [parse_entry(data) for data in world.authority.ledger.iterate()]
    assert [wire_time(entry.said) for entry in entries if isinstance(entry, ClockEntry)] == [word]
