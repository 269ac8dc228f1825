"""Suspensions at the registry: straight to the signer, read back from the ledger, and heeded at once."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from office import Office
from sealwright.errors import AccessDenied, PolicyViolation
from sealwright.registration.decisions import decide
from sealwright.registration.login import check_token, login, new_challenge
from sealwright.registration.projection import rebuild
from sealwright.registration.requests import find_request, submit_request
from sealwright.registration.rosters import submit_suspension, suspensions
from sealwright.statements.signed import SignedStatement


def suspend(office: Office, name: str) -> None:
    said = submit_suspension(office.registry, office.sign(office.world.suspension(name)))
    assert said == {"suspended": [name], "roster": 1}


def log_in(office: Office, name: str) -> SignedStatement:
    given = new_challenge(office.registry)
    fields = {"server": given.server, "challenge": given.nonce}
    return office.sign(office.world.statement("login", name, days=0.002, **fields))


def test_a_suspended_person_asks_and_decides_nothing_from_that_moment_on(office: Office) -> None:
    request = office.request()
    submit_request(office.registry, request)
    suspend(office, "bob")
    with pytest.raises(PolicyViolation) as caught:
        decide(office.registry, office.decision(request))
    assert caught.value.rule == "SUSPENDED"
    suspended = office.world.suspension("alice")
    submit_suspension(office.registry, office.sign(suspended))
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request())
    assert caught.value.rule == "SUSPENDED"


def test_an_approval_that_waits_counts_no_more_and_another_takes_its_place(office: Office) -> None:
    key = ec.generate_private_key(ec.SECP384R1())
    csr = base64.b64encode(office.world.csr(key=key, profile="code-signing-release")).decode()
    request = office.request(profile="code-signing-release", csr=csr)
    submit_request(office.registry, request)
    decide(office.registry, office.decision(request, "bob"))
    suspend(office, "bob")
    record = decide(office.registry, office.decision(request, "carol"))
    assert record.row.state == "open"
    assert [each.person for each in find_request(office.registry, request.sha256).decisions] == ["carol"]


def test_a_suspended_person_reads_no_more(office: Office) -> None:
    token = login(office.registry, log_in(office, "bob")).token
    assert check_token(office.registry, token) == "bob"
    suspend(office, "bob")
    with pytest.raises(AccessDenied, match="suspended"):
        check_token(office.registry, token)
    with pytest.raises(PolicyViolation) as caught:
        login(office.registry, log_in(office, "bob"))
    assert caught.value.rule == "SUSPENDED"


def test_the_ledger_gives_suspensions_back_to_a_new_database(office: Office) -> None:
    suspend(office, "bob")
    before = suspensions(office.registry)
    rebuild(office.registry)
    assert suspensions(office.registry) == before
    assert before[0]["roster"] == 1
    assert office.registry.last_roster().suspended == ("bob",)


def test_what_a_passer_by_sends_does_not_reach_the_signers_ledger(office: Office) -> None:
    """Each refusal there is an entry for good, and of a flood the true ones are not recorded any more."""
    world = office.world
    assert world.authority is not None
    size = world.authority.ledger.size
    stranger = world.suspension("bob", person="stranger")
    forged = world.suspension("bob")
    for signed in (office.sign(stranger), office.sign(forged, "stranger"), office.sign(forged, namespace="login@x")):
        with pytest.raises(PolicyViolation) as caught:
            submit_suspension(office.registry, signed)
        assert caught.value.rule in {"STMT-SIGNER", "STMT-NAMESPACE"}
    assert world.authority.ledger.size == size
    with pytest.raises(
        PolicyViolation, match="SUSPEND-OFFICER"
    ):  # somebody of the roster: the signer judges, and keeps it
        submit_suspension(office.registry, office.sign(world.suspension("bob", person="alice")))
    assert world.authority.ledger.size == size + 1
