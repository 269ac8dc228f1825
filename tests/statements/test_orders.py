"""Orders: for every rule one order that passes it and one that it refuses, by its id."""

import base64
import dataclasses
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import softpki
from cast import NOW, Cast, pinned_files, ssh_key
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.crl import RevocationReason
from sealwright.pki.keys import KeyKind, PrivateKey, spki_sha256
from sealwright.pki.profiles import load_profiles
from sealwright.pki.requests import build_csr
from sealwright.pki.serials import parse_serial
from sealwright.pki.signatures import SignatureScheme
from sealwright.statements.kinds import namespace_of
from sealwright.statements.orders import (
    IssuanceOrder,
    VerifiedOrder,
    VerifiedRequest,
    verify_decision,
    verify_order,
    verify_request,
)
from sealwright.statements.revocations import (
    RevocationOrder,
    VerifiedRevocation,
    _check_two,
    _Signer,
    verify_revocation,
)
from sealwright.statements.roster import check_roster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_sign import public_half, sign_with_key

CAST = Cast()
ROSTER = CAST.verified_roster()
PROFILES = load_profiles({name: data for name, data in pinned_files().items() if name.startswith("profiles/")})
JUDGE: dict[str, Any] = {
    "roster": ROSTER,
    "profiles": PROFILES,
    "settings": softpki.settings(),
    "rehearsal": True,
    "now": NOW,
}


def csr(
    team: str = "payments", project: str = "terminal", *, profile_name: str = "code-signing", rehearsal: bool = True
) -> bytes:
    profile = PROFILES[profile_name]
    subject = profile.subject(softpki.settings(), team, project, rehearsal=rehearsal)
    san = profile.san_uri(softpki.settings(), team, project)
    return build_csr(softpki.software_key(), subject, san, SignatureScheme.ECDSA_SHA256)


def request(person: str = "alice", **changes: Any) -> dict[str, Any]:
    profile = PROFILES.get(changes.get("profile", "code-signing"), PROFILES["code-signing"])
    signing = profile.name if profile.common_name else "code-signing"
    own = {
        "profile": profile.name,
        "profile_sha256": profile.sha256,
        "team": "payments",
        "project": "terminal",
        "csr": base64.b64encode(csr(profile_name=signing)).decode(),
        "key_location": "token",
        "attestation": [],
        "exception": None,
        "renews": None,
        "emergency": False,
        "comment": "",
    }
    return CAST.statement("request", person) | own | changes


def decision(of: SignedStatement, person: str = "bob", **changes: Any) -> dict[str, Any]:
    own = {"request_sha256": of.sha256, "verdict": "approve", "comment": ""}
    return CAST.statement("decision", person) | own | changes


def revocation(person: str = "alice", **changes: Any) -> dict[str, Any]:
    own = {"serials": ["1f"], "reason": "superseded", "revocation_date": None, "comment": ""}
    return CAST.statement("revocation", person) | own | changes


REQUEST = CAST.signed(request())
VERIFIED = verify_request(REQUEST, **JUDGE)


def refuses_request(rule: str, signed: SignedStatement, **judge: Any) -> None:
    with pytest.raises(PolicyViolation) as caught:
        verify_request(signed, **(JUDGE | judge))
    assert caught.value.rule == rule, caught.value


def refuses_decision(rule: str, signed: SignedStatement, **judge: Any) -> None:
    with pytest.raises(PolicyViolation) as caught:
        verify_decision(signed, **({"roster": ROSTER, "request": VERIFIED, "now": NOW} | judge))
    assert caught.value.rule == rule, caught.value


def refuses_order(rule: str, *decisions: SignedStatement, of: SignedStatement = REQUEST, **judge: Any) -> None:
    with pytest.raises(PolicyViolation) as caught:
        verify_order(IssuanceOrder(request=of, decisions=decisions), **(JUDGE | judge))
    assert caught.value.rule == rule, caught.value


SERIAL = parse_serial("1f")


def judge_revocation(signed: SignedStatement, team: str = "payments", **judge: Any) -> VerifiedRevocation:
    order = RevocationOrder(revocation=signed, countersignature=judge.pop("and_by", None))
    return verify_revocation(order, **({"roster": ROSTER, "teams": {SERIAL: team}, "now": NOW} | judge))


def refuses_revocation(rule: str, signed: SignedStatement, team: str = "payments", **judge: Any) -> None:
    with pytest.raises(PolicyViolation) as caught:
        judge_revocation(signed, team, **judge)
    assert caught.value.rule == rule, caught.value


# A good order


def test_a_request_and_an_approval_by_another_make_an_order() -> None:
    approval = CAST.signed(decision(REQUEST))
    order = IssuanceOrder(request=REQUEST, decisions=(approval,))
    verified = verify_order(IssuanceOrder.parse(order.model_dump(mode="json")), **JUDGE)
    assert [person.name for person in verified.approvers] == ["bob"]
    assert verified.request.requester.name == "alice"
    assert verified.request.key.line == CAST.keys["alice"].line
    assert (verified.request.team, verified.request.project) == ("payments", "terminal")
    assert verified.request.profile == PROFILES["code-signing"]
    assert verified.request.csr.der == csr_of(REQUEST)
    assert verified.request.san_uri == "https://pki.example.org/id/payments/terminal"
    assert "REHEARSAL" in verified.request.subject.rfc4514_string()
    assert verified.request.sha256 == REQUEST.sha256


def csr_of(signed: SignedStatement) -> bytes:
    return base64.b64decode(signed.statement["csr"])


def test_only_the_checks_make_what_is_verified() -> None:
    with pytest.raises(TypeError, match="only its check"):
        VerifiedOrder(request=VERIFIED, decisions=(), renewed=None, proof=object())
    with pytest.raises(TypeError):
        VerifiedRequest(  # type: ignore[call-arg]  # that is the point
            signed=REQUEST, request=VERIFIED.request
        )
    with pytest.raises(TypeError, match="only its check"):
        VerifiedRevocation(
            order=None,  # type: ignore[arg-type]
            statement=None,  # type: ignore[arg-type]
            people=(),
            serials=(),
            reason=RevocationReason.SUPERSEDED,
            revocation_date=None,
            proof=None,
        )
    with pytest.raises(ValueError, match="proof"):
        dataclasses.replace(VERIFIED, san_uri="https://elsewhere.example")


# Every statement


def test_stmt_signature_any_changed_field_of_a_request() -> None:
    other = {
        "id": "0" * 32,
        "issued_at": "2026-11-23T11:59:59Z",
        "expires_at": "2026-11-23T12:04:01Z",
        "key_location": "software",
        "comment": "changed",
        "renews": "1f",
        "csr": base64.b64encode(csr()).decode(),
    }
    for field, value in other.items():
        assert REQUEST.statement[field] != value, field
        changed = SignedStatement(statement={**REQUEST.statement, field: value}, signatures=REQUEST.signatures)
        refuses_request("STMT-SIGNATURE", changed)


def test_stmt_signature_any_changed_field_of_a_decision() -> None:
    denied = CAST.signed(decision(REQUEST, verdict="deny"))
    for field, value in {"verdict": "approve", "comment": "x", "id": "0" * 32}.items():
        changed = SignedStatement(statement={**denied.statement, field: value}, signatures=denied.signatures)
        refuses_decision("STMT-SIGNATURE", changed)


def test_stmt_signer() -> None:
    refuses_request("STMT-SIGNER", CAST.signed(request("alice"), "mallory"))
    refuses_request("STMT-SIGNER", CAST.signed(request("alice"), "stranger"))
    refuses_decision("STMT-SIGNER", CAST.signed(decision(REQUEST, "bob"), "alice"))
    refuses_decision("STMT-SIGNER", CAST.signed(decision(REQUEST, "bob"), "mallory"))
    refuses_revocation("STMT-SIGNER", CAST.signed(revocation("olga"), "mallory"))


def test_stmt_namespace() -> None:
    for space in ("login@sealwright.v1", "decision@sealwright.v1", "file", "request@sealwright.v2"):
        refuses_request("STMT-NAMESPACE", CAST.signed(request(), namespace=space))
    for space in ("login@sealwright.v1", "request@sealwright.v1", "git"):
        refuses_decision("STMT-NAMESPACE", CAST.signed(decision(REQUEST), namespace=space))
    refuses_revocation("STMT-NAMESPACE", CAST.signed(revocation(), namespace="login@sealwright.v1"))


def test_stmt_alone() -> None:
    refuses_request("STMT-ALONE", CAST.signed(request(), "alice", "alice"))
    refuses_decision("STMT-ALONE", CAST.signed(decision(REQUEST), "bob", "carol"))


def test_stmt_kind() -> None:
    refuses_request("STMT-KIND", CAST.signed(decision(REQUEST)))
    refuses_decision("STMT-KIND", REQUEST)
    with pytest.raises(InputError, match="wanted a revocation"):
        judge_revocation(REQUEST)


def test_stmt_pki() -> None:
    refuses_request("STMT-PKI", CAST.signed(request(pki="f" * 64)))
    refuses_decision("STMT-PKI", CAST.signed(decision(REQUEST, pki="f" * 64)))
    refuses_revocation("STMT-PKI", CAST.signed(revocation(pki="f" * 64)))


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("request", timedelta(days=30)), ("decision", timedelta(days=7)), ("revocation", timedelta(days=7))],
)
def test_stmt_times(kind: str, longest: timedelta) -> None:
    def lasting(duration: timedelta, beginning: timedelta = timedelta(0)) -> SignedStatement:
        start = NOW + beginning
        times = {
            "issued_at": f"{start:%Y-%m-%dT%H:%M:%SZ}",
            "expires_at": f"{start + duration:%Y-%m-%dT%H:%M:%SZ}",
        }
        made = {"request": request, "decision": lambda **own: decision(REQUEST, **own), "revocation": revocation}
        return CAST.signed(made[kind](**times))

    def judge(signed: SignedStatement) -> None:
        if kind == "request":
            verify_request(signed, **JUDGE)
        elif kind == "decision":
            verify_decision(signed, roster=ROSTER, request=VERIFIED, now=NOW)
        else:
            judge_revocation(signed)

    second = timedelta(seconds=1)
    for good in (
        lasting(longest),
        lasting(second),
        lasting(timedelta(minutes=4), timedelta(minutes=2)),
        lasting(longest, second - longest),
    ):
        judge(good)
    for rule, bad in (
        ("STMT-LIFETIME", lasting(longest + second)),
        ("STMT-LIFETIME", lasting(timedelta(0))),
        ("STMT-LIFETIME", lasting(-second)),
        ("STMT-FUTURE", lasting(timedelta(minutes=4), timedelta(minutes=2) + second)),
        ("STMT-EXPIRED", lasting(longest, -longest)),
    ):
        with pytest.raises(PolicyViolation) as caught:
            judge(bad)
        assert caught.value.rule == rule


# Requests


def test_req_person() -> None:
    refuses_request("REQ-PERSON", CAST.signed(request("stranger")))
    refuses_request("REQ-PERSON", CAST.signed(request("olga")))


def test_req_role() -> None:
    verify_request(CAST.signed(request("carol")), **JUDGE)
    refuses_request("REQ-ROLE", CAST.signed(request("bob")))
    refuses_request("REQ-ROLE", CAST.signed(request("audrey")))


def test_req_team() -> None:
    refuses_request("REQ-TEAM", CAST.signed(request("mallory")))
    refuses_request("REQ-TEAM", CAST.signed(request("alice", team="games", project="chess")))
    refuses_request("REQ-TEAM", CAST.signed(request("alice", team="nowhere")))


def test_req_project() -> None:
    refuses_request("REQ-PROJECT", CAST.signed(request(project="chess")))
    refuses_request("REQ-PROJECT", CAST.signed(request(project="nothing")))


def test_req_profile() -> None:
    for name in ("nothing", "root", "issuing-ca", "ocsp-responder"):
        refuses_request("REQ-PROFILE", CAST.signed(request(profile=name)))


def test_req_profile_pin() -> None:
    refuses_request("REQ-PROFILE-PIN", CAST.signed(request(profile_sha256="0" * 64)))
    swapped = PROFILES["code-signing-release"].sha256
    refuses_request("REQ-PROFILE-PIN", CAST.signed(request(profile_sha256=swapped)))
    pins = dict(ROSTER.statement.pins)
    pins["profiles/code-signing.toml"] = "0" * 64
    other = CAST.verified_roster(pins=pins)
    refuses_request("REQ-PROFILE-PIN", REQUEST, roster=other)
    del pins["profiles/code-signing.toml"]
    refuses_request("REQ-PROFILE-PIN", REQUEST, roster=CAST.verified_roster(pins=pins))


def test_req_key_location() -> None:
    development = CAST.signed(request(profile="code-signing-development", key_location="software"))
    assert "in software" in str(verify_request(development, **JUDGE).place)
    assert not PROFILES["code-signing-release"].software_keys
    verify_request(CAST.signed(request(profile="code-signing-release")), **JUDGE)
    strict = CAST.signed(request(profile="code-signing-release", key_location="software"))
    refuses_request("REQ-KEY-LOCATION", strict)


def test_a_csr_that_names_another_teams_project_is_refused() -> None:
    for wrong in (csr("games", "chess"), csr("payments", "other"), csr(rehearsal=False)):
        statement = request(csr=base64.b64encode(wrong).decode())
        with pytest.raises(PolicyViolation, match="CS-CSR-"):
            verify_request(CAST.signed(statement), **JUDGE)


def test_a_csr_is_embedded_as_der_and_nothing_else() -> None:
    der = csr()
    pem = b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"
    for wrong in (pem, der + b"\x00", der[:-1], b""):
        with pytest.raises(InputError):
            verify_request(CAST.signed(request(csr=base64.b64encode(wrong).decode())), **JUDGE)


def test_an_expired_roster_lets_nobody_ask_or_approve() -> None:
    late = NOW + timedelta(days=90)
    statement = request(issued_at=f"{late:%Y-%m-%dT%H:%M:%SZ}", expires_at=f"{late + timedelta(1):%Y-%m-%dT%H:%M:%SZ}")
    refuses_request("ROSTER-EXPIRED", CAST.signed(statement), now=late)
    times = {name: statement[name] for name in ("issued_at", "expires_at")}
    refuses_decision("ROSTER-EXPIRED", CAST.signed(decision(REQUEST, **times)), now=late)


# Decisions


def test_dec_person() -> None:
    refuses_decision("DEC-PERSON", CAST.signed(decision(REQUEST, "stranger")))
    refuses_decision("DEC-PERSON", CAST.signed(decision(REQUEST, "omar")))


def test_dec_role() -> None:
    verify_decision(CAST.signed(decision(REQUEST, "carol")), roster=ROSTER, request=VERIFIED, now=NOW)
    refuses_decision("DEC-ROLE", CAST.signed(decision(REQUEST, "audrey")))


def test_dec_team() -> None:
    refuses_decision("DEC-TEAM", CAST.signed(decision(REQUEST, "mallory")))


def test_dec_request() -> None:
    other = CAST.signed(request())
    refuses_decision("DEC-REQUEST", CAST.signed(decision(other)))
    refuses_decision("DEC-REQUEST", CAST.signed(decision(REQUEST, request_sha256="0" * 64)))


def test_a_denial_is_a_decision_too() -> None:
    verified = verify_decision(CAST.signed(decision(REQUEST, verdict="deny")), roster=ROSTER, request=VERIFIED, now=NOW)
    assert not verified.approves


def test_order_self() -> None:
    carols = CAST.signed(request("carol"))
    verified = verify_request(carols, **JUDGE)
    refuses_decision("ORDER-SELF", CAST.signed(decision(carols, "carol")), request=verified)
    refuses_order("ORDER-SELF", CAST.signed(decision(carols, "carol")), of=carols)
    refuses_decision("ORDER-SELF", CAST.signed(decision(REQUEST, "alice")))


def test_a_second_key_of_the_requester_does_not_make_a_second_person() -> None:
    people = ROSTER.statement.to_wire()["people"]
    people[2]["keys"].append(ssh_key(label="carol's other").line)
    roster = CAST.verified_roster(people=people)
    carols = CAST.signed(request("carol"))
    statement = decision(carols, "carol")
    message = SignedStatement(statement=statement, signatures=("",)).statement_bytes
    other = SignedStatement(
        statement=statement, signatures=(ssh_key(label="carol's other").sign(message, "decision@sealwright.v1"),)
    )
    refuses_order("ORDER-SELF", other, of=carols, roster=roster)


def test_the_key_of_an_approver_who_left_counts_no_more() -> None:
    people = [each for each in ROSTER.statement.to_wire()["people"] if each["name"] != "bob"]
    second = CAST.signed(CAST.roster(2, people=people), "olga", "omar")
    roster = check_roster(second, anchor=CAST.anchor, previous=ROSTER, now=NOW)
    refuses_order("DEC-PERSON", CAST.signed(decision(REQUEST)), roster=roster)


# Orders


def test_order_quorum() -> None:
    refuses_order("ORDER-QUORUM")
    release = CAST.signed(request(profile="code-signing-release"))
    assert PROFILES["code-signing-release"].people.everybody.approval.approvals == 2
    refuses_order("ORDER-QUORUM", CAST.signed(decision(release, "bob")), of=release)
    both = (CAST.signed(decision(release, "bob")), CAST.signed(decision(release, "carol")))
    assert len(verify_order(IssuanceOrder(request=release, decisions=both), **JUDGE).approvers) == 2


def test_order_same_person() -> None:
    release = CAST.signed(request(profile="code-signing-release"))
    twice = (CAST.signed(decision(release, "bob")), CAST.signed(decision(release, "bob")))
    refuses_order("ORDER-SAME-PERSON", *twice, of=release)
    once = CAST.signed(decision(release, "bob"))
    refuses_order("ORDER-SAME-PERSON", once, once, of=release)


def test_order_denied() -> None:
    yes, no = CAST.signed(decision(REQUEST, "bob")), CAST.signed(decision(REQUEST, "carol", verdict="deny"))
    refuses_order("ORDER-DENIED", yes, no)
    refuses_order("ORDER-DENIED", no)


def test_an_order_is_read_strictly() -> None:
    good = IssuanceOrder(request=REQUEST, decisions=(CAST.signed(decision(REQUEST)),)).model_dump(mode="json")
    assert IssuanceOrder.parse(good).request == REQUEST
    for wrong in (
        {},
        {"request": good["request"]},
        {**good, "tbs": "AAAA"},
        {**good, "decisions": good["decisions"] * 17},
        {**good, "request": None},
        [],
    ):
        with pytest.raises(InputError):
            IssuanceOrder.parse(wrong)
    with pytest.raises(InputError):
        RevocationOrder.parse({"revocation": {}})


# Revocations


def test_rev_allowed() -> None:
    for person in ("alice", "bob", "carol", "olga", "odile"):
        verified = judge_revocation(CAST.signed(revocation(person)))
        assert verified.people == (person,)
        assert verified.serials == (0x1F,)
        assert verified.reason is RevocationReason.SUPERSEDED
    refuses_revocation("REV-ALLOWED", CAST.signed(revocation("mallory")))
    refuses_revocation("REV-ALLOWED", CAST.signed(revocation("audrey")))
    refuses_revocation("REV-ALLOWED", CAST.signed(revocation("alice")), team="games")


def test_rev_person() -> None:
    refuses_revocation("REV-PERSON", CAST.signed(revocation("stranger")))


PAST = "2026-11-01T00:00:00Z"


def correction(person: str = "alice", **changes: Any) -> dict[str, Any]:
    own = {"serials": ["1f"], "reason": "keyCompromise", "revocation_date": PAST, "comment": ""}
    return CAST.statement("correction", person) | own | changes


def countersigned(of: SignedStatement, person: str = "olga", *signer: str, **changes: Any) -> SignedStatement:
    own = {"statement_sha256": of.sha256, "comment": ""}
    return CAST.signed(CAST.statement("countersignature", person) | own | changes, *signer)


def test_rev_backdate() -> None:
    for person in ("alice", "olga"):
        backdated = CAST.signed(revocation(person, revocation_date=PAST))
        refuses_revocation("REV-BACKDATE", backdated)


def test_two_people_one_of_them_an_officer_backdate_and_correct() -> None:
    for made in (revocation, correction):
        for first, second in (("alice", "olga"), ("olga", "alice"), ("olga", "omar"), ("bob", "odile")):
            signed = CAST.signed(made(first, revocation_date=PAST))
            verified = judge_revocation(signed, and_by=countersigned(signed, second))
            assert verified.people == (first, second)
            assert verified.revocation_date == datetime(2026, 11, 1, tzinfo=UTC)


def test_rev_alone() -> None:
    refuses_revocation("REV-ALONE", CAST.signed(correction("olga")))
    many = {"teams": {SERIAL: "payments", parse_serial("2f"): "payments"}}
    for person in ("alice", "olga"):
        refuses_revocation("REV-ALONE", CAST.signed(revocation(person, serials=["1f", "2f"])), **many)
    signed = CAST.signed(revocation("alice", serials=["1f", "2f"]))
    assert judge_revocation(signed, and_by=countersigned(signed), **many).serials == (0x1F, 0x2F)


def test_each_certificate_of_many_is_of_a_team_of_who_is_no_officer() -> None:
    signed = CAST.signed(revocation("alice", serials=["1f", "2f"]))
    teams = {SERIAL: "payments", parse_serial("2f"): "games"}
    refuses_revocation("REV-ALLOWED", signed, teams=teams, and_by=countersigned(signed))
    by_officer = CAST.signed(revocation("olga", serials=["1f", "2f"]))
    refuses_revocation("REV-ALLOWED", by_officer, teams=teams, and_by=countersigned(by_officer, "alice"))
    assert judge_revocation(by_officer, teams=teams, and_by=countersigned(by_officer, "omar"))


def test_rev_officer() -> None:
    signed = CAST.signed(revocation("alice", revocation_date=PAST))
    refuses_revocation("REV-OFFICER", signed, and_by=countersigned(signed, "bob"))


def test_rev_same_person_and_same_key() -> None:
    for person in ("olga", "alice"):
        signed = CAST.signed(revocation(person, revocation_date=PAST))
        refuses_revocation("REV-SAME-PERSON", signed, and_by=countersigned(signed, person))
    first = _Signer("olga", VERIFIED.key, officer=True)
    with pytest.raises(PolicyViolation) as caught:  # a roster gives a key to one person; it is counted again here
        _check_two(first, dataclasses.replace(first, name="omar"))
    assert caught.value.rule == "REV-SAME-KEY"


def test_rev_countersigned() -> None:
    signed, other = (CAST.signed(revocation("alice", revocation_date=PAST)) for _ in range(2))
    refuses_revocation("REV-COUNTERSIGNED", signed, and_by=countersigned(other))


def test_a_countersignature_is_judged_as_every_statement_is() -> None:
    signed = CAST.signed(revocation("alice", revocation_date=PAST))
    for rule, wrong in {
        "STMT-SIGNER": countersigned(signed, "olga", "alice"),
        "STMT-PKI": countersigned(signed, pki="f" * 64),
        "STMT-EXPIRED": countersigned(signed, issued_at="2026-11-20T00:00:00Z", expires_at="2026-11-21T00:00:00Z"),
        "STMT-KIND": CAST.signed(decision(REQUEST)),
        "REV-PERSON": countersigned(signed, "stranger"),
        "REV-ALLOWED": countersigned(signed, "mallory"),
    }.items():
        refuses_revocation(rule, signed, and_by=wrong)


def test_rev_date() -> None:
    signed = CAST.signed(revocation("alice", revocation_date=f"{NOW + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"))
    refuses_revocation("REV-DATE", signed, and_by=countersigned(signed))
    signed = CAST.signed(revocation("alice", revocation_date=f"{NOW:%Y-%m-%dT%H:%M:%SZ}"))
    assert judge_revocation(signed, and_by=countersigned(signed))


# By the certificate's own key

KEY_KINDS = [KeyKind.RSA_3072, KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519]


def by_key(kind: KeyKind = KeyKind.P256, *, named: PrivateKey | None = None, **changes: Any) -> SignedStatement:
    key = softpki.software_key(kind, "leaf")
    digest = spki_sha256((named or key).public_key())
    statement = CAST.statement("key-revocation", "nobody") | {"spki_sha256": digest, "comment": ""} | changes
    message = SignedStatement(statement=statement, signatures=("",)).statement_bytes
    return SignedStatement(
        statement=statement, signatures=(sign_with_key(key, namespace_of("key-revocation"), message),)
    )


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_whoever_holds_the_key_needs_no_place_on_the_roster(kind: KeyKind) -> None:
    verified = judge_revocation(by_key(kind))
    assert (verified.people, verified.revocation_date) == ((), None)
    assert verified.reason is RevocationReason.KEY_COMPROMISE
    assert verified.order.proven_key == spki_sha256(softpki.software_key(kind, "leaf").public_key())


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_ssh_keygen_verifies_what_such_a_key_signs(kind: KeyKind, tmp_path: Path) -> None:
    signed, key = by_key(kind), softpki.software_key(kind, "leaf")
    (tmp_path / "signature").write_text(signed.signatures[0])
    (tmp_path / "allowed").write_text(f"leaf {public_half(key).line}\n")
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "leaf", "-n", "key-revocation@sealwright.v1"]
    done = subprocess.run(
        [*command, "-s", "signature"], cwd=tmp_path, input=signed.statement_bytes, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_rev_key_proof() -> None:
    other = softpki.software_key(KeyKind.P256, "another leaf")
    refuses_revocation("REV-KEY-PROOF", by_key(named=other))
    twice = by_key()
    refuses_revocation("REV-KEY-PROOF", SignedStatement(statement=twice.statement, signatures=twice.signatures * 2))
    by_person = CAST.statement("key-revocation", "alice") | {"spki_sha256": "d" * 64, "comment": ""}
    refuses_revocation("REV-KEY-PROOF", CAST.signed(by_person))
    changed = SignedStatement(statement=twice.statement | {"comment": "x"}, signatures=twice.signatures)
    refuses_revocation("STMT-SIGNATURE", changed)
    refuses_revocation("STMT-SIGNATURE", SignedStatement(statement=twice.statement, signatures=("x",)))
    refuses_revocation("STMT-PKI", by_key(pki="f" * 64))
    refuses_revocation("REV-COUNTERSIGNED", twice, and_by=countersigned(twice))


def test_removal_does_not_wait_for_a_new_roster() -> None:
    late = NOW + timedelta(days=200)
    times = {"issued_at": f"{late:%Y-%m-%dT%H:%M:%SZ}", "expires_at": f"{late + timedelta(1):%Y-%m-%dT%H:%M:%SZ}"}
    signed = CAST.signed(revocation(**times))
    assert judge_revocation(signed, now=late)
