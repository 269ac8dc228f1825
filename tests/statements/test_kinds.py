"""Statements and their envelopes: strict, complete, one spelling."""

from typing import Any

import pytest

from cast import NOW, Cast
from sealwright.errors import InputError
from sealwright.pki.crl import RevocationReason
from sealwright.statements.kinds import (
    STATEMENT_KINDS,
    RequestStatement,
    RevocationReasonText,
    namespace_of,
    new_statement_id,
    parse_statement,
)
from sealwright.statements.signed import SignedStatement, parse_signed

CAST = Cast()
REQUEST = {
    "profile": "code-signing",
    "profile_sha256": "a" * 64,
    "team": "payments",
    "project": "terminal",
    "csr": "MIIB",
    "key_location": "token",
    "attestation": ["MIIB"],
    "exception": {"statement": {}, "signatures": []},
    "renews": None,
    "emergency": True,
    "comment": "for the new terminal",
}
GOOD: dict[str, dict[str, Any]] = {
    "request": CAST.statement("request", "alice", **REQUEST),
    "decision": CAST.statement("decision", "bob", request_sha256="c" * 64, verdict="approve", comment=""),
    "revocation": CAST.statement(
        "revocation", "alice", serials=["1f"], reason="superseded", revocation_date=None, comment=""
    ),
    "correction": CAST.statement(
        "correction", "alice", serials=["1f"], reason="superseded", revocation_date="2026-11-01T00:00:00Z", comment=""
    ),
    "countersignature": CAST.statement("countersignature", "olga", statement_sha256="d" * 64, comment=""),
    "key-revocation": CAST.statement("key-revocation", "stranger", spki_sha256="d" * 64, comment=""),
    "login": CAST.statement("login", "alice", server="https://pki.example", challenge="0123456789abcdef"),
    "suspend": CAST.statement("suspend", "olga", suspended="bob", comment="stolen"),
    "exception": CAST.statement(
        "exception",
        "olga",
        profile="code-signing",
        team="payments",
        project="terminal",
        spki_sha256="d" * 64,
        allows="software",
        comment="",
    ),
    "roster": CAST.roster(),
    "loss": CAST.statement(
        "loss",
        "olga",
        size=12,
        root="a" * 64,
        lost_size=20,
        lost_root="b" * 64,
        crl_number=7,
        revocations=[{"serials": ["1f"], "revocation_date": None, "reason": None, "scope": "p8-3"}],
        keys=["c" * 64],
        more=False,
        comment="",
    ),
}


@pytest.mark.parametrize("kind", STATEMENT_KINDS)
def test_a_statement_reads_as_it_is_written(kind: str) -> None:
    statement = parse_statement(GOOD[kind])
    assert statement.kind == kind
    assert statement.to_wire() == GOOD[kind]
    assert statement.issued_at == NOW


@pytest.mark.parametrize("kind", STATEMENT_KINDS)
def test_refuses_a_statement_with_a_field_missing_or_too_many(kind: str) -> None:
    for name in GOOD[kind]:
        with pytest.raises(InputError):
            parse_statement({field: value for field, value in GOOD[kind].items() if field != name})
    with pytest.raises(InputError, match="extra: Extra inputs"):
        parse_statement({**GOOD[kind], "extra": 1})


@pytest.mark.parametrize("kind", STATEMENT_KINDS)
def test_refuses_a_field_of_another_type(kind: str) -> None:
    for name, value in GOOD[kind].items():
        for wrong in (1.5, True, ["x"], {"x": 1}, 7 if isinstance(value, str) else "x"):
            if isinstance(value, type(wrong)) and (isinstance(value, bool) or not isinstance(wrong, bool)):
                continue
            with pytest.raises(InputError):
                parse_statement({**GOOD[kind], name: wrong})


@pytest.mark.parametrize(
    ("kind", "field", "wrong"),
    [
        ("request", "issued_at", "2026-11-23T12:00:00+00:00"),
        ("request", "issued_at", "2026-11-23 12:00:00Z"),
        ("request", "issued_at", "2026-11-23T12:00:00.5Z"),
        ("request", "issued_at", "2026-11-23T1:00:00Z"),
        ("request", "issued_at", "2026-02-30T12:00:00Z"),
        ("request", "id", "A" * 32),
        ("request", "id", "a" * 31),
        ("request", "pki", "a" * 64 + "\n"),
        ("request", "person", "Alice"),
        ("request", "person", "../alice"),
        ("request", "person", ""),
        ("request", "team", "a" * 64),
        ("request", "csr", "MIIB\n"),
        ("request", "csr", "MII"),
        ("request", "csr", "MIJ="),
        ("request", "key_location", "cloud"),
        ("request", "renews", "0x1f"),
        ("request", "renews", "01"),
        ("request", "comment", "x" * 1001),
        ("request", "comment", "red \x1b[31m text"),
        ("request", "comment", "\u202eetirw"),
        ("decision", "verdict", "perhaps"),
        ("decision", "request_sha256", "C" * 64),
        ("revocation", "reason", "unspecified"),
        ("revocation", "reason", "certificateHold"),
        ("revocation", "reason", "cACompromise"),
        ("revocation", "serials", ["f" * 41]),
        ("revocation", "serials", []),
        ("revocation", "serials", ["1f", "1f"]),
        ("revocation", "serials", [f"{number:x}" for number in range(1, 502)]),
        ("correction", "revocation_date", None),
        ("login", "server", "two words"),
        ("login", "challenge", "short"),
        ("roster", "version", 0),
        ("roster", "threshold", 0),
        ("roster", "pins", {"../../etc/passwd": "a" * 64}),
        ("roster", "pins", {"profiles/../x.toml": "a" * 64}),
    ],
)
def test_refuses_a_field_with_another_spelling(kind: str, field: str, wrong: object) -> None:
    with pytest.raises(InputError, match=field):
        parse_statement({**GOOD[kind], field: wrong})


def test_refuses_an_unknown_kind() -> None:
    with pytest.raises(InputError):
        parse_statement({**GOOD["request"], "kind": "wish"})
    with pytest.raises(InputError, match="no kind of statement"):
        namespace_of("wish")


def test_each_kind_has_a_namespace_of_its_own() -> None:
    assert len({namespace_of(kind) for kind in STATEMENT_KINDS}) == len(STATEMENT_KINDS)
    assert namespace_of("request") == "request@sealwright.v1"


def test_two_statements_that_say_the_same_are_two() -> None:
    assert new_statement_id() != new_statement_id()
    assert new_statement_id(lambda count: b"\xab" * count) == "ab" * 16


def test_people_give_every_reason_but_those_of_a_ca() -> None:
    given = set(RevocationReasonText.__args__)  # type: ignore[attr-defined]
    assert given == {reason.value for reason in RevocationReason} - {"cACompromise"}


def test_a_signed_statement_is_read_back_and_bounded() -> None:
    signed = SignedStatement.of(parse_statement(GOOD["request"]), "signature")
    assert parse_signed(signed.to_bytes()) == signed
    assert SignedStatement.parse(signed.to_wire()) == signed
    assert isinstance(signed.content, RequestStatement)
    assert signed.sha256 == signed.content.sha256
    assert signed.statement_bytes == signed.content.to_bytes()
    for wrong in (
        {"statement": {}, "signatures": []},
        {"statement": {}, "signatures": ["x"] * 33},
        {"statement": {}, "signatures": ["x" * 9000]},
        {"statement": [], "signatures": ["x"]},
        {"statement": {"a": "x" * 70000}, "signatures": ["x"]},
        {"statement": {"a": 1.5e300}, "signatures": [1]},
        {"statement": {}},
        {"statement": {}, "signatures": ["x"], "more": 1},
        "x",
    ):
        with pytest.raises(InputError):
            SignedStatement.parse(wrong)


def test_refuses_what_is_not_json_in_the_first_place() -> None:
    with pytest.raises(InputError, match="differently"):
        parse_statement({**GOOD["roster"], "teams": tuple(GOOD["roster"]["teams"])})


def test_a_number_with_a_fraction_is_no_whole_number_in_disguise() -> None:
    # 1.0 and 1 have the same canonical bytes, hence the same signature.
    with pytest.raises(InputError):
        parse_statement({**GOOD["roster"], "version": 1.0})
