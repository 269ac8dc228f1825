"""One word per person and per key, and what the signer makes of a quorum. The signer is the real one."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from office import Office
from sealwright.channel import SignerChannel
from sealwright.errors import Conflict, NotFound, PolicyViolation, SealwrightError, TokenError, Unavailable
from sealwright.ledger.entries import DenialEntry, parse_entry
from sealwright.ledger.receipt import check_receipt
from sealwright.pki.keys import KeyKind
from sealwright.pki.requests import build_csr
from sealwright.pki.signatures import default_scheme
from sealwright.registration.certificates import find_certificate, list_certificates
from sealwright.registration.decisions import decide, send_order
from sealwright.registration.receipts import find_receipt
from sealwright.registration.requests import find_request, submit_request
from sealwright.registration.upkeep import Retries, keep_up_once
from sealwright.statements.signed import SignedStatement


@pytest.fixture
def request_(office: Office) -> SignedStatement:
    request = office.request()
    submit_request(office.registry, request)
    return request


def refused(office: Office, request: SignedStatement, decision: SignedStatement, rule: str) -> None:
    with pytest.raises(PolicyViolation) as caught:
        decide(office.registry, decision)
    assert caught.value.rule == rule
    assert find_request(office.registry, request.sha256).decisions == []
    assert list_certificates(office.registry) == ()


def test_an_approved_request_is_issued_with_a_receipt(office: Office, request_: SignedStatement) -> None:
    record = decide(office.registry, office.decision(request_))
    assert record.row.state == "issued"
    receipt = find_receipt(office.registry, record.row.id)
    roster = office.registry.last_roster()
    check_receipt(receipt, origin=office.world.installed.anchor.ledger_origin, ledger_key=roster.ledger_key)
    found = find_certificate(office.registry, record.row.serial or "")
    assert found.row.certificate == receipt.certificate_der
    assert (found.row.team, found.row.person) == ("payments", "alice")


def test_refuses_an_approval_by_the_requester(office: Office) -> None:
    request = office.request("carol")
    submit_request(office.registry, request)
    refused(office, request, office.decision(request, "carol"), "ORDER-SELF")


def test_refuses_an_approval_by_somebody_unknown(office: Office, request_: SignedStatement) -> None:
    refused(office, request_, office.decision(request_, "stranger"), "DEC-PERSON")


def test_refuses_an_approval_by_another_teams_approver(office: Office, request_: SignedStatement) -> None:
    refused(office, request_, office.decision(request_, "mallory"), "DEC-TEAM")


def test_refuses_the_requesters_key_under_another_name(office: Office, request_: SignedStatement) -> None:
    decision = office.sign(office.world.decision(request_, "bob"), "alice")
    refused(office, request_, decision, "STMT-SIGNER")


def test_refuses_an_approval_made_for_a_login(office: Office, request_: SignedStatement) -> None:
    decision = office.sign(office.world.decision(request_), namespace="login@sealwright.v1")
    refused(office, request_, decision, "STMT-NAMESPACE")


def test_refuses_an_approval_that_expired(office: Office, request_: SignedStatement) -> None:
    decision = office.sign(office.world.statement("decision", "bob", days=0.01, **_word(request_)))
    office.world.clock.pass_(hours=1)
    refused(office, request_, decision, "STMT-EXPIRED")


def _word(request: SignedStatement) -> dict[str, object]:
    return {"request_sha256": request.sha256, "verdict": "approve", "comment": ""}


def test_refuses_an_approval_of_a_request_that_is_not_there(office: Office, request_: SignedStatement) -> None:
    other = office.request()
    with pytest.raises(NotFound):
        decide(office.registry, office.decision(other))


def test_an_approval_counts_for_its_own_request_only(office: Office, request_: SignedStatement) -> None:
    other = office.request()
    submit_request(office.registry, other)
    decide(office.registry, office.decision(request_))
    assert find_request(office.registry, other.sha256).row.state == "open"


def test_refuses_an_approval_that_is_replayed(office: Office, request_: SignedStatement) -> None:
    decision = office.decision(request_)
    decide(office.registry, decision)
    with pytest.raises(Conflict, match="takes no more decisions"):
        decide(office.registry, decision)


def release_request(office: Office) -> SignedStatement:
    """Wants two approvals."""
    csr = build_csr(ec.generate_private_key(ec.SECP384R1()), x509.Name([]), None, default_scheme(KeyKind.P384))
    return office.request(profile="code-signing-release", csr=base64.b64encode(csr).decode())


def test_two_approvals_are_two_people(office: Office) -> None:
    request = release_request(office)
    submit_request(office.registry, request)
    decision = office.decision(request, "bob")
    assert decide(office.registry, decision).row.state == "open"
    for again in (decision, office.decision(request, "bob")):
        with pytest.raises(Conflict):
            decide(office.registry, again)
    assert decide(office.registry, office.decision(request, "carol")).row.state == "issued"


def test_an_approval_that_ran_out_may_be_given_again(office: Office) -> None:
    request = release_request(office)
    submit_request(office.registry, request)
    decide(office.registry, office.sign(office.world.statement("decision", "bob", days=0.01, **_word(request))))
    office.world.clock.pass_(hours=1)
    assert decide(office.registry, office.decision(request, "bob")).row.state == "open"
    assert decide(office.registry, office.decision(request, "carol")).row.state == "issued"


def test_a_denial_closes_the_request(office: Office, request_: SignedStatement) -> None:
    record = decide(office.registry, office.decision(request_, verdict="deny", comment="not this week"))
    assert record.row.state == "denied"
    assert record.row.reason == "denied by bob: not this week"
    with pytest.raises(Conflict):
        decide(office.registry, office.decision(request_, "carol"))


def denials(office: Office) -> list[DenialEntry]:
    authority = office.world.authority
    assert authority is not None
    return [entry for data in authority.ledger.iterate() if isinstance(entry := parse_entry(data), DenialEntry)]


def test_a_denial_is_in_the_ledger_when_it_is_answered(office: Office, request_: SignedStatement) -> None:
    decision = office.decision(request_, verdict="deny")
    decide(office.registry, decision)
    assert [(entry.request, entry.decision) for entry in denials(office)] == [(request_, decision)]


def test_who_asked_may_take_it_back(office: Office, request_: SignedStatement) -> None:
    record = decide(office.registry, office.decision(request_, "alice", verdict="deny", comment="wrong key"))
    assert (record.row.state, record.row.reason) == ("denied", "withdrawn by alice: wrong key")
    assert len(denials(office)) == 1


def test_who_only_asks_takes_back_nothing_of_others(office: Office) -> None:
    request = office.request("carol")
    submit_request(office.registry, request)
    refused(office, request, office.decision(request, "alice", verdict="deny"), "DEC-ROLE")
    assert find_request(office.registry, request.sha256).row.state == "open"


def test_a_denial_waits_for_a_signer_that_is_away_and_holds_meanwhile(
    office: Office, request_: SignedStatement
) -> None:
    signer, office.registry.signer = office.registry.signer, SignerChannel(office.config.socket.with_name("nobody"))
    record = decide(office.registry, office.decision(request_, verdict="deny"))
    assert record.row.state == "denying"
    assert "does not answer" in (record.row.reason or "")
    with pytest.raises(Conflict, match="takes no more decisions"):
        decide(office.registry, office.decision(request_, "carol"))
    office.registry.signer = signer
    keep_up_once(office.registry, Retries())
    row = find_request(office.registry, request_.sha256).row
    assert (row.state, row.reason) == ("denied", "denied by bob")
    keep_up_once(office.registry, Retries())
    assert len(denials(office)) == 1


def test_an_answer_to_a_denial_that_was_lost_is_found_in_the_ledger(office: Office, request_: SignedStatement) -> None:
    decision = office.decision(request_, verdict="deny")
    office.registry.signer.call("deny", request=request_.to_wire(), decision=decision.to_wire())
    with pytest.raises(Conflict, match="is denied"):
        decide(office.registry, decision)
    assert len(denials(office)) == 1


def test_a_denial_that_the_signer_refuses_leaves_the_request_open(office: Office, request_: SignedStatement) -> None:
    decision = office.sign(
        office.world.statement("decision", "bob", days=0.01, **_word(request_) | {"verdict": "deny"})
    )
    now = office.world.clock()
    office.registry.clock = lambda: now
    office.world.clock.pass_(hours=1)  # to the signer it is too late
    with pytest.raises(PolicyViolation) as caught:
        decide(office.registry, decision)
    assert caught.value.rule == "STMT-EXPIRED"
    record = find_request(office.registry, request_.sha256)
    assert (record.row.state, record.decisions) == ("open", [])
    assert denials(office) == []
    office.registry.clock = office.world.clock
    assert decide(office.registry, office.decision(request_)).row.state == "issued"


def test_what_the_signer_refuses_is_refused_with_its_rule(office: Office, request_: SignedStatement) -> None:
    decision = office.decision(request_)
    now = office.world.clock()
    office.registry.clock = lambda: now
    office.world.clock.now = now + timedelta(days=2)  # to the signer, which judges by its own clock, it is too late
    record = decide(office.registry, decision)
    assert (record.row.state, record.row.rule) == ("refused", "STMT-EXPIRED")
    assert find_request(office.registry, request_.sha256).row.serial is None


def test_a_refusal_that_passes_by_itself_costs_nobody_a_second_signature(
    office: Office, request_: SignedStatement
) -> None:
    decision = office.decision(request_)
    now = office.world.clock()
    office.registry.clock = lambda: now
    office.world.clock.now = now - timedelta(seconds=30)  # the signer's clock went back
    record = decide(office.registry, decision)
    assert (record.row.state, record.row.rule) == ("approved", "CLOCK-BACK")
    office.world.clock.now = now
    keep_up_once(office.registry, Retries())
    assert find_request(office.registry, request_.sha256).row.state == "issued"


def test_while_the_signer_is_away_an_approved_request_waits_for_it(office: Office, request_: SignedStatement) -> None:
    signer, office.registry.signer = office.registry.signer, SignerChannel(office.config.socket.with_name("nobody"))
    record = decide(office.registry, office.decision(request_))
    assert record.row.state == "approved"
    assert "does not answer" in (record.row.reason or "")
    office.registry.signer = signer
    keep_up_once(office.registry, Retries())
    assert find_request(office.registry, request_.sha256).row.state == "issued"


def test_an_answer_of_the_signer_that_was_lost_is_found_in_its_ledger(
    office: Office, request_: SignedStatement
) -> None:
    decision = office.decision(request_)
    order = {"request": request_.to_wire(), "decisions": [decision.to_wire()]}
    receipt = office.registry.signer.call("issue", order=order)["receipt"]
    send_order(office.registry, request_.sha256)
    assert find_receipt(office.registry, request_.sha256).certificate == receipt["certificate"]


def test_a_signer_that_is_away_is_asked_again_sooner_than_one_that_failed() -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)

    def waits(error: SealwrightError, tries: int) -> float:
        retries = Retries()
        for _ in range(tries):
            retries.note("a", error, now)
        return next(each for each in range(4000) if retries.is_due("a", now + timedelta(seconds=each)))

    away, failed = Unavailable("away"), TokenError("the token failed")
    assert [waits(away, tries) for tries in (1, 2, 9)] == [2, 4, 8]
    assert [waits(failed, tries) for tries in (1, 2, 9)] == [60, 120, 3600]


def test_an_order_that_is_with_the_signer_is_not_sent_twice(office: Office, request_: SignedStatement) -> None:
    office.registry.sending.add(request_.sha256)
    assert decide(office.registry, office.decision(request_)).row.state == "approved"
    office.registry.sending.clear()
    keep_up_once(office.registry, Retries())
    assert find_request(office.registry, request_.sha256).row.state == "issued"
