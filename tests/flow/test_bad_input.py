"""What a person meets who gives a wrong thing to a PKI that runs: one error, one hint, one code, nothing half done.

The rooms' own tests go through each rule; here the commands are run as people run them, and the registry and the
responder are spoken to over HTTP where the commands would not send such a thing.
"""

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import rsa

from refusals import WHAT, at_once, csr, daemon, decision, kept, nothing_changes, post, problem, program, refused
from rehearsal import Rehearsal
from sealwright.channel import SignerChannel
from sealwright.errors import PolicyViolation
from sealwright.hsm.module import find_softhsm
from sealwright.installation.config import DaemonConfig
from sealwright.pki.signatures import SignatureScheme
from sealwright.statements.signed import parse_signed
from weak_keys import roca_key

RSA_SHA256 = SignatureScheme("rsa-pkcs1-sha256")


@pytest.fixture
def token(settled: Rehearsal, tmp_path: Path) -> tuple[str, ...]:
    """Where the team's key may be made, but for the PIN."""
    serial = json.loads((settled.folder / "quickstart.json").read_text())["facts"]["team_token"]
    return ("--module", str(find_softhsm()), "--token-serial", serial)


# Tokens.


def pin_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / f"{mode:o}-{len(text)}.pin"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_wrong_pin_is_tried_once_and_makes_no_key(settled: Rehearsal, token: tuple[str, ...], tmp_path: Path) -> None:
    wrong = pin_file(tmp_path, "987654321098")
    with nothing_changes(settled):
        done = settled.team("alice", *WHAT, *token, "--pin-file", str(wrong), check=False)
    refused(done, 13, "refused the PIN", "lock the token")
    assert "987654321098" not in done.stderr


def test_a_token_a_module_or_a_pin_file_that_is_not_there_is_named(
    settled: Rehearsal, token: tuple[str, ...], tmp_path: Path
) -> None:
    pin = settled.folder / "pins/team.pin"
    module, serial = token[:2], token[2:]
    cases: tuple[tuple[tuple[str | Path, ...], int, str], ...] = (
        ((*module, "--token-serial", "0123456789abcdef", "--pin-file", pin), 6, "0123456789abcdef"),
        (("--module", "/nowhere.so", *serial, "--pin-file", pin), 6, "/nowhere.so is not there"),
        (("--module", "/etc/passwd", *serial, "--pin-file", pin), 6, "/etc/passwd"),
        ((*token, "--pin-file", tmp_path / "none"), 3, "No such file"),
        ((*token, "--pin-file", tmp_path), 3, "not a regular file"),
        ((*token, "--pin-file", pin_file(tmp_path, "1234", 0o644)), 3, "mode 0644"),
        ((*token, "--pin-file", pin_file(tmp_path, "")), 3, "0 octets"),
        (token, 3, "no terminal"),
    )
    with nothing_changes(settled):
        said = at_once(settled, [(*WHAT, *place) for place, _, _ in cases])
    for done, (_, code, word) in zip(said, cases, strict=True):
        refused(done, code, word)


def test_a_key_that_is_not_on_the_token_is_not_renewed(settled: Rehearsal, token: tuple[str, ...]) -> None:
    renew = ("renew", settled.evidence["serials"]["renewed"], "--same-key", *token)
    pin = ("--pin-file", settled.folder / "pins/team.pin", "--key-id")
    with nothing_changes(settled):
        absent, no_hex = at_once(settled, [(*renew, *pin, "abcd"), (*renew, *pin, "not hex")])
    refused(absent, 6, "abcd")
    refused(no_hex, 3, "--key-id", "hex")


# CSRs.


def test_a_csr_that_cannot_be_certified_is_refused_before_it_is_sent(settled: Rehearsal, tmp_path: Path) -> None:
    good = csr(settled)
    badly_signed = bytes([*good[:-1], good[-1] ^ 1])
    cases = {
        "malformed": (b"garbage", 3, "CSR-FORMAT"),
        "empty": (b"", 3, "CSR-FORMAT"),
        "cut": (good[:-20], 3, "CSR-FORMAT"),
        "oversized": (good + bytes(17_000), 3, "CSR-SIZE"),
        "huge": (bytes(1 << 20), 3, "longer than"),
        "badly-signed": (badly_signed, 3, "CSR-SIGNATURE"),
        "rsa-2048": (csr(settled, rsa.generate_private_key(65537, 2048), RSA_SHA256), 4, "RSA-2048"),
        "roca": (csr(settled, roca_key(), RSA_SHA256), 4, "CS-KEY-ROCA"),
        "another-project": (csr(settled, project="games"), 4, "CS-CSR-SUBJECT"),
    }
    for name, (data, _, _) in cases.items():
        (tmp_path / name).write_bytes(data)
    with nothing_changes(settled):
        said = at_once(settled, [(*WHAT, "--csr", tmp_path / name) for name in cases])
        none, folder = at_once(settled, [(*WHAT, "--csr", tmp_path / "none"), (*WHAT, "--csr", tmp_path)])
    for done, (_, code, word) in zip(said, cases.values(), strict=True):
        refused(done, code, word)
    refused(none, 11, "is not there")
    refused(folder, 3, "is not a file")


def test_a_project_of_another_team_cannot_be_asked_for(settled: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "csr").write_bytes(csr(settled))
    for what in (("--team", "games", "--project", "terminal"), ("--team", "payments", "--project", "games")):
        with nothing_changes(settled):
            done = settled.team(
                "alice", "request", "--profile", "code-signing", *what, "--csr", str(tmp_path / "csr"), check=False
            )
        refused(done, 11, "payments/terminal")


# Profiles.


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: f"surprise = 1\n{text}", "surprise"),
        (lambda text: "".join(line for line in text.splitlines(True) if "validity_days" not in line), "validity_days"),
    ],
)
def test_a_profile_with_a_strange_or_a_missing_field_goes_no_further(
    settled: Rehearsal, tmp_path: Path, edit: Any, said: str
) -> None:
    """Neither into a roster, nor into a ceremony, nor into an installation."""
    ca = shutil.copytree(settled.folder / "ca", tmp_path / "ca")
    for name in ("code-signing", "root"):
        path = ca / f"profiles/{name}.toml"
        path.write_text(edit(path.read_text()))
    records = settled.folder / "ceremonies"
    officers = ("--input", f"officers.toml={settled.folder / 'work/officers.toml'}")
    folder, installed = tmp_path / "ceremony", tmp_path / "installed"
    with nothing_changes(settled):
        drafted = settled.team("olga", "roster", "edit", "--ca", str(ca), "--out", str(tmp_path / "r"), check=False)
        made = program(settled, "sealwright.cli.ceremony", "new", "root-genesis", folder, "--ca", ca, *officers)
        prepared = program(settled, "sealwright.cli.ceremony", "prepare", folder)
        pins = [f"--{name}-pin={settled.folder}/pins/{name}.pin" for name in ("issuing", "ocsp", "ledger")]
        install = ("install", "--rehearsal", "--ca", ca, "--dir", installed, "--module", find_softhsm(), *pins)
        done = daemon(settled, *install, "--genesis", records / "root-genesis/record", "--record", records)
    assert made.returncode == 0, made.stderr
    for each, file in ((drafted, "code-signing.toml"), (prepared, "root.toml"), (done, "code-signing.toml")):
        refused(each, 3, file, said)
    assert not (tmp_path / "r").exists()
    assert not (folder / "prepared.json").exists()
    assert not installed.exists()


def test_a_profile_that_was_edited_after_the_roster_pinned_it_stops_everybody(
    settled: Rehearsal, tmp_path: Path
) -> None:
    profile = settled.pki / "ca/profiles/code-signing.toml"
    before = profile.read_bytes()
    (tmp_path / "csr").write_bytes(csr(settled))
    ca, draft = shutil.copytree(settled.folder / "ca", tmp_path / "ca"), tmp_path / "roster-1.json"
    shutil.copyfile(settled.folder / "work/roster-1.json", draft)
    edited = before.replace(b"validity_days = 397", b"validity_days = 398")
    (ca / "profiles/code-signing.toml").write_bytes(edited)
    profile.write_bytes(edited)
    try:
        with nothing_changes(settled):
            done = settled.team("alice", *WHAT, "--csr", str(tmp_path / "csr"), check=False)
    finally:
        profile.write_bytes(before)
    refused(done, 4, "profiles/code-signing.toml", "ROSTER-PIN")
    sign = ("roster", "sign", str(draft), "--key", str(settled.folder / "people/odile"), "--ca", str(ca), "--yes")
    signature = settled.team("odile", *sign, parse_signed(draft.read_bytes()).sha256, check=False)
    refused(signature, 4, "profiles/code-signing.toml", "ROSTER-PIN")
    assert draft.read_bytes() == (settled.folder / "work/roster-1.json").read_bytes()


# Approvals.


@pytest.fixture(scope="module")
def asked(settled: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Id and digest of a request by alice that nobody has approved."""
    path = tmp_path_factory.mktemp("asked") / "csr"
    path.write_bytes(csr(settled))
    said = json.loads(settled.team("alice", *WHAT, "--csr", str(path), "--json").stdout)
    return str(said["id"]), str(said["sha256"])


def test_the_requester_cannot_approve_nor_can_somebody_unknown(settled: Rehearsal, asked: tuple[str, str]) -> None:
    shutil.copytree(settled.folder / "people/bob-home", settled.folder / "people/eve-home", dirs_exist_ok=True)
    file = settled.folder / "people/eve-home/config.toml"
    file.write_text(file.read_text().replace('"bob"', '"eve"').replace("people/bob", "people/odile"))
    yes = ("approve", asked[0], "--yes", asked[1])
    with nothing_changes(settled):
        own = settled.team("alice", *yes, check=False)
        unknown = settled.team("eve", *yes, check=False)
        another = settled.team("bob", "approve", asked[0], "--yes", "0" * 64, check=False)
    refused(own, 4, "ORDER-SELF")
    refused(unknown, 5, "eve")
    refused(another, 3, "nothing was signed or sent")


def test_an_approval_that_no_command_would_send_is_a_problem_with_its_rule(
    settled: Rehearsal, config: DaemonConfig, asked: tuple[str, str]
) -> None:
    _, digest = asked
    hour = timedelta(hours=1)
    cases = (
        (decision(settled, digest, "alice"), 403, "ORDER-SELF"),
        (decision(settled, digest, "eve", key="odile"), 403, "DEC-PERSON"),
        (decision(settled, digest, "bob", key="alice"), 403, "STMT-SIGNER"),
        (decision(settled, digest, "bob", key="odile"), 403, "STMT-SIGNER"),
        (decision(settled, digest, "bob", age=2 * hour), 403, "STMT-EXPIRED"),
        (decision(settled, digest, "bob", age=-2 * hour), 403, "STMT-FUTURE"),
        (decision(settled, digest, "bob", namespace="login@sealwright.v1"), 403, "STMT-NAMESPACE"),
        (decision(settled, digest, "bob", pki="0" * 64), 403, "STMT-PKI"),
        (decision(settled, "0" * 64, "bob"), 404, ""),
        (decision(settled, digest, "bob", surprise=1), 400, ""),
        (decision(settled, digest, "bob", verdict="perhaps"), 400, ""),
    )
    with nothing_changes(settled):
        answers = [post(f"{config.registry.url}/v1/decisions", signed.to_bytes()) for signed, _, _ in cases]
    for answer, (_, status, rule) in zip(answers, cases, strict=True):
        problem(answer, status, rule=rule)


def test_one_key_cannot_be_two_people(settled: Rehearsal, tmp_path: Path) -> None:
    ca = shutil.copytree(settled.folder / "ca", tmp_path / "ca")
    text = (ca / "roster.toml").read_text()
    line = (settled.folder / "people/alice.pub").read_text().split()
    carol = f'keys = ["{line[0]} {line[1]}"]\nroles = ["approver"]\nteams = ["payments"]\n'
    (ca / "roster.toml").write_text(f'{text}\n[[people]]\nname = "carol"\n{carol}')
    with nothing_changes(settled):
        done = settled.team("olga", "roster", "edit", "--ca", str(ca), "--out", str(tmp_path / "r"), check=False)
    refused(done, 4, "ROSTER-DUPLICATE-KEY")
    assert not (tmp_path / "r").exists()


def test_a_fetch_before_approval_is_too_early_and_writes_nothing(
    settled: Rehearsal, asked: tuple[str, str], tmp_path: Path
) -> None:
    with nothing_changes(settled):
        done = settled.team("alice", "fetch", asked[0], "--out", str(tmp_path / "out"), check=False)
    refused(done, 10, "open")
    assert not (tmp_path / "out").exists()


def test_an_approval_counts_once_and_for_one_request(
    settled: Rehearsal, config: DaemonConfig, asked: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "csr").write_bytes(csr(settled))
    other = json.loads(settled.team("alice", *WHAT, "--csr", str(tmp_path / "csr"), "--json").stdout)
    url = f"{config.registry.url}/v1/decisions"
    given = decision(settled, other["sha256"], "bob")
    # Not for the request it names, with the request of `asked` beside it: the signer itself is asked.
    with closing(sqlite3.connect(settled.pki / "registry.db", timeout=20)) as connection:
        (text,) = connection.execute("SELECT document FROM requests WHERE id = ?", (asked[0],)).fetchone()
    order = {"request": json.loads(text), "decisions": [given.to_wire()]}
    with nothing_changes(settled, refusals=1), pytest.raises(PolicyViolation, match="DEC-REQUEST"):
        SignerChannel(settled.pki / "signer.sock").call("issue", order=order)
    status, _, body = post(url, given.to_bytes())
    assert (status, json.loads(body)["state"]) == (201, "issued")
    with nothing_changes(settled):
        assert "takes no more decisions" in problem(post(url, given.to_bytes()), 409)
        again = settled.team("bob", "approve", other["id"], "--yes", other["sha256"], check=False)
        still = settled.team("bob", "show", asked[0], "--json")
    refused(again, 12, "takes no more decisions")
    assert json.loads(still.stdout)["state"] == "open"


def test_an_approval_that_the_signer_refuses_is_an_error_too(settled: Rehearsal, tmp_path: Path) -> None:
    """Two requests for one key; after the first certificate its key is reported as compromised."""
    (tmp_path / "csr").write_bytes(csr(settled))
    first, second = (
        json.loads(settled.team("alice", *WHAT, "--csr", str(tmp_path / "csr"), "--json").stdout) for _ in range(2)
    )
    issued = settled.team("bob", "approve", first["id"], "--yes", first["sha256"], "--json")
    serial = json.loads(issued.stdout)["serial"]
    settled.team("alice", "revoke", serial, "--reason", "keyCompromise", "--yes", serial)
    before = kept(settled)
    done = settled.team("bob", "approve", second["id"], "--yes", second["sha256"], check=False)
    refused(done, 4, "the signer refused", "CS-KEY-COMPROMISED")
    assert kept(settled)["issued"] == before["issued"]


# Rosters.


def test_an_old_roster_is_refused_by_the_registry_and_by_a_client_that_saw_a_newer_one(
    settled: Rehearsal, tmp_path: Path
) -> None:
    first, second = settled.folder / "work/roster-1.json", tmp_path / "roster-2.json"
    with nothing_changes(settled):
        old = settled.team("bob", "roster", "publish", str(first), check=False)
        drafted = settled.team("olga", "roster", "edit", "--ca", str(settled.folder / "ca"), "--out", str(second),
                               "--json")  # fmt: skip
        for officer in ("olga", "omar"):
            key = str(settled.folder / "people" / officer)
            settled.team(
                "olga", "roster", "sign", str(second), "--key", key, "--yes", json.loads(drafted.stdout)["sha256"]
            )
        # A client that has verified the second roster, and now meets a registry that shows the first as its newest.
        home = shutil.copytree(settled.folder / "people/bob-home", settled.folder / "people/elder-home")
        chain = [json.loads(path.read_bytes()) for path in (first, second)]
        (home / "rosters.json").write_bytes(rfc8785.dumps(chain))
        shown = settled.team("elder", "roster", "show", check=False)
        officer_only = settled.team("bob", "roster", "edit", "--ca", str(settled.folder / "ca"), "--out",
                                    str(tmp_path / "by-bob.json"), check=False)  # fmt: skip
    refused(old, 4, "ROSTER-VERSION")
    refused(shown, 8, "already seen 2")
    refused(officer_only, 4, "ROSTER-EDITOR")
    assert not (tmp_path / "by-bob.json").exists()


# HTTP.


def test_what_is_no_ocsp_request_gets_an_answer_and_disturbs_nobody(settled: Rehearsal, config: DaemonConfig) -> None:
    url, kind = f"http://{config.validation.listen}/ocsp", "application/ocsp-request"
    malformed = (200, "application/ocsp-response", bytes.fromhex("30030a0101"))
    assert post(url, b"garbage", kind) == malformed
    assert post(url, b"", kind) == malformed
    assert post(url, bytes(1 << 20), kind)[0] == 413
    issuer, leaf = settled.file("issuing.pem"), settled.file("renewed.pem")
    asked = subprocess.run(
        ["openssl", "ocsp", "-issuer", issuer, "-cert", leaf, "-url", url, "-CAfile", settled.file("root.pem"),
         "-verify_other", issuer, "-no_nonce"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "renewed.pem: good" in asked.stdout, asked.stderr


def test_what_is_no_statement_is_a_problem(settled: Rehearsal, config: DaemonConfig) -> None:
    with nothing_changes(settled):
        for path in ("requests", "decisions", "revocations", "roster", "login"):
            url = f"{config.registry.url}/v1/{path}"
            for body, status in (
                (b"garbage", 400),
                (b"", 400),
                (b"[]", 400),
                (b"[" * 5000, 400),
                (bytes(140_000), 413),
            ):
                problem(post(url, body), status)
            problem(post(url, b"{}", "text/plain"), 400)
        problem(post(f"{config.registry.url}/nothing", b"{}"), 404)
        problem(post(f"{config.registry.url}/healthz", b"{}"), 405)
