"""Revocation by order: from an earlier moment, of many, corrected later, by the key itself; and what stays for ever.

The oracle of past moments is pyhanko-certvalidator, which judges a signature's time by the revocation date.
"""

import base64
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

import sealwright.issuing.revocation as module
import verifiers
from exports import audit
from sealwright.channel import MESSAGE_LIMIT
from sealwright.errors import NotFound, PolicyViolation
from sealwright.installed import load_installed
from sealwright.issuing.crl import issue_crl
from sealwright.issuing.index import LedgerIndex
from sealwright.ledger.entries import CorrectionRecord, RevocationRecord, parse_entry
from sealwright.pki.certificates import draft_certificate, lint_draft, sign_certificate
from sealwright.pki.crl import draft_crl, lint_crl, sign_crl
from sealwright.pki.keys import KeyKind, PrivateKey, spki_sha256
from sealwright.pki.serials import SerialNumber, new_serial
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.kinds import SERIALS_LIMIT, namespace_of
from sealwright.statements.receipts import Receipt
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_sign import sign_with_key
from softpki import another_exponent, profiles, soft_pki, software_key
from world import World, call, wire_time


def issue(world: World, **changes: Any) -> x509.Certificate:
    return Receipt.parse(call(world, "issue", order=world.order(**changes))["receipt"]).load_certificate()


def order(world: World, signed: SignedStatement, second: str | None = "olga") -> dict[str, Any]:
    countersignature = world.signed(world.countersignature(signed, second)) if second else None
    return RevocationOrder(revocation=signed, countersignature=countersignature).to_wire()


def revoke(world: World, *certificates: x509.Certificate, second: str | None = "olga", **changes: Any) -> Any:
    serials = [f"{each.serial_number:x}" for each in certificates]
    signed = world.signed(world.revocation(serials[0], **({"serials": serials} | changes)))
    return call(world, "revoke", order=order(world, signed, second))


def correct(world: World, certificate: x509.Certificate, **changes: Any) -> Any:
    return call(world, "revoke", order=order(world, world.signed(correction(world, certificate, **changes))))


def correction(world: World, certificate: x509.Certificate, **changes: Any) -> dict[str, Any]:
    fields = {"serials": [f"{certificate.serial_number:x}"], "reason": "superseded", "comment": ""}
    return world.statement("correction", "alice", **(fields | changes))


def by_key(world: World, key: PrivateKey, **changes: Any) -> dict[str, Any]:
    fields = {"spki_sha256": spki_sha256(key.public_key()), "comment": ""}
    statement = world.statement("key-revocation", "somebody", **(fields | changes))
    message = SignedStatement(statement=statement, signatures=("",)).statement_bytes
    signature = sign_with_key(key, namespace_of("key-revocation"), message)
    return order(world, SignedStatement(statement=statement, signatures=(signature,)), None)


def refused(world: World, wire: dict[str, Any]) -> str:
    with pytest.raises(PolicyViolation) as caught:
        call(world, "revoke", order=wire)
    return caught.value.rule


def on_crl(world: World, certificate: x509.Certificate) -> x509.RevokedCertificate:
    assert world.authority is not None
    crl = x509.load_der_x509_crl(issue_crl(world.authority).read_bytes())
    entry = crl.get_revoked_certificate_by_serial_number(certificate.serial_number)
    assert entry is not None
    return entry


def says(world: World, certificate: x509.Certificate) -> tuple[datetime, datetime, x509.ReasonFlags]:
    entry = on_crl(world, certificate)
    invalidity = entry.extensions.get_extension_for_class(x509.InvalidityDate).value.invalidity_date_utc
    return entry.revocation_date_utc, invalidity, entry.extensions.get_extension_for_class(x509.CRLReason).value.reason


def test_a_backdated_revocation_has_both_dates_equal(world: World) -> None:
    leaf = issue(world)
    world.clock.pass_(days=10)
    then = world.clock.now - timedelta(days=4)
    done = revoke(world, leaf, reason="keyCompromise", revocation_date=wire_time(then))
    assert done == {
        "act": "revocation",
        "serials": [f"{leaf.serial_number:x}"],
        "more": 0,
        "reason": "keyCompromise",
        "revocation_date": wire_time(then),
    }
    assert says(world, leaf) == (then, then, x509.ReasonFlags.key_compromise)


@pytest.fixture
def oracle(world: World, tmp_path: Path) -> Any:
    """What pyhanko-certvalidator says of a signature made at a moment, by the CRLs of now."""
    soft = soft_pki()
    draft = draft_crl(
        issuer=soft.root_record,
        number=1,
        this_update=world.clock.now,
        next_update=world.clock.now + timedelta(days=90),
        entries=(),
        expired_certs_since=None,
    )
    root_crl = sign_crl(lint_crl(draft), soft.root_key).public_bytes(Encoding.DER)
    for name, certificate in (("root", soft.root), ("issuing", soft.issuing)):
        (tmp_path / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))

    def judge(leaf: x509.Certificate, moment: datetime) -> str:
        assert world.authority is not None
        (tmp_path / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
        crls = (root_crl, issue_crl(world.authority).read_bytes())
        return verifiers.certvalidator(tmp_path, "leaf", crls=crls, moment=moment).verdict

    return judge


def test_signatures_die_from_the_very_date_and_a_correction_moves_it(world: World, oracle: Any) -> None:
    leaf, second = issue(world), timedelta(seconds=1)
    world.clock.pass_(days=10)
    now = world.clock.now
    # pyhanko takes a moment within five seconds of the date for the date (verifiers.certvalidator)
    around = timedelta(seconds=10)
    revoke(world, leaf, second=None)
    assert [oracle(leaf, now - around), oracle(leaf, now + second)] == ["good", "revoked"]
    for days in (6, 9, 2):
        world.clock.pass_(hours=1)
        then = now - timedelta(days=days)
        correct(world, leaf, revocation_date=wire_time(then))
        assert [oracle(leaf, then - around), oracle(leaf, then + second)] == ["good", "revoked"]
        assert says(world, leaf)[:2] == (then, then)
        assert oracle(leaf, now + second) == "revoked"


def test_the_ledger_keeps_what_was_said_before_a_correction(world: World) -> None:
    leaf = issue(world)
    began = world.clock.now
    revoke(world, leaf, second=None)
    world.clock.pass_(hours=1)
    correct(world, leaf, reason="keyCompromise", revocation_date=wire_time(began))
    assert world.authority is not None
    *_, first, last = (parse_entry(data) for data in world.authority.ledger.iterate())
    assert isinstance(first, RevocationRecord)
    assert isinstance(last, CorrectionRecord)
    assert (first.serials, first.reason) == (last.serials, "superseded")
    assert (last.reason, last.revocation_date) == ("keyCompromise", began)
    assert last.order.countersignature is not None
    before = world.authority.index
    world.stop()
    after = world.start().index
    assert (after.revoked, after.compromised_keys) == (before.revoked, before.compromised_keys)
    assert after.revocation_orders == before.revocation_orders


def test_a_correction_never_makes_a_certificate_good_that_was_told_revoked(world: World) -> None:
    leaf = issue(world)
    told = world.clock.now
    revoke(world, leaf, second=None)
    world.clock.pass_(days=2)
    late = wire_time(told + timedelta(seconds=1))
    assert refused(world, order(world, world.signed(correction(world, leaf, revocation_date=late)))) == "REV-DATE"
    correct(world, leaf, revocation_date=wire_time(told))
    assert says(world, leaf)[0] == told


def test_only_what_is_revoked_can_be_corrected(world: World) -> None:
    leaf = issue(world)
    signed = world.signed(correction(world, leaf, revocation_date=wire_time(world.clock.now)))
    assert refused(world, order(world, signed)) == "REV-NOT-REVOKED"


def test_no_date_before_the_ca_itself(world: World) -> None:
    leaf = issue(world)
    before = wire_time(world.installed.issuing.not_valid_before_utc - timedelta(seconds=1))
    signed = world.signed(world.revocation(f"{leaf.serial_number:x}", revocation_date=before))
    assert refused(world, order(world, signed)) == "REV-DATE"


def test_an_auditor_names_a_date_before_the_ca_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf, other = issue(world), issue(world)
    began = world.installed.issuing.not_valid_before_utc
    revoke(world, leaf, revocation_date=wire_time(began))
    assert audit(world).problems == []
    monkeypatch.setattr(module, "_check_not_before_ca", lambda *_: None)
    revoke(world, other, revocation_date="1999-01-01T00:00:00Z")
    correct(world, leaf, revocation_date=wire_time(began - timedelta(seconds=1)))
    assert [(each.claim, each.rule) for each in audit(world).problems] == [("AUDIT-REVOCATION", "REV-DATE")] * 2


def test_a_later_certificate_of_the_same_ca_takes_no_past_away(world: World) -> None:
    """A root ceremony renews the issuing CA's certificate (`sealwrightd import`); a theft of before is dated before."""
    leaf = issue(world)
    issued, began = world.clock.now, world.installed.issuing.not_valid_before_utc
    world.stop()
    world.clock.pass_(days=2)
    soft = soft_pki()
    draft = draft_certificate(
        replace(profiles()["issuing-ca"], keys=(KeyKind.P384,)),
        issuer=soft.root_record,
        subject=soft.issuing.subject,
        public_key=soft.issuing_key.public_key(),
        serial=new_serial(),
        not_before=world.clock.now,
    )
    renewed = sign_certificate(lint_draft(draft), soft.root_key)
    before = world.installed.issuing_pem
    (world.installed.folder / "issuing.pem").write_bytes(renewed.public_bytes(Encoding.PEM) + before)
    world.installed = load_installed(world.installed.folder)
    authority = world.start()
    first = parse_entry(authority.ledger.read(0)).at
    assert began < first <= issued < renewed.not_valid_before_utc
    early = world.revocation(f"{leaf.serial_number:x}", revocation_date=wire_time(first - timedelta(seconds=1)))
    assert refused(world, order(world, world.signed(early))) == "REV-DATE"
    revoke(world, leaf, revocation_date=wire_time(issued))
    assert says(world, leaf)[:2] == (issued, issued)
    crl = x509.load_der_x509_crl(issue_crl(authority).read_bytes())
    kept = crl.extensions.get_extension_for_oid(x509.ObjectIdentifier("2.5.29.60")).value
    assert isinstance(kept, x509.UnrecognizedExtension)
    assert f"{first:%Y%m%d%H%M%SZ}".encode() in kept.value  # it goes on to have all that ever expired
    call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
    issue(world)
    world.stop()
    assert audit(world).problems == []
    (world.installed.folder / "issuing.pem").write_bytes(renewed.public_bytes(Encoding.PEM))
    assert {each.claim for each in audit(world).problems} == {"AUDIT-CA", "AUDIT-INTENT"}


def test_several_at_once_are_one_entry_and_those_already_revoked_stay_as_they_are(world: World) -> None:
    first, second, third = issue(world), issue(world), issue(world)
    revoke(world, second, second=None)
    before = says(world, second)
    world.clock.pass_(hours=1)
    began = world.clock.now - timedelta(minutes=30)
    done = revoke(world, first, second, third, reason="privilegeWithdrawn", revocation_date=wire_time(began))
    assert done["serials"] == [f"{each.serial_number:x}" for each in (first, third)]
    assert says(world, second) == before
    for leaf in (first, third):
        assert says(world, leaf) == (began, began, x509.ReasonFlags.privilege_withdrawn)
    with pytest.raises(PolicyViolation) as caught:
        revoke(world, first, second, third)
    assert caught.value.rule == "REV-ALREADY"


def test_one_that_was_never_issued_spoils_the_whole_order(world: World) -> None:
    leaf = issue(world)
    serials = [f"{leaf.serial_number:x}", "abcdef"]
    signed = world.signed(world.revocation("", serials=serials))
    with pytest.raises(NotFound, match="abcdef"):
        call(world, "revoke", order=order(world, signed))
    assert world.authority is not None
    assert world.authority.index.revoked == {}


def test_the_largest_order_fits_its_ledger_entry(world: World) -> None:
    serials = [f"{(1 << 158) + number:x}" for number in range(SERIALS_LIMIT)]
    comment = "\N{GRINNING FACE}" * 1000
    signed = world.signed(world.revocation("", serials=serials, comment=comment))
    second = world.signed(world.countersignature(signed, comment=comment))
    long = "-----BEGIN SSH SIGNATURE-----\n" + "A" * 3000  # an RSA-8192 key's has about this length
    signed, second = (each.model_copy(update={"signatures": (long,)}) for each in (signed, second))
    record = RevocationRecord(
        at=world.clock.now,
        serials=tuple(serials),
        reason=None,
        revocation_date=world.clock.now,
        order=RevocationOrder(revocation=signed, countersignature=second),
        cause="order",
    )
    assert len(record.to_bytes()) < 65_000


# A key with more certificates than an entry holds


@pytest.fixture
def five(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[PrivateKey, list[x509.Certificate]]:
    """A key and its certificates, of which an entry holds two."""
    monkeypatch.setattr(module, "SERIALS_LIMIT", 2)
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(world.csr(key=key)).decode()
    return key, [issue(world, csr=csr) for _ in range(5)]


@pytest.mark.parametrize("holder", [True, False])
def test_a_compromised_key_takes_more_along_than_one_entry_holds(
    world: World, five: tuple[PrivateKey, list[x509.Certificate]], holder: bool
) -> None:
    key, certificates = five
    assert world.authority is not None
    serials = [f"{each.serial_number:x}" for each in certificates]
    if holder:
        done = call(world, "revoke", order=by_key(world, key))
    else:
        done = revoke(world, certificates[0], second=None, reason="keyCompromise")
    assert done["serials"] == serials
    told = [parse_entry(data) for data in world.authority.ledger.iterate(world.authority.ledger.size - 3)]
    assert [each.serials for each in told if isinstance(each, RevocationRecord)] == [
        tuple(serials[:2]),
        tuple(serials[2:4]),
        tuple(serials[4:]),
    ]
    before = world.authority.index
    crl = issue_crl(world.authority).read_bytes()
    assert audit(world, [crl]).problems == []
    world.stop()
    after = world.start().index
    assert (after.revoked, after.compromised_keys) == (before.revoked, before.compromised_keys)
    assert after.revocation_orders == before.revocation_orders
    assert list(after.revoked) == [each.serial_number for each in certificates]


def test_an_auditor_names_an_order_that_was_carried_out_in_part(
    world: World, five: tuple[PrivateKey, list[x509.Certificate]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.authority is not None
    whole = module._revocations
    monkeypatch.setattr(module, "_revocations", lambda *them: whole(*them)[:-1])
    call(world, "revoke", order=by_key(world, five[0]))
    size = world.authority.ledger.size
    assert [(each.claim, each.where) for each in audit(world).problems] == [("AUDIT-REVOCATION", f"entry {size}")]
    issue(world)
    assert [(each.claim, each.where) for each in audit(world).problems] == [("AUDIT-REVOCATION", f"entry {size}")]


def test_an_auditor_names_an_order_that_goes_on_with_nothing(
    world: World, five: tuple[PrivateKey, list[x509.Certificate]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.authority is not None
    whole = module._revocations

    def padded(*them: Any) -> tuple[RevocationRecord, ...]:
        first, *others = whole(*them)
        return (first, first.model_copy(update={"serials": ()}), *others)

    monkeypatch.setattr(module, "_revocations", padded)
    call(world, "revoke", order=by_key(world, five[0]))
    place = world.authority.ledger.size - 3
    assert [(each.claim, each.where) for each in audit(world).problems] == [("AUDIT-REVOCATION", f"entry {place}")]


def test_however_many_certificates_a_key_has_its_compromise_is_recorded_and_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates of a day each, for years; only the index is told of them here."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issue(world, csr=base64.b64encode(world.csr(key=key)).decode())
    kin = tuple(SerialNumber((1 << 158) + number) for number in range(6000))
    monkeypatch.setattr(LedgerIndex, "serials_of_key", lambda *_: (leaf.serial_number, *kin))
    done = call(world, "revoke", order=by_key(world, key))
    assert done["serials"][0] == f"{leaf.serial_number:x}"
    assert len(done["serials"]) + done["more"] == 6001
    assert len(canonical_bytes(done)) < MESSAGE_LIMIT
    assert world.authority is not None
    assert list(world.authority.index.revoked) == [leaf.serial_number, *kin]


# The key's own holder


def test_the_holder_of_the_key_revokes_all_of_it_and_blocks_it(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(world.csr(key=key)).decode()
    mine, other = [issue(world, csr=csr), issue(world, csr=csr)], issue(world)
    done = call(world, "revoke", order=by_key(world, key))
    assert done["serials"] == [f"{each.serial_number:x}" for each in mine]
    assert done["reason"] == "keyCompromise"
    assert world.authority is not None
    assert set(world.authority.index.revoked) == {each.serial_number for each in mine}
    assert other.serial_number not in world.authority.index.revoked
    with pytest.raises(PolicyViolation) as caught:
        issue(world, csr=csr)
    assert caught.value.rule == "CS-KEY-COMPROMISED"
    assert refused(world, by_key(world, key)) == "REV-ALREADY"


def test_the_holder_blocks_a_key_whose_certificates_are_revoked_for_another_reason(world: World) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(world.csr(key=key)).decode()
    leaf = issue(world, csr=csr)
    revoke(world, leaf, second=None)
    before = says(world, leaf)
    assert call(world, "revoke", order=by_key(world, key))["serials"] == []
    assert says(world, leaf) == before
    world.stop()
    world.start()
    with pytest.raises(PolicyViolation) as caught:
        issue(world, csr=csr)
    assert caught.value.rule == "CS-KEY-COMPROMISED"


def test_a_key_that_was_never_certified_here_is_not_found(world: World) -> None:
    with pytest.raises(NotFound, match="nothing was ever certified"):
        call(world, "revoke", order=by_key(world, ec.generate_private_key(ec.SECP256R1())))


def for_one_key(world: World, count: int = 2) -> tuple[str, list[x509.Certificate]]:
    csr = base64.b64encode(world.csr()).decode()
    return csr, [issue(world, csr=csr) for _ in range(count)]


def revoked(world: World) -> set[int]:
    assert world.authority is not None
    return set(world.authority.index.revoked)


def test_a_compromised_key_takes_along_all_that_is_certified_for_it(world: World) -> None:
    csr, mine = for_one_key(world, 3)
    other = issue(world)
    done = revoke(world, mine[1], second=None, reason="keyCompromise")
    assert done["serials"] == [f"{each.serial_number:x}" for each in (mine[1], mine[0], mine[2])]
    assert revoked(world) == {each.serial_number for each in mine}
    assert other.serial_number not in revoked(world)
    assert {says(world, each)[2] for each in mine} == {x509.ReasonFlags.key_compromise}
    with pytest.raises(PolicyViolation, match="CS-KEY-COMPROMISED"):
        issue(world, csr=csr)
    world.stop()
    assert audit(world).problems == []


def test_so_it_does_from_a_date_that_two_people_sign_for(world: World) -> None:
    world.clock.pass_(hours=2)
    _, mine = for_one_key(world)
    then = world.clock.now - timedelta(hours=1)
    revoke(world, mine[0], reason="keyCompromise", revocation_date=wire_time(then))
    assert [says(world, each)[0] for each in mine] == [then, then]


def test_and_when_what_was_named_is_revoked_already(world: World) -> None:
    csr, (old, new) = for_one_key(world)
    revoke(world, old, second=None)
    assert revoke(world, old, second=None, reason="keyCompromise")["serials"] == [f"{new.serial_number:x}"]
    assert says(world, old)[2] is x509.ReasonFlags.superseded
    with pytest.raises(PolicyViolation, match="CS-KEY-COMPROMISED"):
        issue(world, csr=csr)
    again = world.signed(world.revocation(f"{old.serial_number:x}", reason="keyCompromise"))
    assert refused(world, order(world, again, None)) == "REV-ALREADY"


@pytest.mark.parametrize("reason", ["superseded", "privilegeWithdrawn", "cessationOfOperation", "affiliationChanged"])
def test_another_reason_takes_nothing_along(world: World, reason: str) -> None:
    csr, mine = for_one_key(world)
    revoke(world, mine[0], second=None, reason=reason)
    assert revoked(world) == {mine[0].serial_number}
    issue(world, csr=csr)


def test_a_correction_calls_no_key_compromised_that_something_good_is_certified_for(world: World) -> None:
    _, (old, new) = for_one_key(world)
    revoke(world, old, second=None)
    then = wire_time(world.clock.now)
    world.clock.pass_(minutes=1)
    said = world.signed(correction(world, old, reason="keyCompromise", revocation_date=then))
    assert refused(world, order(world, said)) == "REV-KEY-LIVE"
    revoke(world, new, second=None, reason="keyCompromise")
    assert call(world, "revoke", order=order(world, said))["act"] == "correction"
    world.stop()
    assert audit(world).problems == []


# For ever


@pytest.mark.parametrize("who", ["the same team", "another team", "a renewal"])
def test_a_compromised_key_is_blocked_for_ever_from_anybody(world: World, who: str) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(world.csr(key=key)).decode()
    leaf, live = issue(world, csr=csr), issue(world)
    revoke(world, leaf, second=None, reason="keyCompromise")
    world.clock.pass_(minutes=1)
    correct(world, leaf, reason="superseded", revocation_date=wire_time(world.clock.now - timedelta(minutes=1)))
    assert says(world, leaf)[2] is x509.ReasonFlags.superseded
    asks: dict[str, dict[str, Any]] = {
        "the same team": {"csr": csr},
        "another team": {
            "csr": base64.b64encode(world.csr("games", "chess", key)).decode(),
            "person": "mallory",
            "team": "games",
            "project": "chess",
        },
        "a renewal": {"csr": csr, "renews": f"{live.serial_number:x}"},
    }
    if who == "a renewal":
        _publish_rosters_until_renewal(world)
    with pytest.raises(PolicyViolation) as caught:
        issue(world, **asks[who])
    assert caught.value.rule == "CS-KEY-COMPROMISED"


def test_an_rsa_key_is_the_same_key_under_another_exponent(world: World) -> None:
    """Blocked for ever, one team's alone, and taken along, by the modulus: also across a start, and for an audit."""
    key = software_key(KeyKind.RSA_3072, "leaf")
    twin = another_exponent(key)
    assert spki_sha256(twin.public_key()) != spki_sha256(key.public_key())
    csrs = [base64.b64encode(world.csr(key=each)).decode() for each in (key, twin)]
    first = issue(world, csr=csrs[0])
    second = issue(world, csr=csrs[1])
    theirs = {"person": "mallory", "team": "games", "project": "chess"}
    with pytest.raises(PolicyViolation, match="CS-KEY-OTHER-TEAM"):
        issue(world, csr=base64.b64encode(world.csr("games", "chess", twin)).decode(), **theirs)
    revoke(world, first, second=None, reason="keyCompromise")
    assert revoked(world) == {first.serial_number, second.serial_number}
    world.stop()
    world.start()
    for csr in csrs:
        with pytest.raises(PolicyViolation, match="CS-KEY-COMPROMISED"):
            issue(world, csr=csr)
    world.stop()
    assert audit(world).problems == []


def test_the_holder_of_a_modulus_blocks_it_with_any_exponent(world: World) -> None:
    key = software_key(KeyKind.RSA_3072, "leaf")
    twin = another_exponent(key)
    mine = [issue(world, csr=base64.b64encode(world.csr(key=each)).decode()) for each in (key, twin)]
    call(world, "revoke", order=by_key(world, twin))
    assert revoked(world) == {each.serial_number for each in mine}
    with pytest.raises(PolicyViolation, match="CS-KEY-COMPROMISED"):
        issue(world, csr=base64.b64encode(world.csr(key=key)).decode())
    world.stop()
    assert audit(world).problems == []


def _publish_rosters_until_renewal(world: World) -> None:
    profile = world.profile("code-signing")
    days = profile.validity_days - profile.renewal_window_days + 1
    while days > 0:
        assert world.authority is not None
        assert world.authority.roster is not None
        world.clock.pass_(days=min(70, days))
        days -= 70
        roster = world.signed(world.roster(world.authority.roster.version + 1), "omar", "odile")
        call(world, "publish-roster", roster=roster.to_wire())


def test_nothing_turns_a_revoked_serial_into_anything_else(world: World) -> None:
    """Resubmitted orders, a renewal, the certificate's own expiry, ten years of CRLs."""
    wire = world.order()
    leaf = Receipt.parse(call(world, "issue", order=wire)["receipt"]).load_certificate()
    revoke(world, leaf, second=None)
    said = says(world, leaf)
    with pytest.raises(PolicyViolation) as caught:
        call(world, "issue", order=wire)
    assert caught.value.rule == "ORDER-USED"
    _publish_rosters_until_renewal(world)
    with pytest.raises(PolicyViolation) as caught:
        issue(world, renews=f"{leaf.serial_number:x}")
    assert caught.value.rule == "RENEW-REVOKED"
    assert issue(world).serial_number != leaf.serial_number
    world.clock.pass_(days=365)
    assert leaf.not_valid_after_utc < world.clock.now
    assert says(world, leaf) == said
    assert world.authority is not None
    assert world.authority.index.revoked[SerialNumber(leaf.serial_number)].at == said[0]
