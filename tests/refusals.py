"""A refusal as a person meets it, and that it left everything as it was: for the tests of the whole flow."""

import json
import os
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec

from rehearsal import Rehearsal
from sealwright.channel import SignerChannel
from sealwright.pki.profiles import load_profile
from sealwright.pki.requests import build_csr
from sealwright.pki.settings import load_settings
from sealwright.pki.signatures import SignatureScheme
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.ssh_keygen import sign_message

Done = subprocess.CompletedProcess[str]

WHAT = (
    "request", "--profile", "code-signing", "--team", "payments", "--project", "terminal", "--key-location", "token",
)  # fmt: skip
P256 = SignatureScheme("ecdsa-sha256")


def refused(done: Done, code: int, *words: str) -> None:
    """One error with its hint, the documented code, and no trace."""
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert sum(line.startswith("error: ") and len(line) > 12 for line in lines) == 1, done.stderr
    assert sum(line.startswith("hint: ") and len(line) > 8 for line in lines) == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "Error:" not in done.stderr  # the name of a class tells a person nothing
    for word in words:
        assert word in done.stderr, done.stderr


def at_once(running: Rehearsal, commands: Sequence[Sequence[str | Path]], person: str = "alice") -> list[Done]:
    """Commands that have nothing to do with each other."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda words: running.team(person, *map(str, words), check=False), commands))


def daemon(rehearsal: Rehearsal, *words: str | Path) -> Done:
    return program(rehearsal, "sealwright.cli.daemon", *words)


def program(rehearsal: Rehearsal, module: str, *words: str | Path) -> Done:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, words)],
        env=rehearsal.environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )


def kept(running: Rehearsal) -> dict[str, Any]:
    """All that a refusal must leave as it was: the registry's rows, the ledger, and the keys on the tokens."""
    with closing(sqlite3.connect(running.pki / "registry.db", timeout=20)) as connection:
        rows = {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()  # noqa: S608  # names of ours
            for table in ("requests", "decisions", "certificates", "revocations", "rosters")
        }
    said = SignerChannel(running.pki / "signer.sock").call("status")
    ledger = {name: said[name] for name in ("ledger_size", "issued", "revoked", "roster_version")}
    objects = sorted(str(path) for path in (running.folder / "tokens").rglob("*.object"))
    return {**rows, **ledger, "objects": objects}


@contextmanager
def nothing_changes(running: Rehearsal, *, refusals: int = 0) -> Iterator[None]:
    """``refusals`` are those that the signer itself makes: it writes them into its ledger."""
    before = kept(running)
    yield
    after = kept(running)
    assert after.pop("ledger_size") == before.pop("ledger_size") + refusals
    assert after == before


def csr(rehearsal: Rehearsal, key: Any = None, scheme: SignatureScheme = P256, project: str = "terminal") -> bytes:
    ca = rehearsal.pki / "ca"
    settings = load_settings((ca / "pki.toml").read_bytes(), source="pki.toml")
    profile = load_profile((ca / "profiles/code-signing.toml").read_bytes(), source="code-signing.toml")
    return build_csr(
        key or ec.generate_private_key(ec.SECP256R1()),
        profile.subject(settings, "payments", project, rehearsal=True),
        profile.san_uri(settings, "payments", project),
        scheme,
    )


def decision(
    settled: Rehearsal, digest: str, person: str, *, key: str = "", namespace: str = "decision@sealwright.v1",
    age: timedelta = timedelta(0), **changes: Any,
) -> SignedStatement:  # fmt: skip
    """An approval as a program of one's own would make it, signed with the key of ``key``."""
    issued = datetime.now(UTC) - age
    statement = {
        "kind": "decision",
        "pki": parse_signed((settled.folder / "work/roster-1.json").read_bytes()).statement["pki"],
        "id": os.urandom(16).hex(),
        "person": person,
        "issued_at": f"{issued:%Y-%m-%dT%H:%M:%SZ}",
        "expires_at": f"{issued + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}",
        "request_sha256": digest,
        "verdict": "approve",
        "comment": "",
        **changes,
    }
    armored = sign_message(settled.folder / "people" / (key or person), namespace, rfc8785.dumps(statement))
    return SignedStatement(statement=statement, signatures=(armored,))


def post(url: str, body: bytes, media_type: str = "application/json") -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": media_type})  # noqa: S310  # http, ours
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as answer:
            return int(answer.status), str(answer.headers["Content-Type"]), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, str(error.headers["Content-Type"]), error.read()


def problem(answer: tuple[int, str, bytes], status: int, *, rule: str = "") -> str:
    """The detail of an RFC 9457 document that has all a person needs."""
    code, media_type, body = answer
    said = json.loads(body)
    assert (code, media_type, said["status"], said.get("rule", "")) == (
        status,
        "application/problem+json",
        status,
        rule,
    )
    assert said["type"].startswith("urn:sealwright:error:")
    assert said["title"]
    assert said["hint"]
    assert b"Traceback" not in body
    return str(said["detail"])
