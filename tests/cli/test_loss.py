"""``sealwrightd loss`` drafts, ``sealwright loss`` shows and signs, ``sealwrightd recover --declared`` declares."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.cli import daemon, team
from sealwright.cli.edge import _run
from sealwright.errors import IntegrityError
from sealwright.issuing import loss
from sealwright.issuing.authority import IssuingAuthority
from sealwright.statements.receipts import Receipt
from world import World, call, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Its ledger was set back to before a certificate; ``lost.pem`` is left of that."""
    world = make_world(tmp_path / "w")
    world.clock.now = datetime.now(UTC).replace(microsecond=0)
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    world.stop()
    shutil.copytree(world.installed.ledger, tmp_path / "backup")
    authority = world.start()
    issued = Receipt.parse(call(world, "issue", order=world.order())["receipt"]).load_certificate()
    (tmp_path / "lost.pem").write_bytes(issued.public_bytes(Encoding.PEM))
    checkpoint = authority.ledger.checkpoint
    world.stop()
    shutil.rmtree(world.installed.ledger)
    (tmp_path / "backup").rename(world.installed.ledger)
    world.start()
    with pytest.raises(IntegrityError):
        call(world, "witness", checkpoint=checkpoint)
    world.stop()
    return world


def test_from_the_draft_to_the_declaration(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, lost = tmp_path / "loss.json", tmp_path / "lost.pem"
    monkeypatch.setattr(loss, "DRAFT_LIMIT", 300)
    draft = ["loss", "--dir", str(world.folder), "--person", "olga", "--out", str(file), "--compromised", str(lost)]
    assert _run(daemon.app, [*draft, "--serial", "1f00", "--serial", "1f01"]) == 0
    assert "there is more than fits" in capsys.readouterr().out
    assert _run(team.app, ["loss", "show", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "from now on, no reason" in shown
    assert "another declaration follows" in shown
    digest = json.loads(file.read_bytes())["keys"][0]
    assert digest in shown.replace("\n", "").replace(" ", "")
    assert _run(daemon.app, [*draft[:-1], "/dev/null", "--json"]) != 0
    assert "no certificate in PEM" in capsys.readouterr().err
    assert _run(team.app, ["loss", "show", str(file), "--json"]) == 0
    sha256 = json.loads(capsys.readouterr().out)["sha256"]
    for person in ("olga", "omar"):
        key = str(world.people[person].key_file)
        assert _run(team.app, ["loss", "sign", str(file), "--key", key, "--yes", sha256, "--json"]) == 0
    capsys.readouterr()

    @contextmanager
    def opened(_: object) -> Iterator[IssuingAuthority]:
        yield world.start()
        world.stop()

    monkeypatch.setattr("sealwright.issuing.service.opened_authority", opened)
    monkeypatch.setattr("sealwright.cli.daemon.recovery.begin", lambda *_: None)
    monkeypatch.setattr("sealwright.cli.daemon.recovery.signer_config", lambda *_: None)
    for nothing, code in ((tmp_path / "none.json", 11), (tmp_path, 3)):
        assert _run(daemon.app, ["recover", "--dir", str(world.folder), "--declared", str(nothing)]) == code
    capsys.readouterr()
    assert _run(daemon.app, ["recover", "--dir", str(world.folder), "--declared", str(file)]) == 0
    assert "nothing is signed yet" in capsys.readouterr().out
    file.unlink()
    assert _run(daemon.app, [*draft, "--serial", "1f00", "--serial", "1f01", "--json"]) == 0
    left = json.loads(capsys.readouterr().out)["loss"]
    assert (left["more"], left["keys"], len(left["revocations"])) == (False, [], 1)
