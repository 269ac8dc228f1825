"""``sealwright`` as people run it: real HTTP to the registry under granian, the real signer, real SSH keys and tokens.

Each person has a workstation of their own (``$SEALWRIGHT_HOME``). Only OCSP is answered by a small desk (``office``).
"""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key, pkcs7

from office import free_server, ocsp_desk, registry_config, running_signer, serving
from sealwright.cli.edge import _run
from sealwright.cli.team import app
from sealwright.hsm.keys import private_key
from sealwright.hsm.session import TokenSession
from sealwright.pki.requests import build_csr
from sealwright.pki.signatures import SignatureScheme
from sealwright.registration.registry import system_clock
from sealwright.statements.ssh_keys import parse_public_key
from softhsm import TokenFactory
from world import CHECKOUT, World, make_world
from yubikey import Maker

WHAT = ("--profile", "code-signing", "--team", "payments", "--project", "terminal")

TOKEN = ("--key-location", "token")
DEVELOPMENT = ("--profile", "code-signing-development", *WHAT[2:])


class Result:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def refused(self, code: int, said: str) -> None:
        """One clear error with a hint, this exit code, and no trace."""
        assert self.code == code, (self.code, self.out, self.err)
        assert re.search(rf"^error: .*{said}", self.err, re.MULTILINE | re.DOTALL), self.err
        assert "hint: " in self.err, self.err
        assert "Traceback" not in self.err


Run = Callable[..., Result]


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
    profile = world.folder / "ca/profiles/code-signing.toml"
    profile.write_text(re.sub(r"renewal_window_days = \d+", "renewal_window_days = 397", profile.read_text()))
    return world


@pytest.fixture(scope="module")
def server(world: World, desk_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Registry and signer, the officers' first roster drafted, signed and published by the command itself."""
    folder = tmp_path_factory.mktemp("registry")
    config = registry_config(world, folder, free_server())
    with running_signer(world, config.socket), serving(config) as url, ocsp_desk(world, desk_port):
        yield url


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("homes")


@pytest.fixture
def run(
    world: World, server: str, homes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """``run("alice", "request", ...)`` is alice at her own workstation; ``answer`` is what she types."""

    def command(person: str, *arguments: object, answer: str = "", home: Path | None = None) -> Result:
        folder = home or homes / person
        monkeypatch.setenv("SEALWRIGHT_HOME", str(folder))
        monkeypatch.setattr("sys.stdin", io.StringIO(answer + "\n"))
        if not (folder / "config.toml").exists() and arguments[0] != "init":
            assert _run(app, init_of(world, server, person)) == 0
        capsys.readouterr()
        code = _run(app, [str(each) for each in arguments])
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return command


def init_of(world: World, server: str, person: str, pki_id: str | None = None) -> list[str]:
    key = str(world.people[person].key_file)
    return ["init", "--server", server, "--pki-id", pki_id or world.pki, "--person", person, "--key", key]


@pytest.fixture(scope="module")
def rostered() -> dict[str, int]:
    return {}


@pytest.fixture
def ca(world: World, tmp_path: Path) -> Path:
    """A ``ca/`` as officers have it in their checkout, with the world's people in its draft."""
    folder = tmp_path / "ca"
    shutil.copytree(world.folder / "ca", folder)
    roster = world.roster()
    lines = [f"threshold = {roster['threshold']}"]
    for table in ("officers", "people", "teams"):
        for each in roster[table]:
            lines += [f"[[{table}]]", *(f"{name} = {json.dumps(value)}" for name, value in each.items())]
    (folder / "roster.toml").write_text("\n".join(lines))
    return folder


@pytest.fixture
def office(run: Run, world: World, ca: Path, tmp_path: Path, rostered: dict[str, int]) -> Run:
    """``run``, with a roster in force: made by two officers the first time."""
    if not rostered:
        keys = tmp_path / "keys.json"
        authority = world.roster()["authority"]
        keys.write_text(json.dumps({name: {"spki": authority[f"{name}_key"]} for name in ("ledger", "ocsp")}))
        file = tmp_path / "roster-1.json"
        records = ("--anchor", world.folder / "anchor.json", "--keys", keys, "--issuing", world.folder / "issuing.pem")
        made = run("olga", "roster", "edit", "--ca", ca, *records, "--person", "olga", "--out", file, "--json").json
        assert made["version"] == 1
        run("olga", "roster", "publish", file).refused(3, "nobody has signed")
        one = run("olga", "roster", "sign", file, "--ca", ca, answer="sign")
        assert one.code == 0, one.err
        assert "waits" in run("olga", "roster", "publish", file).out
        key = world.people["omar"].key_file
        two = run("omar", "roster", "sign", file, "--key", key, "--yes", made["sha256"][:16], "--json").json
        assert two["signed_by"] == ["olga", "omar"]
        assert run("omar", "roster", "publish", file).out == "roster 1 is in force\n"
        rostered["version"] = 1
    return run


@pytest.fixture
def csr(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "request.der"
    path.write_bytes(world.csr())
    return path


@pytest.fixture
def asked(office: Run, csr: Path) -> dict[str, Any]:
    """An open request of alice's."""
    said: dict[str, Any] = office("alice", "request", *WHAT, "--csr", csr, *TOKEN, "--json").json
    return said


@pytest.fixture
def issued(office: Run, asked: dict[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = office("bob", "approve", asked["id"], "--yes", asked["sha256"], "--json").json
    return said


# setting up


def test_init_pins_the_pki_id_and_refuses_another(run: Run, world: World, server: str, tmp_path: Path) -> None:
    run("alice", *init_of(world, server, "alice", "0" * 64), home=tmp_path / "a").refused(8, "this is the PKI")
    assert not (tmp_path / "a/config.toml").exists()
    done = run("alice", *init_of(world, server, "alice"), home=tmp_path / "b")
    assert "its anchor is the one you were told of" in done.out
    run("alice", *init_of(world, server, "alice"), home=tmp_path / "b").refused(12, "set up already")
    assert run("alice", *init_of(world, server, "alice"), "--replace", home=tmp_path / "b").code == 0


@pytest.mark.parametrize("url", ["http://pki.example.org", "http://10.0.0.1:80", "http://127.0.0.1.example.org"])
def test_plain_http_is_for_loopback_only(run: Run, world: World, tmp_path: Path, url: str) -> None:
    run("alice", *init_of(world, url, "alice"), home=tmp_path / "home").refused(
        4, r"plain HTTP to another machine \[CLIENT-TLS\]"
    )


@pytest.mark.parametrize("url", ["ftp://x", "pki.example.org", "https://", "https://u:p@x", "https://x:99999"])
def test_a_server_that_is_no_url_is_refused(run: Run, world: World, tmp_path: Path, url: str) -> None:
    assert run("alice", *init_of(world, url, "alice"), home=tmp_path / "home").code == 3


def test_a_server_that_is_not_there_is_one_clear_error(run: Run, world: World, tmp_path: Path) -> None:
    run("alice", *init_of(world, free_server(), "alice"), home=tmp_path / "home").refused(7, "does not answer")


def test_before_init_there_is_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setenv("SEALWRIGHT_HOME", str(tmp_path))
    assert _run(app, ["requests"]) == 10
    assert "sealwright init" in capsys.readouterr().err


# the day


def test_the_whole_day_with_the_key_on_a_token(
    office: Run, world: World, tmp_path: Path, softhsm: TokenFactory
) -> None:
    serial, pin = softhsm.new_token("team")
    token = ("--module", softhsm.module_path, "--token-serial", serial, "--pin-file", softhsm.pin_file(tmp_path, pin))
    asked = office("alice", "request", *WHAT, *token, "--comment", "release 1", "--json").json
    assert (asked["state"], asked["key_location"]) == ("open", "token")
    office("alice", "fetch", asked["id"], "--out", tmp_path / "early").refused(10, "is open")

    seen = office("bob", "approve", asked["id"], answer="approve")
    assert seen.code == 0
    for word in ("alice, signed with ssh-ed25519", "payments / terminal", "RSA-3072, claimed to live on a token",
                 "REHEARSAL Example Corp payments terminal", asked["sha256"], "release 1", "397 days"):  # fmt: skip
        assert word in seen.err
    assert seen.err.index("verified, decoded and linted on this machine") < seen.err.index("says (unverified)")

    fetched = office("alice", "fetch", asked["id"], "--out", tmp_path / "out", "--json").json
    certificate = x509.load_pem_x509_certificate((tmp_path / "out/certificate.pem").read_bytes())
    with TokenSession.open(softhsm.module, serial, pin) as session:
        key = private_key(session, bytes.fromhex(asked["key_id"]))
        assert key.public_key().public_numbers() == certificate.public_key().public_numbers()  # type: ignore[union-attr]
    command = ["openssl", "verify", "-x509_strict", "-CAfile", world.folder / "root.pem", "-untrusted"]
    subprocess.run([*command, tmp_path / "out/issuing.pem", tmp_path / "out/certificate.pem"], check=True)

    old = fetched["serial"]
    again = ("--same-key", "--key-id", asked["key_id"])
    renewal = office("alice", "renew", old, *again, *token, "--json").json
    assert (renewal["renews"], renewal["same_key"]) == (old, True)
    renewed = office("bob", "approve", renewal["id"], "--yes", renewal["sha256"], "--json").json
    assert renewed["state"] == "issued"

    shown = office("alice", "revoke", old, "--reason", "superseded", answer=old)
    assert shown.code == 0, shown.err
    assert "OCSP says revoked, verified" in shown.out
    states = {each["serial"]: each["state"] for each in office("alice", "certificates", "--json").json["certificates"]}
    assert (states[old], states[renewed["serial"]]) == ("revoked", "valid")
    office("alice", "revoke", old, "--reason", "superseded", "--yes", old).refused(4, "REV-ALREADY")


def test_request_wait_ends_when_somebody_decided(office: Run, csr: Path, world: World, homes: Path) -> None:
    office("bob", "requests")
    # capsys and the environment are this process's: the one who waits is a process of its own.
    command = [*_program(), "request", *WHAT, "--csr", str(csr), *TOKEN, "--wait", "--json"]
    office("alice", "requests")
    waiting = subprocess.Popen(
        command, env=_environment(homes / "alice"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(100):
        found = office("bob", "requests", "--state", "open", "--json").json["requests"]
        if found:
            break
        threading.Event().wait(0.1)
    office("bob", "deny", found[0]["id"], "--yes", found[0]["sha256"], "--comment", "not today")
    out, err = waiting.communicate(timeout=30)
    assert json.loads(out)["state"] == "denied"
    assert waiting.returncode == 4
    assert "denied by bob: not today" in err


def _program() -> list[str]:
    return [sys.executable, "-m", "sealwright.cli.team"]


def _environment(home: Path) -> dict[str, str]:
    return {**os.environ, "SEALWRIGHT_HOME": str(home)}


def test_request_wait_gives_up_in_time_and_the_request_stays(office: Run, csr: Path) -> None:
    what = (*WHAT, "--csr", csr, *TOKEN, "--wait", "--timeout", 1)
    office("alice", "request", *what).refused(10, "is still open after 1 s")
    assert office("alice", "requests", "--state", "open", "--json").json["requests"]


def test_where_nobody_answers_nothing_is_signed(office: Run, asked: dict[str, Any], homes: Path) -> None:
    office("bob", "requests")
    done = subprocess.run(
        [*_program(), "approve", asked["id"]],
        env=_environment(homes / "bob"), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.splitlines()[-2:] == [
        "error: nobody was there to answer: nothing was signed or sent",
        "hint: a script agrees with --yes, and says to what",
    ]
    assert office("alice", "show", asked["id"], "--json").json["state"] == "open"


def test_a_serial_is_read_as_other_programs_write_it(office: Run, issued: dict[str, Any]) -> None:
    written = issued["serial"].upper()
    colons = ":".join(written[i : i + 2] for i in range(0, len(written), 2))
    for serial in (written, colons, f"00{written}"):
        office("alice", "revoke", serial, "--reason", "superseded", answer="no").refused(3, issued["serial"])
    office("alice", "revoke", "00", "--reason", "superseded", "--yes", "0").refused(11, "00|'0'")


@pytest.mark.parametrize("form", ["pem", "der", "p7b"])
def test_fetch_writes_new_files_in_each_format(office: Run, issued: dict[str, Any], tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    fetched = office("alice", "fetch", issued["id"], "--out", out, "--format", form, "--json").json
    assert fetched["serial"] == issued["serial"]
    files = {Path(each).name for each in fetched["files"]}
    assert "receipt.json" in files
    if form == "p7b":
        both = pkcs7.load_der_pkcs7_certificates((out / "certificate.p7b").read_bytes())
        assert f"{both[0].serial_number:x}" == issued["serial"] or f"{both[1].serial_number:x}" == issued["serial"]
    before = {path: path.read_bytes() for path in out.iterdir()}
    office("alice", "fetch", issued["id"], "--out", out, "--format", form).refused(12, "exists")
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    office("alice", "fetch", issued["id"], "--out", out / "receipt.json").refused(12, "is no folder")


def test_fetch_puts_the_certificate_beside_its_key_on_the_token(
    office: Run, softhsm: TokenFactory, tmp_path: Path
) -> None:
    serial, pin = softhsm.new_token("beside its key")
    token = ("--module", softhsm.module_path, "--token-serial", serial, "--pin-file", softhsm.pin_file(tmp_path, pin))
    asked = office("alice", "request", *WHAT, *token, "--json").json
    office("bob", "approve", asked["id"], "--yes", asked["sha256"])
    out, what = tmp_path / "out", ("fetch", asked["id"], "--out", tmp_path / "out", "--label", "release")
    office("alice", *what, "--key-id", asked["key_id"]).refused(3, "on which token")
    office("alice", *what, "--key-id", "ab" * 16, *token).refused(6, "ab" * 16)
    assert not out.exists()
    assert office("alice", *what, "--key-id", asked["key_id"], *token, "--json").json["token_label"] == "release"
    tool = ("pkcs11-tool", "--module", softhsm.module_path, "--token-label", "beside its key")
    read = ("--read-object", "--type", "cert", "--id", asked["key_id"], "-o", out / "on-token")
    subprocess.run([*tool, *read], check=True, capture_output=True)
    on_token = x509.load_der_x509_certificate((out / "on-token").read_bytes())
    assert on_token == x509.load_pem_x509_certificate((out / "certificate.pem").read_bytes())


def test_an_officer_suspends_a_person_at_once(office: Run, ca: Path, tmp_path: Path) -> None:
    office("odile", "suspend", "nobody", "--yes", "nobody").refused(11, "nobody")
    assert office("odile", "suspend", "nina", "--yes", "carol").code == 3
    office("alice", "suspend", "nina", "--yes", "nina").refused(4, "SUSPEND-OFFICER")
    assert office("odile", "suspend", "nina", answer="nina").out.strip() == "suspended: nina; it is in the ledger"
    office("odile", "suspend", "nina", "--yes", "nina").refused(4, "SUSPEND-ALREADY")
    assert office("carol", "roster", "show", "--json").json["suspended"] == ["nina"]
    office("nina", "requests").refused(4, "SUSPENDED")
    lifting = tmp_path / "roster-2.json"  # whoever signs the next roster hears that it lifts this
    assert office("olga", "roster", "edit", "--ca", ca, "--out", lifting).code == 0
    assert "nina is suspended, and will be no more\n" in office("omar", "roster", "sign", lifting, answer="no").err


def test_a_software_key_is_made_only_where_the_profile_allows_it(office: Run, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    strict = ("--profile", "code-signing-release", *WHAT[2:], "--software-key", file)
    office("alice", "request", *strict).refused(4, "REQ-KEY-LOCATION")
    assert not file.exists()
    made = office("alice", "request", *DEVELOPMENT, "--software-key", file, "--key-type", "p-384", "--json").json
    assert made["key_file"] == str(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert isinstance(load_pem_private_key(file.read_bytes(), None), ec.EllipticCurvePrivateKey)
    office("alice", "request", *DEVELOPMENT, "--software-key", file).refused(12, "exists")


def test_an_officer_excepts_one_key_from_living_on_a_token(office: Run, csr: Path, tmp_path: Path) -> None:
    file, software = tmp_path / "exception.json", ("--csr", csr, "--exception", tmp_path / "exception.json")
    office("alice", "request", *WHAT, "--csr", csr).refused(4, "REQ-KEY-LOCATION")
    made = office("odile", "exception", *WHAT, "--csr", csr, "--allow", "software", "--out", file, "--json").json
    assert made["file"] == str(file)
    office("odile", "exception", *WHAT, "--csr", csr, "--allow", "software", "--out", file).refused(12, "exists")
    asked = office("alice", "request", *WHAT, *software, "--json").json
    shown = office("bob", "show", asked["id"]).out
    assert "in software (nothing attests it), by an exception of officer 'odile'" in shown
    assert office("bob", "approve", asked["id"], "--yes", asked["sha256"], "--json").json["state"] == "issued"


def test_an_approver_sees_which_approvals_are_missing(office: Run, world: World, tmp_path: Path) -> None:
    file = tmp_path / "release.der"
    file.write_bytes(world.csr(key=ec.generate_private_key(ec.SECP384R1()), profile="code-signing-release"))
    release = ("--profile", "code-signing-release", *WHAT[2:], "--csr", file, *TOKEN)
    asked = office("alice", "request", *release, "--emergency", "--json").json
    said = office("bob", "show", asked["id"]).out
    assert "3 approval(s) besides the requester" in said
    assert re.search(r"missing approvals +3 in all", said)
    assert "emergency" in said
    once = office("bob", "approve", asked["id"], "--yes", asked["sha256"])
    assert "approvals still missing: 2 in all" in once.out
    shown = office("carol", "show", asked["id"], "--json").json
    assert (shown["approvals"], shown["missing"]) == ("3", ["2 in all"])


def test_an_attestation_is_read_from_pem_and_refused_by_its_rule(
    office: Run, world: World, csr: Path, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    maker, pem = Maker(), tmp_path / "attestation.pem"
    csr.write_bytes(world.csr(key=key))
    chain = [x509.load_der_x509_certificate(each) for each in maker.attest(key.public_key())]
    pem.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in chain))
    attested = (*WHAT, "--csr", csr, *TOKEN, "--attestation")
    office("alice", "request", *attested, pem).refused(4, "ATTEST-ROOT")
    assert office("alice", "request", *attested, csr).code == 3


# what is refused


def test_an_approver_has_to_type_the_very_word(office: Run, asked: dict[str, Any]) -> None:
    office("bob", "approve", asked["id"], answer="yes")
    assert office("bob", "approve", asked["id"], answer="yes").code == 3
    office("bob", "approve", asked["id"], "--yes", "abc").refused(3, "--yes takes")
    assert office("bob", "approve", asked["id"], "--yes", "0" * 64).code == 3
    assert office("bob", "show", asked["id"], "--json").json["state"] == "open"


def test_the_requester_cannot_approve(office: Run, csr: Path) -> None:
    asked = office("carol", "request", *WHAT, "--csr", csr, *TOKEN, "--json").json
    for arguments in (("--yes", asked["sha256"]), ()):
        refused = office("carol", "approve", asked["id"], *arguments)
        refused.refused(4, "ORDER-SELF")
        assert "decoded and linted" not in refused.err  # nothing to read first, and no question
    office("carol", "deny", asked["id"]).refused(4, "ORDER-SELF")


def test_who_asked_takes_a_request_back(office: Run, asked: dict[str, Any]) -> None:
    refused = office("bob", "withdraw", asked["id"], "--yes", asked["sha256"])
    refused.refused(5, "cannot take it back")
    assert "decoded and linted" not in refused.err
    assert office("alice", "withdraw", asked["id"], answer="deny").code == 3
    taken = office("alice", "withdraw", asked["id"], "--comment", "wrong key", answer="withdraw")
    assert taken.code == 0, taken.err
    assert asked["sha256"] in taken.err
    assert taken.out.strip() == f"request {asked['id']} is denied"
    shown = office("bob", "show", asked["id"], "--json").json
    assert (shown["state"], shown["reason"]) == ("denied", "withdrawn by alice: wrong key")
    assert office("bob", "approve", asked["id"], "--yes", asked["sha256"]).code != 0


def test_who_may_not_decide_is_told_before_reading(office: Run, asked: dict[str, Any]) -> None:
    for person, rule in (("mallory", "DEC-TEAM"), ("odile", "DEC-PERSON")):
        refused = office(person, "approve", asked["id"])
        refused.refused(4, rule)
        assert "decoded and linted" not in refused.err


def test_lists_come_in_pages(office: Run, world: World, tmp_path: Path) -> None:
    for number in range(3):
        file = tmp_path / f"{number}.der"
        file.write_bytes(world.csr())
        asked = office("alice", "request", *WHAT, "--csr", file, *TOKEN, "--json").json
        office("bob", "approve", asked["id"], "--yes", asked["sha256"])
    for command, name in (("requests", "id"), ("certificates", "serial")):
        whole = office("bob", command, "--json").json
        assert whole["next"] is None
        pages, arguments = [], ["--limit", "2"]
        while True:
            page = office("bob", command, *arguments, "--json").json
            pages += [each[name] for each in page[command]]
            if page["next"] is None:
                break
            assert len(page[command]) == 2
            arguments = ["--limit", "2", "--after", str(page["next"])]
        assert pages == [each[name] for each in whole[command]]
        assert len(pages) >= 3
        shown = office("bob", command, "--limit", "2")
        assert re.fullmatch(r"there are more: --after \w+\n", shown.err)
    office("bob", "requests", "--after", "0" * 32).refused(11, "there is no request")


def test_somebody_unknown_cannot_even_look(office: Run, asked: dict[str, Any]) -> None:
    office("stranger", "show", asked["id"]).refused(5, "nobody called 'stranger'")


def test_an_approver_of_another_team_cannot_approve(office: Run, asked: dict[str, Any]) -> None:
    office("mallory", "approve", asked["id"], "--yes", asked["sha256"]).refused(4, "DEC-TEAM")


def test_a_decided_request_takes_no_more_decisions(office: Run, issued: dict[str, Any]) -> None:
    office("carol", "approve", issued["id"], "--yes", issued["sha256"]).refused(12, "takes no more decisions")


def test_bad_csrs_are_refused_before_anything_is_sent(office: Run, world: World, tmp_path: Path) -> None:
    names = x509.load_der_x509_csr(world.csr()).subject
    small = build_csr(rsa.generate_private_key(65537, 2048), names, None, SignatureScheme("rsa-pkcs1-sha256"))
    broken = bytearray(world.csr())
    broken[-1] ^= 1
    cases = (
        (b"garbage", 3, "CSR-FORMAT"),
        (bytes(17_000), 3, "CSR-SIZE"),
        (bytes(100_000), 3, "longer"),
        (bytes(broken), 3, "CSR-SIGNATURE"),
        (small, 4, "RSA-2048"),
        (world.csr("games", "chess"), 4, "CS-CSR-SUBJECT"),
    )
    before = office("alice", "requests", "--json").json
    for data, code, said in cases:
        file = tmp_path / "bad.csr"
        file.write_bytes(data)
        result = office("alice", "request", *WHAT, "--csr", file)
        assert (result.code, said in result.err) == (code, True), (said, result.err)
    office("alice", "request", *WHAT, "--csr", tmp_path / "nothing")
    assert office("alice", "requests", "--json").json == before


def test_what_the_roster_does_not_have_is_not_found(office: Run, csr: Path) -> None:
    for what in (
        ("--profile", "nothing", *WHAT[2:]),
        (*WHAT[:4], "--project", "nothing"),
        ("--profile", "root", *WHAT[2:]),
    ):
        office("alice", "request", *what, "--csr", csr).refused(11, "there|no team")


def test_a_key_needs_a_place(office: Run, csr: Path) -> None:
    office("alice", "request", *WHAT).refused(3, "where shall the key be made")
    assert office("alice", "request", *WHAT, "--csr", csr, "--software-key", "x.pem").code == 3


def test_a_wrong_pin_and_a_token_that_is_not_there(office: Run, tmp_path: Path, softhsm: TokenFactory) -> None:
    serial, _ = softhsm.new_token("team")
    pin = tmp_path / "pin"
    pin.write_text("0000")
    pin.chmod(0o600)
    place = ("--module", softhsm.module_path, "--pin-file", pin, "--token-serial")
    assert office("alice", "request", *WHAT, *place, serial).code == 13
    office("alice", "request", *WHAT, *place, "0123456789abcdef").refused(6, "0123456789abcdef")
    pin.chmod(0o644)
    office("alice", "request", *WHAT, *place, serial).refused(3, "mode 0644")


def test_revoke_wants_the_serial_once_more(office: Run, issued: dict[str, Any]) -> None:
    serial = issued["serial"]
    seen = office("alice", "revoke", serial, "--reason", "superseded", answer="yes")
    assert seen.code == 3
    assert "what it kills" in seen.err
    assert office("alice", "revoke", serial, "--reason", "superseded", "--yes", "abcdef").code == 3
    assert office("alice", "revoke", "abcdef", "--reason", "superseded", "--yes", "abcdef").code == 11
    office("mallory", "revoke", serial, "--reason", "superseded", "--yes", serial).refused(4, "REV-ALLOWED")
    states = office("alice", "certificates", "--json").json["certificates"]
    assert next(each["state"] for each in states if each["serial"] == serial) == "valid"


def test_an_id_that_is_none_is_not_found(office: Run) -> None:
    for key in ("../pki", "x" * 65, "0" * 32):
        assert office("alice", "show", key).code == 11


# rosters


def test_the_next_roster_is_drafted_from_the_one_in_force(office: Run, ca: Path, tmp_path: Path) -> None:
    file = tmp_path / "roster-2.json"
    made = office("olga", "roster", "edit", "--ca", ca, "--out", file, "--json").json
    assert made["version"] == 2
    office("olga", "roster", "edit", "--ca", ca, "--out", file).refused(12, "exists")
    office("olga", "roster", "sign", file, answer="no")
    assert "signed by" not in office("olga", "roster", "show", file).out
    (ca / "policy.md").write_text("something else")
    office("olga", "roster", "sign", file, "--ca", ca, answer="sign").refused(4, "ROSTER-PIN")
    assert office("olga", "roster", "sign", file, answer="sign").code == 0
    office("olga", "roster", "sign", file, answer="sign").refused(12, "already carries")


def test_who_signs_a_roster_is_shown_a_key_that_was_put_in_the_place_of_another(
    office: Run, world: World, ca: Path, tmp_path: Path
) -> None:
    """A thief with one officer's key drafts; the other officer reads before signing."""
    draft = ca / "roster.toml"
    draft.write_text(draft.read_text().replace(world.people["bob"].key, world.people["stranger"].key))
    file = tmp_path / "roster-2.json"
    assert office("olga", "roster", "edit", "--ca", ca, "--out", file).code == 0
    looked = office("omar", "roster", "sign", file, answer="no")
    fingerprints = [parse_public_key(world.people[name].key).fingerprint for name in ("bob", "stranger")]
    was, is_ = (f"ssh-ed25519 {each}" for each in fingerprints)
    assert "what it changes of roster 1" in looked.err
    assert f"change  person bob: keys was {was}, is {is_}\n" in looked.err
    assert looked.err.count(": keys was ") == 1


def test_what_is_signed_is_what_was_shown(
    office: Run, ca: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file lies where others write: it becomes another between the look and the signature."""
    files = [tmp_path / "roster-2.json", tmp_path / "another.json"]
    for file in files:
        assert office("olga", "roster", "edit", "--ca", ca, "--out", file).code == 0

    def swap(*_: object) -> None:
        shutil.copyfile(files[1], files[0])

    monkeypatch.setattr("sealwright.cli.team.rosters.ask_exactly", swap)
    office("omar", "roster", "sign", files[0]).refused(12, "was changed while you looked")
    assert "signatures" not in files[0].read_text()


def test_the_draft_that_comes_with_the_checkout_takes_keys_from_files(
    run: Run, world: World, ca: Path, tmp_path: Path
) -> None:
    shutil.copyfile(CHECKOUT / "ca/roster.toml", ca / "roster.toml")
    keys = tmp_path / "keys.json"
    authority = world.roster()["authority"]
    keys.write_text(json.dumps({name: {"spki": authority[f"{name}_key"]} for name in ("ledger", "ocsp")}))
    records = ("--anchor", world.folder / "anchor.json", "--keys", keys, "--issuing", world.folder / "issuing.pem")
    edit = ("roster", "edit", "--ca", ca, *records, "--person", "olga", "--out", tmp_path / "roster.json")
    run("olga", *edit).refused(11, r"olga\.pub")
    (tmp_path / "people").mkdir()
    for name in ("olga", "omar", "odile", "alice", "bob"):
        (tmp_path / f"people/{name}.pub").write_text(world.people[name].key + " a comment\n")
    assert run("olga", *edit).code == 0
    shown = run("olga", "roster", "show", tmp_path / "roster.json")
    assert "nothing of it is verified" in shown.out
    assert "bob: roles approver; teams payments" in shown.out


def test_a_draft_that_cannot_be_is_refused_by_its_field(office: Run, ca: Path, tmp_path: Path) -> None:
    draft = (ca / "roster.toml").read_text()
    cases = (
        (draft.replace("threshold = 2", "threshold = 1"), 4, "ROSTER-THRESHOLD"),
        (draft.replace("threshold = 2", ""), 3, "threshold"),
        (draft + "\nextra = 1\n", 3, "extra"),
        (draft.replace('"requester"', '"king"', 1), 3, "roles"),
        ("[", 3, "not TOML"),
    )
    for text, code, said in cases:
        (ca / "roster.toml").write_text(text)
        result = office("olga", "roster", "edit", "--ca", ca, "--out", tmp_path / "x.json")
        assert (result.code, said in result.err) == (code, True), (said, result.err)
        assert not (tmp_path / "x.json").exists()


def test_an_old_roster_is_refused(office: Run, world: World, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_bytes(world.signed(world.roster(), "olga", "omar").to_bytes())
    office("olga", "roster", "publish", file).refused(4, "ROSTER-VERSION")


def test_a_client_that_saw_a_newer_roster_refuses_an_older_one(
    office: Run, world: World, homes: Path, tmp_path: Path
) -> None:
    from sealwright.client.trust import keep_rosters, load_identity, verify_chain

    office("alice", "roster", "show")
    home = tmp_path / "home"
    shutil.copytree(homes / "alice", home)
    chain = [
        world.signed(world.roster(version=version), "olga", "omar") for version in (1, 2)
    ]  # the officers' second roster, which this registry does not show (any more)
    identity = load_identity(home, world.pki)
    keep_rosters(home, verify_chain((), chain, identity.anchor))
    office("alice", "roster", "show", home=home).refused(8, "has already seen 2")


# the command itself


def test_the_client_needs_nothing_of_the_servers() -> None:
    servers = ["alembic", "fastapi", "granian", "httptools", "lmdb", "sqlmodel", "sqlalchemy", "starlette", "uvloop"]
    program = (
        f"import sys, pkgutil, importlib; sys.modules.update(dict.fromkeys({servers!r}));"
        "import sealwright.client as room, sealwright.cli.team;"
        "[importlib.import_module('sealwright.client.' + each.name) for each in pkgutil.iter_modules(room.__path__)]"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_help_and_version(run: Run) -> None:
    shown = run("alice", "--help")
    assert shown.code == 0
    assert "Exit codes" in shown.out
    assert run("alice", "--version").out.startswith("sealwright ")
    assert run("alice", "nothing").code == 2
    for command in ("init", "request", "renew", "approve", "deny", "withdraw", "fetch", "revoke"):
        assert "Example" in run("alice", command, "--help").out


# last, because they put another roster in force


def test_officers_sign_the_roster_that_waits_at_the_registry(
    office: Run, ca: Path, tmp_path: Path, rostered: dict[str, int]
) -> None:
    office("omar", "roster", "sign", "--from-server", answer="sign").refused(11, "no roster waits")
    office("omar", "roster", "sign").refused(3, "which roster")
    file = tmp_path / "next.json"
    made = office("olga", "roster", "edit", "--ca", ca, "--out", file, "--json").json
    office("olga", "roster", "sign", file, "--yes", made["sha256"])
    office("omar", "roster", "sign", file, "--from-server").refused(3, "takes neither FILE")
    assert "waits" in office("olga", "roster", "publish", file).out
    policy = ca / "policy.md"
    before = policy.read_bytes()
    policy.write_bytes(before + b"\n")
    office("omar", "roster", "sign", "--from-server", "--ca", ca, answer="sign").refused(4, "ROSTER-PIN")
    policy.write_bytes(before)
    shown = office("omar", "roster", "sign", "--from-server", "--ca", ca, answer="sign")
    assert shown.out.strip() == f"roster {made['version']} is in force", shown.err
    assert re.search(r"signed by +olga", shown.err)
    rostered["version"] = made["version"]


def test_of_several_rosters_that_wait_one_has_to_be_named(
    office: Run, ca: Path, tmp_path: Path, rostered: dict[str, int]
) -> None:
    digests = []
    for name in ("one", "two"):
        file = tmp_path / f"{name}.json"
        digests.append(office("olga", "roster", "edit", "--ca", ca, "--out", file, "--json").json["sha256"])
        office("olga", "roster", "sign", file, "--yes", digests[-1])
        office("olga", "roster", "publish", file)
    office("omar", "roster", "sign", "--from-server", answer="sign").refused(3, "2 rosters wait")
    chosen = ("--roster", digests[1][:12], "--yes", digests[1])
    assert office("omar", "roster", "sign", "--from-server", *chosen, "--json").json["in_force"] is True
    rostered["version"] += 1
