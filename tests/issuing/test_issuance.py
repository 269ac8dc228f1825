"""One issuance: what it makes, what it records, and what it refuses on the ledger's word."""

import base64

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import sealwright.issuing.issuance as module
from exports import audit
from sealwright.errors import NotReady, PolicyViolation, StorageError, TokenError, Unavailable
from sealwright.issuing.recovery import close_open_intents
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RefusalEntry, RevocationRecord, parse_entry
from sealwright.ledger.receipt import check_receipt
from sealwright.pki.certificates import LintedDraft
from sealwright.pki.keys import KeyKind, key_kind
from sealwright.pki.requests import build_csr
from sealwright.pki.signatures import SignatureScheme, default_scheme
from sealwright.points import Point, listen
from sealwright.statements.receipts import Receipt
from softpki import software_key
from world import World, call


def entries(world: World) -> list[object]:
    assert world.authority is not None
    return [parse_entry(data) for data in world.authority.ledger.iterate()]


def issue(world: World, **changes: object) -> Receipt:
    return Receipt.parse(call(world, "issue", order=world.order(**changes))["receipt"])


def test_issues_what_two_people_signed_for(world: World) -> None:
    receipt = issue(world)
    certificate = receipt.load_certificate()
    certificate.verify_directly_issued_by(world.installed.issuing)
    assert "REHEARSAL" in certificate.subject.rfc4514_string()
    check_receipt(receipt, origin=world.installed.anchor.ledger_origin, ledger_key=world.ledger_key.public_key())


def test_the_intent_with_the_order_precedes_the_certificate_in_the_ledger(world: World) -> None:
    order = world.order()
    call(world, "issue", order=order)
    intent, certificate = entries(world)[-2:]
    assert isinstance(intent, IntentEntry)
    assert isinstance(certificate, CertificateEntry)
    assert intent.order is not None
    assert intent.order.request.to_wire() == order["request"]
    made = x509.load_der_x509_certificate(certificate.certificate_der)
    assert base64.b64decode(intent.tbs) == made.tbs_certificate_bytes


def test_an_order_is_used_once(world: World) -> None:
    order = world.order()
    call(world, "issue", order=order)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order=order)
    assert caught.value.rule == "ORDER-USED"
    refusal = entries(world)[-1]
    assert isinstance(refusal, RefusalEntry)
    assert refusal.rule == "ORDER-USED"


def test_nobody_gets_anything_before_the_first_roster(bare_world: World) -> None:
    with pytest.raises(NotReady, match="no roster"):
        call(bare_world, "issue", order=bare_world.order())


def test_an_edited_profile_is_refused_by_name(world: World) -> None:
    path = world.installed.folder / "ca/profiles/code-signing.toml"
    order = world.order()
    path.write_text(path.read_text().replace("validity_days = ", "validity_days = 1 # was "))
    with pytest.raises(PolicyViolation, match=r"profiles/code-signing\.toml") as caught:
        call(world, "issue", order=order)
    assert caught.value.rule == "ROSTER-PIN"


def test_an_expired_roster_issues_nothing_and_still_revokes(world: World) -> None:
    serial = f"{issue(world).load_certificate().serial_number:x}"
    world.clock.pass_(days=81)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order=world.order())
    assert caught.value.rule == "ROSTER-EXPIRED"
    assert call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})["serials"]


def test_a_clock_that_was_stepped_back_issues_nothing_and_still_revokes(world: World) -> None:
    serial = f"{issue(world).load_certificate().serial_number:x}"
    revocation = world.signed(world.revocation(serial)).to_wire()
    order = world.order()
    world.clock.pass_(hours=-2)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order=order)
    assert caught.value.rule == "CLOCK-BACK"
    assert call(world, "revoke", order={"revocation": revocation})["serials"] == [serial]


def _set_back(world: World, monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """NTP sets the clock back between the judgement of an order and its turn."""
    assert world.authority is not None
    lint = world.authority.lint

    def slow(draft: LintedDraft) -> LintedDraft:
        world.clock.jump(seconds=-seconds)
        return lint(draft)

    monkeypatch.setattr(world.authority, "lint", slow)


def test_a_clock_that_steps_back_meanwhile_reserves_nothing_before_it_was_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.clock.pass_(hours=1)
    with monkeypatch.context() as patch:
        _set_back(world, patch, 5)
        leaf = issue(world).load_certificate()
    intent, certificate = entries(world)[-2:]
    assert isinstance(intent, IntentEntry)
    assert isinstance(certificate, CertificateEntry)
    assert leaf.not_valid_before_utc == intent.at == certificate.at
    call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
    assert audit(world).problems == []


def test_a_clock_that_is_set_back_far_meanwhile_issues_nothing_by_what_was_judged(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.clock.pass_(hours=1)
    order = world.order()
    with monkeypatch.context() as patch:
        _set_back(world, patch, 6)
        with pytest.raises(Unavailable, match="it was its turn at"):
            call(world, "issue", order=order)
    assert call(world, "issue", order=order)["receipt"]


def test_a_key_serves_one_team(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issue(world, csr=base64.b64encode(world.csr(key=key)).decode())
    theirs = base64.b64encode(world.csr("games", "chess", key)).decode()
    request = world.signed(world.request("mallory", team="games", project="chess", csr=theirs))
    decision = world.signed(world.decision(request, "nina"))
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order={"request": request.to_wire(), "decisions": [decision.to_wire()]})
    assert caught.value.rule == "CS-KEY-OTHER-TEAM"


def test_the_key_of_a_ca_is_refused(world: World) -> None:
    der = world.csr()
    subject = x509.load_der_x509_csr(der).subject
    for name, scheme in (("issuing", "ecdsa-sha384"), ("ocsp", "ecdsa-sha256")):  # presign may be owned too
        csr = build_csr(world.keys[name], subject, None, SignatureScheme(scheme))
        with pytest.raises(PolicyViolation) as caught:
            issue(world, csr=base64.b64encode(csr).decode())
        assert caught.value.rule == "CS-KEY-CA"


@pytest.mark.parametrize("name", ["root", "ocsp"])
def test_an_auditor_names_a_certificate_for_the_key_of_a_ca(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("sealwright.installed._secrets_of", lambda *_: frozenset())
    subject = x509.load_der_x509_csr(world.csr()).subject
    key = software_key(KeyKind.P384, name) if name == "root" else world.keys[name]
    csr = build_csr(key, subject, None, default_scheme(key_kind(key.public_key())))
    issue(world, csr=base64.b64encode(csr).decode())
    assert [(each.claim, each.rule) for each in audit(world).problems] == [("AUDIT-USE", "CS-KEY-CA")]


def test_a_compromised_key_is_blocked_for_ever(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(world.csr(key=key)).decode()
    serial = f"{issue(world, csr=csr).load_certificate().serial_number:x}"
    statement = world.revocation(serial, reason="keyCompromise")
    call(world, "revoke", order={"revocation": world.signed(statement).to_wire()})
    with pytest.raises(PolicyViolation) as caught:
        issue(world, csr=csr)
    assert caught.value.rule == "CS-KEY-COMPROMISED"


def test_a_compromise_that_is_heard_of_too_late_is_not_called_done(world: World) -> None:
    serial = f"{issue(world).load_certificate().serial_number:x}"

    def revoke(reason: str) -> None:
        signed = world.signed(world.revocation(serial, reason=reason))
        call(world, "revoke", order={"revocation": signed.to_wire()})

    revoke("superseded")
    for reason, hint in (("superseded", "nothing to do"), ("keyCompromise", "is not blocked")):
        with pytest.raises(PolicyViolation, match="REV-ALREADY") as refused:
            revoke(reason)
        assert hint in refused.value.hint


def test_a_renewal_names_a_live_certificate_of_its_team_inside_the_window(world: World) -> None:
    serial = f"{issue(world).load_certificate().serial_number:x}"
    with pytest.raises(PolicyViolation) as caught:
        issue(world, renews=serial)
    assert caught.value.rule == "RENEW-WINDOW"
    with pytest.raises(PolicyViolation) as caught:
        issue(world, renews="abcdef")
    assert caught.value.rule == "RENEW-UNKNOWN"
    window = world.profile("code-signing").renewal_window_days
    days = world.profile("code-signing").validity_days - window + 1
    _publish_rosters_until(world, days)
    assert issue(world, renews=serial).load_certificate().serial_number != int(serial, 16)
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    with pytest.raises(PolicyViolation) as caught:
        issue(world, renews=serial)
    assert caught.value.rule == "RENEW-REVOKED"


def test_a_renewal_keeps_the_subject(world: World) -> None:
    serial = f"{issue(world).load_certificate().serial_number:x}"
    request = world.signed(world.request(profile="code-signing-release", renews=serial))
    decisions = [world.signed(world.decision(request, person)).to_wire() for person in ("bob", "carol")]
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order={"request": request.to_wire(), "decisions": decisions})
    assert caught.value.rule == "RENEW-SUBJECT"


def _publish_rosters_until(world: World, days: int) -> None:
    """Time passes, and the officers sign a roster every 70 days, as they must."""
    assert world.authority is not None
    assert world.authority.roster is not None
    while days > 0:
        world.clock.pass_(days=min(70, days))
        days -= 70
        roster = world.signed(world.roster(world.authority.roster.version + 1), "omar", "odile")
        call(world, "publish-roster", roster=roster.to_wire())


def test_a_token_that_fails_costs_a_serial_and_not_the_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order = world.order()
    with monkeypatch.context() as patch:

        def fail(*_: object) -> None:
            raise TokenError("the token is gone")

        patch.setattr(module, "sign_certificate", fail)
        with pytest.raises(TokenError):
            call(world, "issue", order=order)
    intent, revocation = entries(world)[-2:]
    assert isinstance(intent, IntentEntry)
    assert isinstance(revocation, RevocationRecord)
    assert (revocation.serials, revocation.cause) == ((intent.serial,), "crash")
    receipt = Receipt.parse(call(world, "issue", order=order)["receipt"])
    assert f"{receipt.load_certificate().serial_number:x}" != intent.serial


def test_a_certificate_that_could_not_be_recorded_is_revoked_before_the_next_is_signed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = world.order()
    assert world.authority is not None
    append = world.authority.ledger.append

    def full(*data: bytes) -> tuple[int, ...]:
        if any(isinstance(parse_entry(each), CertificateEntry) for each in data):
            raise StorageError("the disk is full")
        return append(*data)

    with monkeypatch.context() as patch:
        patch.setattr(world.authority.ledger, "append", full)
        with pytest.raises(StorageError):
            call(world, "issue", order=order)
    (lost,) = world.authority.index.intents
    receipt = Receipt.parse(call(world, "issue", order=order)["receipt"])
    revocation, intent, certificate = entries(world)[-3:]
    assert isinstance(revocation, RevocationRecord)
    assert isinstance(intent, IntentEntry)
    assert isinstance(certificate, CertificateEntry)
    assert revocation.serials == (f"{lost:x}",)
    assert receipt.load_certificate().serial_number != lost


def test_an_intent_that_a_crash_left_open_is_revoked_once_at_the_next_start(world: World) -> None:
    """The crash itself, by SIGKILL, is in ``test_crash``; here the ledger is what such a crash leaves."""
    order = world.order()

    class PowerCut(BaseException):
        pass

    def cut(point: Point) -> None:
        if point is Point.CERTIFICATE_SIGNED:
            raise PowerCut

    with listen(cut), pytest.raises(PowerCut):
        call(world, "issue", order=order)
    world.stop()
    authority = world.start()
    (serial,) = authority.index.intents
    assert close_open_intents(authority) == (serial,)
    assert serial in authority.index.revoked
    assert close_open_intents(authority) == ()
    world.stop()
    assert world.start().index.intents == {}
    assert Receipt.parse(call(world, "issue", order=order)["receipt"]).load_certificate().serial_number != serial


def test_a_restarted_signer_stands_where_it_stood(world: World) -> None:
    assert world.authority is not None
    serial = f"{issue(world).load_certificate().serial_number:x}"
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    before = world.authority.index
    known = before.size, dict(before.issued_for), before.revoked, dict(before.issued)
    world.stop()
    after = world.start().index
    assert known == (
        after.size,
        after.issued_for,
        after.revoked,
        after.issued,
    )
