"""The adversary owns the registry process and can write every row of its database.

Whatever the registry believes, it can only send calls to the signer: here it sends every lie there is, with the real
statements of real people at hand. Each is refused by a rule, the rule is named in the answer, and the refusal is in
the ledger. That the database itself was edited, under a running registry, is in ``tests/flow``.
"""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from adversary import good, order, refused
from sealwright.channel import SignerCall
from sealwright.errors import AccessDenied, Conflict, InputError, PolicyViolation
from sealwright.ledger.entries import RefusalEntry, parse_entry
from sealwright.pki.keys import spki_der
from world import World, call, service

Lie = Callable[[World], dict[str, Any]]


def no_approval(world: World) -> dict[str, Any]:
    return order(good(world)[0])


def approval_signed_by_somebody_else(world: World) -> dict[str, Any]:
    request, _ = good(world)
    return order(request, world.signed(world.decision(request, "bob"), "stranger"))


def approval_by_somebody_unknown(world: World) -> dict[str, Any]:
    request, _ = good(world)
    return order(request, world.signed(world.decision(request, "stranger")))


def approval_with_garbled_signature(world: World) -> dict[str, Any]:
    lie = order(*good(world))
    armored = lie["decisions"][0]["signatures"][0]
    middle = len(armored) // 2
    other = "A" if armored[middle] != "A" else "B"
    lie["decisions"][0]["signatures"] = [armored[:middle] + other + armored[middle + 1 :]]
    return lie


def swapped_csr(world: World) -> dict[str, Any]:
    lie = order(*good(world))
    lie["request"]["statement"]["csr"] = base64.b64encode(world.csr()).decode()
    return lie


def swapped_csr_signed_by_the_thief(world: World) -> dict[str, Any]:
    """The request is signed anew by a key of the registry's own; the approval is bob's real one."""
    request, decision = good(world)
    statement = {**request.statement, "csr": base64.b64encode(world.csr()).decode()}
    return order(world.signed(statement, "stranger"), decision)


def swapped_csr_signed_by_the_requester_again(world: World) -> dict[str, Any]:
    """Even alice cannot move bob's approval to another key."""
    request, decision = good(world)
    return order(world.signed({**request.statement, "csr": base64.b64encode(world.csr()).decode()}), decision)


def approval_of_another_request(world: World) -> dict[str, Any]:
    _, decision = good(world)
    return order(world.signed(world.request()), decision)


def approval_by_the_requester(world: World) -> dict[str, Any]:
    request = world.signed(world.request("carol"))
    return order(request, world.signed(world.decision(request, "carol")))


def approval_by_a_requester_of_the_team(world: World) -> dict[str, Any]:
    request = world.signed(world.request("carol"))
    return order(request, world.signed(world.decision(request, "alice")))


def approval_by_another_team(world: World) -> dict[str, Any]:
    request, _ = good(world)
    return order(request, world.signed(world.decision(request, "nina")))


def one_approval_counted_twice(world: World) -> dict[str, Any]:
    release = world.signed(world.request(profile="code-signing-release"))
    decision = world.signed(world.decision(release))
    return order(release, decision, decision)


def two_approvals_of_one_person(world: World) -> dict[str, Any]:
    release = world.signed(world.request(profile="code-signing-release"))
    return order(release, world.signed(world.decision(release)), world.signed(world.decision(release)))


def a_denial_among_the_approvals(world: World) -> dict[str, Any]:
    request, decision = good(world)
    return order(request, decision, world.signed(world.decision(request, "carol", verdict="deny")))


def a_denial_alone(world: World) -> dict[str, Any]:
    request, _ = good(world)
    return order(request, world.signed(world.decision(request, verdict="deny")))


def a_denial_turned_into_an_approval(world: World) -> dict[str, Any]:
    request, _ = good(world)
    lie = order(request, world.signed(world.decision(request, verdict="deny")))
    lie["decisions"][0]["statement"]["verdict"] = "approve"
    return lie


def signed_for_a_login(world: World) -> dict[str, Any]:
    request, _ = good(world)
    return order(request, world.signed(world.decision(request), namespace="login@sealwright.v1"))


def a_request_signed_for_a_login(world: World) -> dict[str, Any]:
    request = world.signed(world.request(), namespace="login@sealwright.v1")
    return order(request, world.signed(world.decision(request)))


def an_old_approval(world: World) -> dict[str, Any]:
    request = world.signed(world.statement("request", "alice", days=20, **_fields(world)))
    lie = order(request, world.signed(world.decision(request)))
    world.clock.pass_(days=2)
    return lie


def an_old_request(world: World) -> dict[str, Any]:
    lie = order(*good(world))
    world.clock.pass_(days=2)
    return lie


def an_approval_made_good_for_longer(world: World) -> dict[str, Any]:
    lie = an_old_approval(world)
    lie["decisions"][0]["statement"]["expires_at"] = "2027-11-23T12:00:00Z"
    return lie


def _fields(world: World) -> dict[str, Any]:
    statement = world.request()
    return {name: statement[name] for name in statement if name not in _COMMON}


_COMMON = {"kind", "pki", "id", "person", "issued_at", "expires_at"}


def another_profile(world: World) -> dict[str, Any]:
    """Two approvals are wanted for a release; the registry says it was an ordinary one."""
    release = world.signed(world.request(profile="code-signing-release"))
    lie = order(release, world.signed(world.decision(release)))
    profile = world.profile("code-signing")
    lie["request"]["statement"] |= {"profile": profile.name, "profile_sha256": profile.sha256}
    return lie


def one_approval_where_two_are_wanted(world: World) -> dict[str, Any]:
    release = world.signed(world.request(profile="code-signing-release"))
    return order(release, world.signed(world.decision(release)))


def another_team(world: World) -> dict[str, Any]:
    request = world.signed(world.request("alice", team="games", project="chess"))
    return order(request, world.signed(world.decision(request, "nina")))


def another_teams_project(world: World) -> dict[str, Any]:
    request = world.signed(world.request("alice", project="chess"))
    return order(request, world.signed(world.decision(request)))


def a_csr_that_names_another_teams_project(world: World) -> dict[str, Any]:
    csr = base64.b64encode(world.csr("games", "chess")).decode()
    request = world.signed(world.request("alice", csr=csr))
    return order(request, world.signed(world.decision(request)))


def another_pki(world: World) -> dict[str, Any]:
    request = world.signed({**world.request(), "pki": "0" * 64})
    return order(request, world.signed(world.decision(request)))


def an_issuing_profile(world: World) -> dict[str, Any]:
    """A sub-CA for everybody."""
    profile = world.profile("issuing-ca")
    request = world.signed(world.request(profile="issuing-ca", profile_sha256=profile.sha256))
    return order(request, world.signed(world.decision(request)))


def an_old_profile(world: World) -> dict[str, Any]:
    request = world.signed(world.request(profile_sha256="0" * 64))
    return order(request, world.signed(world.decision(request)))


LIES: tuple[tuple[Lie, str], ...] = (
    (no_approval, "ORDER-QUORUM"),
    (approval_signed_by_somebody_else, "STMT-SIGNER"),
    (approval_by_somebody_unknown, "DEC-PERSON"),
    (approval_with_garbled_signature, "STMT-SIGNATURE"),
    (swapped_csr, "STMT-SIGNATURE"),
    (swapped_csr_signed_by_the_thief, "STMT-SIGNER"),
    (swapped_csr_signed_by_the_requester_again, "DEC-REQUEST"),
    (approval_of_another_request, "DEC-REQUEST"),
    (approval_by_the_requester, "ORDER-SELF"),
    (approval_by_a_requester_of_the_team, "DEC-ROLE"),
    (approval_by_another_team, "DEC-TEAM"),
    (one_approval_counted_twice, "ORDER-SAME-PERSON"),
    (two_approvals_of_one_person, "ORDER-SAME-PERSON"),
    (a_denial_among_the_approvals, "ORDER-DENIED"),
    (a_denial_alone, "ORDER-DENIED"),
    (a_denial_turned_into_an_approval, "STMT-SIGNATURE"),
    (signed_for_a_login, "STMT-NAMESPACE"),
    (a_request_signed_for_a_login, "STMT-NAMESPACE"),
    (an_old_approval, "STMT-EXPIRED"),
    (an_old_request, "STMT-EXPIRED"),
    (an_approval_made_good_for_longer, "STMT-LIFETIME"),
    (another_profile, "STMT-SIGNATURE"),
    (one_approval_where_two_are_wanted, "ORDER-QUORUM"),
    (another_team, "REQ-TEAM"),
    (another_teams_project, "REQ-PROJECT"),
    (a_csr_that_names_another_teams_project, "CS-CSR-SUBJECT"),
    (another_pki, "STMT-PKI"),
    (an_issuing_profile, "REQ-PROFILE"),
    (an_old_profile, "REQ-PROFILE-PIN"),
)


@pytest.mark.parametrize(("lie", "rule"), LIES, ids=[lie.__name__ for lie, _ in LIES])
def test_refuses(world: World, lie: Lie, rule: str) -> None:
    assert refused(world, lie(world)) == rule


def test_every_field_of_a_signed_request_is_under_the_signature(world: World) -> None:
    """Stretch a validity, move a date, change a comment: whichever field is touched, nothing is issued."""
    request, decision = good(world)
    for name in request.statement:
        if name == "kind":
            continue
        lie = order(request, decision)
        value = lie["request"]["statement"][name]
        changed = {
            "issued_at": "2026-11-23T11:59:00Z",
            "expires_at": "2026-11-25T11:00:00Z",
            "csr": base64.b64encode(world.csr()).decode(),
            "renews": "abcdef",
            "key_location": "software",
            "person": "carol",
            "profile": "code-signing-release",
            "team": "games",
            "project": "chess",
            "attestation": ["MIIB"],
            "exception": world.signed(world.decision(request)).to_wire(),
            "emergency": True,
        }.get(name, "f" * len(value) if value else "x")
        assert changed != value
        lie["request"]["statement"][name] = changed
        refused(world, lie)


def a_long_subject(builder: x509.CertificateSigningRequestBuilder) -> x509.CertificateSigningRequestBuilder:
    return builder.subject_name(x509.Name([x509.NameAttribute(x509.ObjectIdentifier("1.2.3.4"), "A" * 15_000)]))


def a_long_uri(builder: x509.CertificateSigningRequestBuilder) -> x509.CertificateSigningRequestBuilder:
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"x:{'A' * 15_000}")])
    return builder.subject_name(x509.Name([])).add_extension(names, critical=False)


def a_name_that_writes_to_a_terminal(
    builder: x509.CertificateSigningRequestBuilder,
) -> x509.CertificateSigningRequestBuilder:
    names = x509.SubjectAlternativeName([x509.DNSName("\x1b[2Jgood.example")])
    return builder.subject_name(x509.Name([])).add_extension(names, critical=False)


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (a_long_subject, "CS-CSR-SUBJECT"),
        (a_long_uri, "CS-CSR-SAN"),
        (a_name_that_writes_to_a_terminal, "CS-CSR-SAN"),
    ],
)
def test_a_refusal_is_recorded_whatever_it_has_to_quote(world: World, names: Any, rule: str) -> None:
    """A CSR of 16 KiB is read, and what is wrong with it is said: no name is so long that nobody hears of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = names(x509.CertificateSigningRequestBuilder()).sign(key, SHA256()).public_bytes(Encoding.DER)
    request = world.signed(world.request(csr=base64.b64encode(csr).decode()))
    assert refused(world, order(request, world.signed(world.decision(request)))) == rule
    assert world.authority is not None
    said = parse_entry(world.authority.ledger.read(world.authority.ledger.size - 1))
    assert isinstance(said, RefusalEntry)
    assert said.message.isprintable()


@pytest.mark.parametrize("field", ["validity_days", "not_after", "subject", "approved", "serial"])
def test_a_field_that_no_statement_has_is_no_order(world: World, field: str) -> None:
    lie = order(*good(world))
    lie["request"]["statement"][field] = 3650
    with pytest.raises(InputError, match=field):
        call(world, "issue", order=lie)


def test_a_replayed_order_gets_nothing(world: World) -> None:
    lie = order(*good(world))
    call(world, "issue", order=lie)
    assert refused(world, lie) == "ORDER-USED"


def test_a_replayed_request_with_a_new_approval_gets_nothing(world: World) -> None:
    request, decision = good(world)
    call(world, "issue", order=order(request, decision))
    assert refused(world, order(request, world.signed(world.decision(request)))) == "ORDER-USED"


def test_a_request_signed_twice_is_the_same_request(world: World) -> None:
    """The digest is the statement's: another signature by the same person makes no second request of it."""
    statement = world.request()
    first, second = world.signed(statement), world.signed(statement)
    call(world, "issue", order=order(first, world.signed(world.decision(first))))
    assert refused(world, order(second, world.signed(world.decision(second)))) == "ORDER-USED"


def test_the_registry_cannot_make_itself_a_roster(world: World) -> None:
    thief = world.people["stranger"].key
    person = {"name": "stranger", "keys": [thief], "roles": ["requester", "approver"], "teams": ["payments"]}
    people = [{**person, "groups": []}]
    for signers in (("stranger",), ("olga",)):
        lie = world.signed(world.roster(2, people=people), *signers).to_wire()
        assert refused(world, lie, "publish-roster") in {"ROSTER-QUORUM", "STMT-SIGNER"}


def test_the_registry_cannot_go_back_to_an_old_roster(world: World) -> None:
    assert world.authority is not None
    assert world.authority.roster is not None
    first = world.authority.roster.signed.to_wire()
    call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "odile").to_wire())
    assert refused(world, first, "publish-roster") == "ROSTER-VERSION"


def test_a_roster_for_another_ca_is_refused(world: World) -> None:
    other = base64.b64encode(spki_der(ec.generate_private_key(ec.SECP256R1()).public_key())).decode()
    authority = {**world.roster(2)["authority"], "ocsp_key": other}
    lie = world.signed(world.roster(2, authority=authority), "olga", "omar").to_wire()
    assert refused(world, lie, "publish-roster") == "ROSTER-AUTHORITY"


def test_the_registry_cannot_revoke_by_itself(world: World) -> None:
    call(world, "issue", order=order(*good(world)))
    assert world.authority is not None
    serial = f"{next(iter(world.authority.index.issued_for.values())):x}"
    forged = world.signed(world.revocation(serial), "stranger")
    assert refused(world, {"revocation": forged.to_wire()}, "revoke") == "STMT-SIGNER"
    other_team = world.signed(world.revocation(serial, "mallory"))
    assert refused(world, {"revocation": other_team.to_wire()}, "revoke") == "REV-ALLOWED"
    backdated = world.signed(world.revocation(serial, revocation_date="2026-11-01T00:00:00Z"))
    assert refused(world, {"revocation": backdated.to_wire()}, "revoke") == "REV-BACKDATE"


def test_what_is_revoked_stays_revoked(world: World) -> None:
    call(world, "issue", order=order(*good(world)))
    assert world.authority is not None
    serial = f"{next(iter(world.authority.index.issued_for.values())):x}"
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    again = world.signed(world.revocation(serial, reason="cessationOfOperation")).to_wire()
    assert refused(world, {"revocation": again}, "revoke") == "REV-ALREADY"


def test_only_presign_may_ask_for_a_responder_certificate(world: World) -> None:
    """And it gets one for the installed key: the call carries nothing to choose."""
    answers = service(world)
    answers._config = replace(answers._config, presign_peers=frozenset({12345}))
    with pytest.raises(PolicyViolation) as caught:
        answers.answer(SignerCall("responder-certificate", {}, 0))
    assert caught.value.rule == "STANDING-PEER"
    with pytest.raises(InputError):
        call(world, "responder-certificate", key="AAAA")


def test_nobody_stands_the_active_signer_down_over_its_socket(world: World) -> None:
    with pytest.raises(Conflict, match="active signer"):
        call(world, "stand-down")
    with pytest.raises(AccessDenied):
        service(world).answer(SignerCall("stand-down", {}, 4711))
