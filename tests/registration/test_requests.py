"""What a requester hears at once, with the real signer on its socket."""

import base64
import hashlib
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from office import Office
from sealwright.errors import Conflict, InputError, NotFound, NotReady, PolicyViolation
from sealwright.pki.keys import spki_sha256
from sealwright.pki.requests import build_csr
from sealwright.pki.signatures import SignatureScheme
from sealwright.registration.certificates import find_certificate
from sealwright.registration.decisions import decide
from sealwright.registration.projection import rebuild
from sealwright.registration.receipts import find_receipt
from sealwright.registration.requests import LIST_LIMIT, find_request, list_requests, requests_in, submit_request
from sealwright.registration.revocations import submit_revocation
from sealwright.registration.rosters import publish_roster
from sealwright.statements.revocations import RevocationOrder
from sealwright.store.models import RequestRow, RequestState
from world import NOW, wire_time


def encoded(der: bytes) -> str:
    return base64.b64encode(der).decode()


def refused(office: Office, rule: str, **changes: object) -> None:
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request(**changes))
    assert caught.value.rule == rule
    assert list_requests(office.registry, None) == ()


def test_a_request_is_kept_open_as_it_was_signed(office: Office) -> None:
    request = office.request()
    assert submit_request(office.registry, request).state(NOW) == "open"
    record = find_request(office.registry, str(request.statement["id"]))
    assert record.row.document == request.to_bytes().decode()
    assert find_request(office.registry, request.sha256).row.id == record.row.id


def test_before_the_first_roster_nobody_may_ask(empty: Office) -> None:
    with pytest.raises(NotReady, match="no roster"):
        submit_request(empty.registry, empty.request())


def test_refuses_a_request_that_was_received_already(office: Office) -> None:
    request = office.request()
    submit_request(office.registry, request)
    with pytest.raises(Conflict, match="already"):
        submit_request(office.registry, request)


def test_refuses_the_csr_of_another_teams_project(office: Office) -> None:
    refused(office, "CS-CSR-SUBJECT", csr=encoded(office.world.csr("games", "chess")))


def test_refuses_a_project_that_the_team_does_not_have(office: Office) -> None:
    refused(office, "REQ-PROJECT", project="chess")


def test_refuses_a_team_that_the_requester_is_not_in(office: Office) -> None:
    refused(office, "REQ-TEAM", team="games", project="chess")


def test_refuses_an_rsa_2048_key(office: Office) -> None:
    key = rsa.generate_private_key(65537, 2048)
    profile, settings = (
        office.world.profile("code-signing"),
        office.registry.policy(office.registry.last_roster()).settings,
    )
    subject = profile.subject(settings, "payments", "terminal", rehearsal=True)
    csr = build_csr(key, subject, None, SignatureScheme("rsa-pkcs1-sha256"))
    with pytest.raises(PolicyViolation, match="RSA-2048"):
        submit_request(office.registry, office.request(csr=encoded(csr)))


def test_refuses_a_csr_whose_signature_does_not_verify(office: Office) -> None:
    csr = bytearray(office.world.csr())
    csr[-1] ^= 1
    with pytest.raises(InputError, match="CSR-SIGNATURE"):
        submit_request(office.registry, office.request(csr=encoded(bytes(csr))))


def test_refuses_a_csr_that_is_none(office: Office) -> None:
    with pytest.raises(InputError, match="CSR-FORMAT"):
        submit_request(office.registry, office.request(csr=encoded(b"0 is not a CSR")))


def test_refuses_an_oversized_csr(office: Office) -> None:
    with pytest.raises(InputError, match="CSR-SIZE"):
        submit_request(office.registry, office.request(csr=encoded(b"\x30" + bytes(17_000))))


def test_refuses_a_request_that_expired(office: Office) -> None:
    request = office.request()
    office.world.clock.pass_(days=2)
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, request)
    assert caught.value.rule == "STMT-EXPIRED"


def test_refuses_a_profile_that_was_edited_after_the_roster_pinned_it(office: Office) -> None:
    path = office.world.folder / "ca/profiles/code-signing.toml"
    request = office.request()
    path.write_text(path.read_text().replace("397", "398"))
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, request)
    assert caught.value.rule == "ROSTER-PIN"
    assert "code-signing.toml" in caught.value.message


def test_refuses_a_roster_that_expired(office: Office) -> None:
    office.world.clock.pass_(days=81)
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request())
    assert caught.value.rule == "ROSTER-EXPIRED"


def test_refuses_a_key_that_another_team_has_a_certificate_for(office: Office) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = office.request(csr=encoded(office.world.csr(key=key)))
    submit_request(office.registry, first)
    decide(office.registry, office.decision(first))
    theirs = encoded(office.world.csr("games", "chess", key=key))
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request("mallory", team="games", project="chess", csr=theirs))
    assert caught.value.rule == "CS-KEY-OTHER-TEAM"
    assert spki_sha256(key.public_key())[:16] in caught.value.message


def test_refuses_to_renew_what_was_never_issued(office: Office) -> None:
    with pytest.raises(NotFound):
        submit_request(office.registry, office.request(renews="abcdef"))


def issue(office: Office, **changes: object) -> str:
    first = office.request(**changes)
    submit_request(office.registry, first)
    serial = decide(office.registry, office.decision(first)).row.serial
    assert serial is not None
    return serial


def test_a_renewal_waits_for_its_window(office: Office) -> None:
    old = issue(office)
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request(renews=old))
    assert caught.value.rule == "RENEW-WINDOW"
    office.world.clock.now += timedelta(days=338)
    publish_next(office)
    renewal = office.request(renews=old)
    submit_request(office.registry, renewal)
    assert decide(office.registry, office.decision(renewal)).row.state == "issued"


def publish_next(office: Office) -> None:
    """A roster that is in force in this season."""
    roster = office.world.roster(version=2)
    publish_roster(office.registry, office.sign(roster, "olga", "omar"))


def test_refuses_to_renew_what_is_revoked(office: Office) -> None:
    old = issue(office)
    submit_revocation(office.registry, office.revocation(old))
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request(renews=old))
    assert caught.value.rule == "RENEW-REVOKED"


def test_refuses_to_renew_another_teams_certificate(office: Office) -> None:
    old = issue(office)
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request("mallory", team="games", project="chess", renews=old))
    assert caught.value.rule == "RENEW-UNKNOWN"


def test_there_is_no_receipt_before_approval(office: Office) -> None:
    request = office.request()
    submit_request(office.registry, request)
    with pytest.raises(NotReady, match="is open"):
        find_receipt(office.registry, request.sha256)


def test_a_request_that_nobody_decided_is_listed_as_expired(office: Office) -> None:
    request = office.request()
    submit_request(office.registry, request)
    assert len(list_requests(office.registry, "open")) == 1
    office.world.clock.now += timedelta(days=1)
    assert list_requests(office.registry, "open") == ()
    assert [each.row.sha256 for each in list_requests(office.registry, "expired")] == [request.sha256]


def test_lists_go_on_where_the_page_before_ended_whatever_comes_meanwhile(office: Office) -> None:
    def submit() -> str:
        request = office.request()
        submit_request(office.registry, request)
        return str(request.statement["id"])

    submitted = {submit() for _ in range(5)}  # within one second: received_at alone is no order
    first = [each.row.id for each in list_requests(office.registry, None, limit=2)]
    submit()
    rest = [each.row.id for each in list_requests(office.registry, None, after=first[-1])]
    assert submitted - set(first) <= set(rest)
    assert not set(first) & set(rest)
    with pytest.raises(NotFound):
        list_requests(office.registry, None, after="0" * 32)


def test_an_approved_request_is_not_forgotten_behind_many_newer_ones(office: Office) -> None:
    now = office.world.clock()
    for number in range(LIST_LIMIT + 1):
        digest = f"{number:064x}"
        when = now + timedelta(seconds=number)
        row = RequestRow(
            sha256=digest, id=digest[32:], person="alice", team="payments", project="terminal", profile="p",
            key_location="token", spki_sha256=digest, document="{}", state=RequestState.APPROVED,
            issued_at=when, expires_at=when, received_at=when,
        )  # fmt: skip
        with office.registry.database.writing() as tx:
            tx.add(row)
    waiting = requests_in(office.registry, RequestState.APPROVED)
    assert (waiting[0], len(waiting)) == ("0" * 64, LIST_LIMIT + 1)


def test_a_request_that_is_not_there_is_not_found(office: Office) -> None:
    with pytest.raises(NotFound):
        find_request(office.registry, hashlib.sha256(b"").hexdigest())


@pytest.mark.parametrize("renewal", [False, True])
def test_refuses_a_compromised_key_from_anybody_whatever_the_reason_becomes(office: Office, *, renewal: bool) -> None:
    world, key = office.world, ec.generate_private_key(ec.SECP256R1())
    bad, live = issue(office, csr=base64.b64encode(world.csr(key=key)).decode()), issue(office)
    submit_revocation(office.registry, office.revocation(bad, reason="keyCompromise"))
    world.clock.pass_(minutes=1)
    date = wire_time(world.clock.now - timedelta(minutes=1))
    fields = {"serials": [bad], "reason": "superseded", "revocation_date": date, "comment": ""}
    signed = office.sign(world.statement("correction", "alice", **fields))
    countersigned = office.sign(world.countersignature(signed))
    submit_revocation(office.registry, RevocationOrder(revocation=signed, countersignature=countersigned))
    revoked = find_certificate(office.registry, bad).revocation
    assert revoked is not None
    assert (revoked.reason, revoked.key_blocked) == ("superseded", True)
    asked: dict[str, str] = {"csr": base64.b64encode(world.csr(key=key)).decode()}
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request(**asked, **({"renews": live} if renewal else {})))
    assert caught.value.rule == "CS-KEY-COMPROMISED"
    theirs = base64.b64encode(world.csr("games", "chess", key)).decode()
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request("mallory", team="games", project="chess", csr=theirs))
    assert caught.value.rule == "CS-KEY-COMPROMISED"


def test_a_revoked_serial_is_revoked_whatever_becomes_of_its_request(office: Office) -> None:
    """Sent again, expired, read again from the ledger: the row says what the ledger says."""
    request = office.request()
    submit_request(office.registry, request)
    serial = decide(office.registry, office.decision(request)).row.serial
    assert serial is not None
    submit_revocation(office.registry, office.revocation(serial))
    with pytest.raises(Conflict):
        submit_request(office.registry, request)
    office.world.clock.pass_(days=31)
    record = find_request(office.registry, request.sha256)
    assert (record.row.serial, record.state(office.world.clock.now)) == (serial, "issued")
    with pytest.raises((Conflict, PolicyViolation)):
        decide(office.registry, office.decision(request, "carol"))
    rebuild(office.registry)
    found = find_certificate(office.registry, serial)
    assert found.revocation is not None
