"""Revoking as people do it: alone, with a second person, by the key itself, and with the registry down.

Real HTTP to the registry under granian, the real signer, real SSH keys; OCSP is answered by a small desk (``office``).
"""

import base64
import io
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from office import free_server, ocsp_desk, registry_config, running_signer, serving
from sealwright.channel import SignerChannel
from sealwright.cli import daemon
from sealwright.cli.edge import _run
from sealwright.cli.team import app
from sealwright.hsm.generation import generate_key
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind, spki_sha256
from sealwright.pki.requests import build_csr
from sealwright.pki.serials import SerialNumber
from sealwright.pki.signatures import default_scheme
from sealwright.registration.registry import system_clock
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import encode_base64
from softhsm import TokenFactory
from world import World, make_world, wire_time

Run = Callable[..., "Result"]


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def refused(self, code: int, said: str) -> None:
        assert self.code == code, (self.code, self.out, self.err)
        assert re.search(rf"^error: .*{said}", self.err, re.MULTILINE | re.DOTALL), self.err
        assert "hint: " in self.err, self.err


@pytest.fixture(scope="module")
def desk_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, desk_port: int) -> World:
    world = make_world(tmp_path_factory.mktemp("world"))
    world.clock = system_clock  # type: ignore[assignment]  # the client's clock is the machine's
    settings = world.folder / "ca/pki.toml"
    base = f'base = "http://127.0.0.1:{desk_port}"'
    settings.write_text(re.sub(r'^base = ".*?"', base, settings.read_text(), flags=re.MULTILINE))
    return world


@pytest.fixture(scope="module")
def signer(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The signer's socket, with a roster in force."""
    path = tmp_path_factory.mktemp("signer") / "signer.sock"
    with running_signer(world, path):
        SignerChannel(path).call("publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
        yield path


@pytest.fixture(scope="module")
def server(world: World, signer: Path, desk_port: int) -> Iterator[str]:
    config = registry_config(world, signer.parent, free_server())
    with serving(config) as url, ocsp_desk(world, desk_port):
        yield url


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture
def run(
    world: World, server: str, homes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    def command(person: str, *arguments: object, answer: str = "", down: bool = False) -> Result:
        """``down``: the registry does not answer (a port where nothing listens)."""
        folder = homes / (f"{person}-down" if down else person)
        monkeypatch.setenv("SEALWRIGHT_HOME", str(folder))
        monkeypatch.setattr("sys.stdin", io.StringIO(answer + "\n"))
        if not (folder / "config.toml").exists():
            key = ("--person", person, "--key", str(world.people[person].key_file))
            assert _run(app, ["init", "--server", server, "--pki-id", world.pki, *key]) == 0
            if down:
                config = folder / "config.toml"
                config.write_text(config.read_text().replace(server, "http://127.0.0.1:9"))
        capsys.readouterr()
        code = _run(app, [str(each) for each in arguments])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return command


@pytest.fixture
def issue(world: World, server: str) -> Callable[..., x509.Certificate]:
    def post(path: str, signed: SignedStatement) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        answer = httpx.post(f"{server}/v1/{path}", content=signed.to_bytes(), headers=headers, trust_env=False)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def issue(**changes: Any) -> x509.Certificate:
        request = world.signed(world.request(**changes))
        approver = "nina" if changes.get("team") == "games" else "bob"
        post("requests", request)
        serial = post("decisions", world.signed(world.decision(request, approver)))["serial"]
        assert world.authority is not None
        return world.authority.index.issued[SerialNumber(int(serial, 16))].certificate

    return issue


Issue = Callable[..., x509.Certificate]


def name(certificate: x509.Certificate) -> str:
    return f"{certificate.serial_number:x}"


def standing(run: Run, certificate: x509.Certificate, *, wanted: bool = False) -> dict[str, Any]:
    """What the registry lists. ``wanted``: it may take a moment until it has read it off the ledger."""
    for _ in range(100 if wanted else 1):
        listed = {each["serial"]: each for each in run("alice", "certificates", "--json").json["certificates"]}
        found = listed[name(certificate)]["revocation"]
        if found or not wanted:
            break
        time.sleep(0.1)
    return dict(found or {})


def test_backdating_shows_what_dies_and_takes_a_second_person(run: Run, issue: Issue, tmp_path: Path) -> None:
    leaf, file = issue(), tmp_path / "order.json"
    began = leaf.not_valid_before_utc + timedelta(seconds=1)
    time.sleep(1.1)  # that moment has to be in the past
    what = ("revoke", name(leaf), "--reason", "keyCompromise", "--from", wire_time(began))
    alone = run("alice", *what)
    alone.refused(3, "two people, one of them an officer")
    wrong = run("alice", *what, "--out", file, answer="yes")
    wrong.refused(3, "nothing was signed or sent")
    assert not file.exists()
    signed = run("alice", *what, "--out", file, answer=name(leaf))
    assert signed.code == 0, signed.err
    assert f"every signature time-stamped from {wire_time(began)} on, and all that carry no time stamp" in signed.err
    assert "blocked for ever" in signed.err
    assert standing(run, leaf) == {}
    run("alice", "countersign", file, "--yes", digest(file)).refused(4, "REV-SAME-PERSON")
    run("bob", "countersign", file, "--yes", digest(file)).refused(4, "REV-OFFICER")
    run("olga", "countersign", file, "--yes", "0" * 64).refused(3, "nothing was signed or sent")
    second = run("olga", "countersign", file, answer=digest(file)[:16])
    assert "OCSP says revoked, verified" in second.out, second.err
    assert f"every signature time-stamped from {wire_time(began)} on" in second.err
    assert standing(run, leaf)["revocation_date"] == wire_time(began)


def digest(file: Path) -> str:
    from sealwright.statements.revocations import parse_order

    return parse_order(file.read_bytes()).revocation.sha256


def test_before_its_own_beginning_every_signature_dies(run: Run, issue: Issue, tmp_path: Path) -> None:
    leaf = issue()
    said = run(
        "olga", "revoke", name(leaf), "--reason", "superseded", "--from", wire_time(leaf.not_valid_before_utc),
        "--out", tmp_path / "order.json", answer=name(leaf),
    )  # fmt: skip
    assert "every signature ever made with it, also those with a time stamp" in said.err


def test_a_correction_takes_two_and_keeps_what_it_does_not_change(run: Run, issue: Issue, tmp_path: Path) -> None:
    leaf, file = issue(), tmp_path / "order.json"
    run("alice", "correct", name(leaf), "--reason", "superseded", "--out", file).refused(3, "is not revoked")
    run("alice", "revoke", name(leaf), "--reason", "superseded", "--yes", name(leaf))
    run("alice", "correct", name(leaf), "--out", file).refused(3, "what is to be corrected")
    earlier = wire_time(leaf.not_valid_before_utc)
    said = run("alice", "correct", name(leaf), "--from", earlier, "--out", file, answer=name(leaf))
    assert "until now" in said.err, said.err
    done = run("omar", "countersign", file, "--yes", digest(file), "--json").json
    assert (done["act"], done["serials"], done["ocsp"]) == ("correction", [name(leaf)], "revoked")
    assert (standing(run, leaf)["revocation_date"], standing(run, leaf)["reason"]) == (earlier, "superseded")


def test_many_by_approver_team_time_and_key_are_one_order(run: Run, issue: Issue, world: World, tmp_path: Path) -> None:
    start = wire_time(world.clock())
    key = ec.generate_private_key(ec.SECP256R1())
    csr = encode_base64(world.csr("games", "chess", key))
    games = {"person": "mallory", "team": "games", "project": "chess"}
    theirs = [issue(**games, csr=csr), issue(**games)]
    ours = issue()
    public = tmp_path / "public.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def chosen(*options: object) -> set[str]:
        out = tmp_path / f"order-{len(list(tmp_path.iterdir()))}.json"
        what = ("revoke", *options, "--reason", "privilegeWithdrawn", "--out", out, "--yes")
        word = re.search(r"this is (\w+)", run("olga", *what, "0").err)  # how many there are, or the serial of one
        assert word is not None
        assert run("olga", *what, word[1]).code == 0
        return set(json.loads(out.read_text())["revocation"]["statement"]["serials"])

    games_names, our_name = {name(each) for each in theirs}, name(ours)
    assert chosen("--team", "games") == games_names
    assert chosen("--approved-by", "nina", "--since", start) == games_names
    assert chosen("--key", public) == {name(theirs[0])}
    assert chosen("--key", spki_sha256(key.public_key())) == {name(theirs[0])}
    assert our_name in chosen("--issued-between", start, wire_time(world.clock() + timedelta(days=1)))
    assert our_name not in chosen("--issued-between", start, "2100-01-01", "--team", "games")
    run("olga", "revoke", "--issued-between", "2020-01-01", "2020-01-02", "--reason", "superseded").refused(
        11, "no certificate that is not revoked"
    )
    file = tmp_path / "games.json"
    what = ("revoke", "--team", "games", "--reason", "privilegeWithdrawn")
    run("olga", *what).refused(3, "two people")
    assert run("olga", *what, "--out", file, answer="2").code == 0
    run("mallory", "countersign", file, "--yes", "0" * 16).refused(3, "nothing was signed")
    done = run("mallory", "countersign", file, "--yes", digest(file), "--json").json
    assert (set(done["serials"]), done["ocsp"]) == (games_names, "revoked")
    assert standing(run, ours) == {}


def test_the_options_that_exclude_each_other(run: Run, issue: Issue) -> None:
    leaf = name(issue())
    run("olga", "revoke", "--reason", "superseded").refused(3, "which certificates")
    run("olga", "revoke", leaf, "--team", "games", "--reason", "superseded").refused(3, "which certificates")
    run("olga", "revoke", leaf).refused(3, "--reason is missing")
    run("olga", "revoke", "--team", "games", "--since", "2026-01-01", "--reason", "superseded").refused(3, "--since")
    run("olga", "revoke", "--key", "nonsense", "--reason", "superseded").refused(3, "neither a file nor")
    run("olga", "revoke", leaf, "--from", "yesterday", "--reason", "superseded").refused(3, "no moment")


def test_a_compromised_key_shows_all_that_it_takes_along_before_anybody_agrees(
    run: Run, issue: Issue, world: World
) -> None:
    csr = base64.b64encode(world.csr()).decode()
    old, new = issue(csr=csr), issue(csr=csr)
    what = ("revoke", name(old), "--reason", "keyCompromise")
    said = run("alice", *what, "--yes", name(old))
    said.refused(3, "this is 2")
    assert name(new) in said.err
    assert standing(run, new) == {}
    done = run("alice", *what, "--yes", "2", "--json").json
    assert (set(done["serials"]), done["ocsp"]) == ({name(old), name(new)}, "revoked")
    assert standing(run, new, wanted=True)["reason"] == "keyCompromise"


def test_a_stranger_with_the_private_key_revokes_it(run: Run, issue: Issue, world: World, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = encode_base64(world.csr(key=key))
    leaves, file = [issue(csr=csr), issue(csr=csr)], tmp_path / "found.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    sha256 = spki_sha256(key.public_key())
    run("stranger", "revoke", "--key", file, "--reason", "superseded").refused(3, "for keyCompromise, from now on")
    run("stranger", "revoke", "--key", file, answer="yes").refused(3, "nothing was signed or sent")
    done = run("stranger", "revoke", "--key", file, answer=sha256[:16])
    assert done.code == 0, done.err
    assert "blocked for ever" in done.err
    assert "You are not on the roster" in done.err
    for leaf in leaves:
        assert (standing(run, leaf)["reason"], standing(run, leaf)["person"]) == ("keyCompromise", None)
    run("stranger", "revoke", "--key", file, "--yes", sha256).refused(4, "REV-ALREADY")
    other, unknown = tmp_path / "other.pem", ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(unknown.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    mine = spki_sha256(unknown.public_key())
    run("stranger", "revoke", "--key", other, "--yes", mine).refused(11, "ever certified")


@pytest.mark.parametrize("kind", [KeyKind.RSA_3072, KeyKind.P384])
def test_a_key_on_a_token_proves_itself_too(
    run: Run, issue: Issue, world: World, softhsm: TokenFactory, tmp_path: Path, kind: KeyKind
) -> None:
    serial, pin = softhsm.new_token(f"release {kind.value}")
    with TokenSession.open(softhsm.module, serial, pin) as session:
        key = generate_key(session, kind, key_id=b"\x01", label="release")
        subject = x509.load_der_x509_csr(world.csr()).subject
        csr, sha256 = build_csr(key, subject, None, default_scheme(kind)), spki_sha256(key.public_key())
    leaf = issue(csr=encode_base64(csr))
    token = ("--module", softhsm.module_path, "--token-serial", serial, "--pin-file", softhsm.pin_file(tmp_path, pin))
    done = run("bob", "revoke", "--key-id", "01", *token, "--yes", sha256, "--json").json
    assert (done["serials"], done["reason"], done["ocsp"]) == ([name(leaf)], "keyCompromise", "revoked")


# With the registry down


@pytest.fixture
def operate(world: World, signer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``sealwrightd`` on the signer's machine."""
    folder = tmp_path / "installed"
    folder.mkdir()
    key = f'token_serial = "0123456789abcdef"\nkey_id = "01"\npin_file = "{tmp_path}/pin"\n'
    (folder / "sealwrightd.toml").write_text(
        f'mode = "REHEARSAL"\n[token]\nmodule = "/nowhere"\n[signer]\nsocket = "{signer}"\npeers = [0]\n'
        f"presign_peers = [0]\n[signer.issuing]\n{key}[signer.ledger]\n{key}[presign]\npublication = 'sqlite:///x'\n"
        f"[presign.ocsp]\n{key}[registry]\ndatabase = 'sqlite:///y'\nlisten = '127.0.0.1:1'\nurl = 'http://127.0.0.1:1'\n"
        "[validation]\npublication = 'sqlite:///x'\nlisten = '127.0.0.1:2'\n"
    )

    def command(*arguments: object, act: str = "revoke") -> Result:
        capsys.readouterr()
        code = _run(daemon.app, [act, *map(str, arguments), "--dir", str(folder)])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return command


def test_with_the_registry_down_an_operator_hands_in_what_people_signed(
    run: Run, issue: Issue, operate: Callable[..., Result], tmp_path: Path
) -> None:
    leaf, other, file = issue(), issue(), tmp_path / "order.json"
    run("alice", "revoke", name(leaf), "--reason", "superseded", down=True).refused(7, "does not answer")
    signed = run("alice", "revoke", name(leaf), "--reason", "superseded", "--out", file, "--yes", name(leaf), down=True)
    assert signed.code == 0, signed.err
    assert "does not answer" in signed.err
    (done,) = operate(file, "--json").json
    assert (done["act"], done["serials"]) == ("revocation", [name(leaf)])
    operate(file).refused(4, "REV-ALREADY")

    pem, two, full = tmp_path / "leaf.pem", tmp_path / "two.json", tmp_path / "full.json"
    pem.write_bytes(other.public_bytes(Encoding.PEM))
    date = wire_time(other.not_valid_before_utc)
    what = ("revoke", pem, "--reason", "keyCompromise", "--from", date, "--out", two)
    shown = run("alice", *what, answer=name(other), down=True)
    assert "every signature ever made with it" in shown.err, shown.err
    operate(two).refused(4, "REV-BACKDATE")
    both = run("odile", "countersign", two, "--out", full, "--yes", digest(two), down=True)
    assert both.code == 0, both.err
    said = operate(full)
    assert f"revocation of {name(other)}, from {date}" in said.out, said.err
    assert standing(run, other, wanted=True)["revocation_date"] == date


def test_an_operator_can_hand_in_nothing_that_nobody_signed(
    run: Run, issue: Issue, operate: Callable[..., Result], tmp_path: Path
) -> None:
    leaf, file = issue(), tmp_path / "order.json"
    run("alice", "revoke", name(leaf), "--reason", "superseded", "--out", file, "--yes", name(leaf))
    order = json.loads(file.read_text())
    order["revocation"]["statement"]["reason"] = "keyCompromise"
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(order, sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    operate(forged).refused(4, "STMT-SIGNATURE")
    operate(tmp_path / "none.json").refused(11, "is not there")
    forged.write_text("{}")
    operate(file, forged).refused(3, "forged.json")
    assert standing(run, leaf) == {}  # all files are read before the first is sent


def test_a_moment_is_a_day_or_a_second_in_utc() -> None:
    from sealwright.client.revocations import parse_moment

    assert parse_moment("2026-11-23") == datetime.fromisoformat("2026-11-23T00:00:00+00:00")
    assert parse_moment("2026-11-23T13:30:00Z") == datetime.fromisoformat("2026-11-23T13:30:00+00:00")


def test_what_is_too_much_for_one_order_is_split(tmp_path: Path) -> None:
    from sealwright.client.revocations import order_paths, split

    parts = split([f"{number:x}" for number in range(1, 1202)])
    assert [len(part) for part in parts] == [500, 500, 201]
    assert [path.name for path in order_paths(tmp_path / "all.json", 3)] == ["all-1.json", "all-2.json", "all-3.json"]


def test_with_the_registry_down_an_operator_hands_in_a_suspension(
    run: Run, world: World, operate: Callable[..., Result], tmp_path: Path
) -> None:
    """The last of this file: mallory counts no more in its world."""
    file, forged = tmp_path / "suspended.json", tmp_path / "forged.json"
    run("odile", "suspend", "mallory", "--yes", "mallory", down=True).refused(7, "does not answer")
    signed = run("odile", "suspend", "mallory", "--out", file, answer="mallory", down=True)
    assert "signed, not sent" in signed.out, signed.err
    forged.write_text(file.read_text().replace('"suspended":"mallory"', '"suspended":"carol"'))
    operate(forged, act="suspend").refused(4, "STMT-SIGNATURE")
    operate(tmp_path / "none.json", act="suspend").refused(11, "is not there")
    forged.write_text("{}")
    operate(forged, act="suspend").refused(3, "sealwright suspend --out")
    run("alice", "suspend", "mallory", "--out", tmp_path / "alice.json", "--yes", "mallory", down=True)
    operate(tmp_path / "alice.json", act="suspend").refused(4, "SUSPEND-OFFICER")
    assert operate(file, "--json", act="suspend").json["suspended"] == ["mallory"]
    operate(file, act="suspend").refused(4, "SUSPEND-ALREADY")
    assert world.authority is not None
    assert world.authority.last_roster().suspended == ("mallory",)
