"""The adversary owns the running registry's database, with full write access, and the registry believes every row.

The registry itself then sends the lies to the signer, over the real socket; the signer, with the key on its token,
refuses each, and the refusal comes back into the row.
"""

import base64
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec

from rehearsal import Rehearsal
from sealwright.channel import SignerChannel
from sealwright.ledger.entries import RefusalEntry, parse_entry
from sealwright.pki.profiles import load_profile
from sealwright.pki.requests import build_csr
from sealwright.pki.settings import load_settings
from sealwright.pki.signatures import SignatureScheme
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.ssh_keygen import sign_message


@contextmanager
def database(rehearsal: Rehearsal) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(rehearsal.pki / "registry.db", timeout=20)) as connection, connection:
        yield connection


def csr(rehearsal: Rehearsal) -> bytes:
    """For a key of the caller's, with the names that the profile gives."""
    ca = rehearsal.pki / "ca"
    settings = load_settings((ca / "pki.toml").read_bytes(), source="pki.toml")
    profile = load_profile((ca / "profiles/code-signing.toml").read_bytes(), source="code-signing.toml")
    return build_csr(
        ec.generate_private_key(ec.SECP256R1()),
        profile.subject(settings, "payments", "terminal", rehearsal=True),
        profile.san_uri(settings, "payments", "terminal"),
        SignatureScheme("ecdsa-sha256"),
    )


@pytest.fixture
def request_id(running: Rehearsal, tmp_path: Path) -> str:
    """A real request by alice that nobody has approved."""
    path = tmp_path / "request.der"
    path.write_bytes(csr(running))
    names = ("--profile", "code-signing", "--team", "payments", "--project", "terminal")
    said = running.team("alice", "request", *names, "--csr", str(path), "--key-location", "token", "--json")
    return str(json.loads(said.stdout)["id"])


def document(running: Rehearsal, request_id: str) -> SignedStatement:
    with database(running) as connection:
        (text,) = connection.execute("SELECT document FROM requests WHERE id = ?", (request_id,)).fetchone()
    return parse_signed(text.encode())


def approval(running: Rehearsal, request: SignedStatement, key: Path, **changes: Any) -> SignedStatement:
    now = datetime.now(UTC)
    statement = {
        "kind": "decision",
        "pki": request.statement["pki"],
        "id": "ab" * 16,
        "person": "bob",
        "issued_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "expires_at": f"{now + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "request_sha256": request.sha256,
        "verdict": "approve",
        "comment": "",
        **changes,
    }
    signature = sign_message(key, "decision@sealwright.v1", rfc8785.dumps(statement))
    return SignedStatement(statement=statement, signatures=(signature,))


def put_approval(running: Rehearsal, request_id: str, decision: SignedStatement) -> None:
    """The row that the registry would have written at quorum."""
    with database(running) as connection:
        (digest,) = connection.execute("SELECT sha256 FROM requests WHERE id = ?", (request_id,)).fetchone()
        connection.execute(
            "INSERT INTO decisions"
            " (sha256, request_sha256, person, key_identity, verdict, comment, document, received_at)"
            " VALUES (?, ?, 'bob', 'forged', 'approve', '', ?, '2026-11-23 00:00:00')",
            (decision.sha256, digest, decision.to_bytes().decode()),
        )
        connection.execute("UPDATE requests SET state = 'approved' WHERE id = ?", (request_id,))


def rule_that_refused(running: Rehearsal, request_id: str) -> str:
    """The registry asks again every two seconds; what the signer said is in the row, and in the ledger."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with database(running) as connection:
            row = connection.execute("SELECT state, rule FROM requests WHERE id = ?", (request_id,)).fetchone()
        if row[0] in {"refused", "issued"}:
            assert row[0] == "refused", "the signer issued it"
            assert str(row[1]) in ledger_refusals(running)
            return str(row[1])
        time.sleep(0.1)
    pytest.fail(f"the registry did not ask the signer: {row}")


def ledger_refusals(running: Rehearsal) -> set[str]:
    channel, rules, start = SignerChannel(running.pki / "signer.sock"), set(), 0
    while True:
        answer = channel.call("entries", start=start, count=1000)
        for each in answer["entries"]:
            entry = parse_entry(base64.b64decode(each))
            if isinstance(entry, RefusalEntry):
                rules.add(entry.rule)
        start += len(answer["entries"])
        if start == answer["size"]:
            return rules


def test_a_forged_approval_gets_nothing(running: Rehearsal, request_id: str) -> None:
    decision = approval(running, document(running, request_id), running.folder / "people/odile")
    put_approval(running, request_id, decision)
    assert rule_that_refused(running, request_id) == "STMT-SIGNER"


def test_a_swapped_csr_gets_nothing_even_with_a_real_approval(running: Rehearsal, request_id: str) -> None:
    request = document(running, request_id)
    decision = approval(running, request, running.folder / "people/bob")
    lie = SignedStatement(
        statement={**request.statement, "csr": base64.b64encode(csr(running)).decode()}, signatures=request.signatures
    )
    with database(running) as connection:
        connection.execute("UPDATE requests SET document = ? WHERE id = ?", (lie.to_bytes().decode(), request_id))
    put_approval(running, request_id, decision)
    assert rule_that_refused(running, request_id) == "STMT-SIGNATURE"


def test_a_stretched_statement_gets_nothing(running: Rehearsal, request_id: str) -> None:
    request = document(running, request_id)
    decision = approval(running, request, running.folder / "people/bob")
    stretched = decision.statement["issued_at"].replace("2026", "2027")
    lie = SignedStatement(statement={**request.statement, "expires_at": stretched}, signatures=request.signatures)
    with database(running) as connection:
        connection.execute("UPDATE requests SET document = ? WHERE id = ?", (lie.to_bytes().decode(), request_id))
    put_approval(running, request_id, decision)
    assert rule_that_refused(running, request_id) in {"STMT-SIGNATURE", "STMT-LIFETIME"}


def test_a_stretched_validity_in_the_profile_gets_nothing(running: Rehearsal, request_id: str) -> None:
    """Whoever can write the policy files as well: the officers' roster pins their digests."""
    profile = running.pki / "ca/profiles/code-signing.toml"
    before = profile.read_bytes()
    put_approval(running, request_id, approval(running, document(running, request_id), running.folder / "people/bob"))
    profile.write_bytes(before.replace(b"validity_days = 397", b"validity_days = 459"))
    try:
        with pytest.raises(Exception, match="ROSTER-PIN"):
            SignerChannel(running.pki / "signer.sock").call("issue", order=order(running, request_id))
    finally:
        profile.write_bytes(before)


def order(running: Rehearsal, request_id: str) -> dict[str, Any]:
    with database(running) as connection:
        digest, text = connection.execute(
            "SELECT sha256, document FROM requests WHERE id = ?", (request_id,)
        ).fetchone()
        decisions = connection.execute("SELECT document FROM decisions WHERE request_sha256 = ?", (digest,)).fetchall()
    return {"request": json.loads(text), "decisions": [json.loads(each) for (each,) in decisions]}


def test_a_replayed_order_gets_nothing(running: Rehearsal) -> None:
    with database(running) as connection:
        (issued,) = connection.execute("SELECT id FROM requests WHERE state = 'issued' LIMIT 1").fetchone()
    before = SignerChannel(running.pki / "signer.sock").call("status")["issued"]
    with pytest.raises(Exception, match="ORDER-USED"):
        SignerChannel(running.pki / "signer.sock").call("issue", order=order(running, str(issued)))
    assert SignerChannel(running.pki / "signer.sock").call("status")["issued"] == before


def test_a_row_that_says_revoked_is_not_a_revocation_and_one_deleted_undoes_none(running: Rehearsal) -> None:
    """Verifiers hear what the ledger says, whatever the registry's tables hold."""
    with database(running) as connection:
        assert connection.execute("DELETE FROM revocations").rowcount >= 1
    said = running.team("alice", "revoke", running.evidence["serials"]["leaf"], "--reason", "superseded",
                        "--yes", running.evidence["serials"]["leaf"], check=False)  # fmt: skip
    assert said.returncode == 4
    assert "REV-ALREADY" in said.stderr
