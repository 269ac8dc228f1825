"""A loss is declared by a quorum of officers, for this ledger as it stands, for all that is known: else it is refused.

The ledger was set back: a follower showed the signer a checkpoint over a certificate, a revocation and a CRL that are
gone.
One good declaration, each field of it changed; then who signs it, when, and for what.
"""

import base64
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from exports import audit
from sealwright.errors import InputError, IntegrityError, NotFound, PolicyViolation
from sealwright.issuing import gate, issuance
from sealwright.issuing.clock import leave_word
from sealwright.issuing.crl import crl_path, crl_scopes, issue_crl
from sealwright.issuing.loss import declare_loss, draft_loss
from sealwright.issuing.recovery import record_start
from sealwright.ledger.entries import IntentEntry, LossEntry, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.crl import RevocationEntry, RevocationReason, draft_crl, lint_crl, reason_of, sign_crl
from sealwright.pki.crl_scope import scope_of_tbs
from sealwright.pki.serials import SerialNumber, parse_serial
from sealwright.publication.statuses import LedgerStatuses
from sealwright.statements.kinds import LOST_LIMIT, LossStatement
from sealwright.statements.receipts import Receipt
from sealwright.statements.signed import SignedStatement
from world import World, call, make_world, wire_time

Statement = dict[str, Any]


@dataclass
class Lost:
    world: World
    checkpoint: str
    """What the ledger key signed over all that is gone."""
    earlier: str
    """And over the first part of it."""
    certificate: x509.Certificate
    """In the lost end; its receipt is with its team."""
    revoked: str
    """A serial of what is left, whose revocation is lost; it is on the published CRL."""

    def draft(self, *compromised: x509.Certificate) -> Statement:
        world = self.world
        assert world.authority is not None
        return draft_loss(
            world.installed,
            world.authority.ledger,
            world.authority.index,
            person="olga",
            serials=[self.certificate.serial_number],  # type: ignore[list-item]  # a number
            compromised=compromised,
            comment="both disks burnt; the registry's database was on one of them",
            now=world.clock(),
        ).to_wire()

    def declare(self, signed: SignedStatement) -> None:
        assert self.world.authority is not None
        declare_loss(self.world.authority, signed)

    def good(self) -> SignedStatement:
        return self.world.signed(self.draft(), "olga", "omar")

    def rule(self, statement: Statement, *people: str, namespace: str | None = None) -> str:
        """Of its refusal; and the ledger, the witness and what is refused stay as they are."""
        return self.refused(self.world.signed(statement, *(people or ("olga", "omar")), namespace=namespace))

    def refused(self, signed: SignedStatement) -> str:
        authority = self.world.authority
        assert authority is not None
        before = authority.ledger.checkpoint
        with pytest.raises((PolicyViolation, InputError)) as caught:
            self.declare(signed)
        assert authority.ledger.checkpoint == before
        with pytest.raises(IntegrityError, match="was set back"):
            issue_crl(authority)
        return getattr(caught.value, "rule", "unreadable")


@pytest.fixture
def lost(world: World, tmp_path: Path) -> Lost:
    return lose(world, tmp_path, lambda first, _: revoke(world, first))


@pytest.fixture
def stolen(world: World, tmp_path: Path) -> Lost:
    """Both certificates were revoked: their keys were stolen the day before, as two people said."""
    then = wire_time(world.clock())
    world.clock.pass_(days=1)
    said = {"reason": "keyCompromise", "revocation_date": then}
    return lose(world, tmp_path, lambda first, gone: revoke(world, first, gone, **said))


def lose(world: World, folder: Path, act: Callable[[x509.Certificate, x509.Certificate], None]) -> Lost:
    """``act``: with the certificate that is left and the one that is lost, in the lost end."""
    assert world.authority is not None
    first = certificate(world)
    issue_crl(world.authority)
    world.stop()
    shutil.copytree(world.installed.ledger, folder / "backup")
    world.start()
    gone = certificate(world)
    earlier = world.authority.ledger.checkpoint
    act(first, gone)
    issue_crl(world.authority)
    checkpoint = world.authority.ledger.checkpoint
    world.stop()
    shutil.rmtree(world.installed.ledger)
    (folder / "backup").rename(world.installed.ledger)
    world.clock.pass_(hours=1)
    world.start()
    with pytest.raises(IntegrityError, match="was set back"):
        call(world, "witness", checkpoint=checkpoint)
    return Lost(world, checkpoint, earlier, gone, f"{first.serial_number:x}")


def certificate(world: World, **changes: Any) -> x509.Certificate:
    return Receipt.parse(call(world, "issue", order=world.order(**changes))["receipt"]).load_certificate()


def csr(world: World, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    return {"csr": base64.b64encode(world.csr(key=key)).decode()}


def revoke(world: World, *certificates: x509.Certificate, **said: Any) -> None:
    serials = [f"{each.serial_number:x}" for each in certificates]
    signed = world.signed(world.revocation(serials[0], **({"serials": serials} | said)))
    order = {"revocation": signed.to_wire(), "countersignature": world.signed(world.countersignature(signed)).to_wire()}
    call(world, "revoke", order=order)


def published(path: Path) -> dict[int, tuple[datetime, RevocationReason | None]]:
    crl = x509.load_der_x509_crl(path.read_bytes())
    return {each.serial_number: (each.revocation_date_utc, reason_of(each)) for each in crl}


def changed(name: str, value: object) -> Callable[[Lost], Statement]:
    return lambda lost: {**lost.draft(), name: value}


def later(lost: Lost) -> Statement:
    now = lost.world.clock()
    return {**lost.draft(), "issued_at": wire_time(now + timedelta(hours=1))}


def for_ever(lost: Lost) -> Statement:
    return {**lost.draft(), "expires_at": wire_time(lost.world.clock() + timedelta(days=8))}


def one_more(name: str, by: int) -> Callable[[Lost], Statement]:
    return lambda lost: (draft := lost.draft()) | {name: draft[name] + by}


def without_the_revoked(lost: Lost) -> Statement:
    draft = lost.draft()
    return draft | {"revocations": [each for each in draft["revocations"] if lost.revoked not in each["serials"]]}


def says_of_the_revoked(**said: object) -> Callable[[Lost], Statement]:
    good = {"revocation_date": None, "reason": "superseded", "scope": ""}
    return lambda lost: lost.draft() | {"revocations": [{"serials": [lost.revoked]} | good | said]}


def twice(lost: Lost) -> Statement:
    draft = lost.draft()
    return draft | {"revocations": [*draft["revocations"], draft["revocations"][-1]]}


FIELDS: dict[str, tuple[Callable[[Lost], Statement], str]] = {
    "kind": (changed("kind", "roster"), "unreadable"),
    "pki": (changed("pki", "0" * 64), "STMT-PKI"),
    "id": (changed("id", "of mine"), "unreadable"),
    "person": (changed("person", "alice"), "LOSS-OFFICER"),
    "issued_at": (later, "STMT-FUTURE"),
    "expires_at": (for_ever, "STMT-LIFETIME"),
    "size": (one_more("size", -1), "LOSS-LEDGER"),
    "root": (changed("root", "0" * 64), "LOSS-LEDGER"),
    "lost_size": (one_more("lost_size", -1), "LOSS-WITNESS"),
    "lost_root": (changed("lost_root", "0" * 64), "LOSS-WITNESS"),
    "crl_number": (one_more("crl_number", -1), "LOSS-CRL"),
    "revocations": (without_the_revoked, "LOSS-CRL"),
    "keys": (changed("keys", ["no digest"]), "unreadable"),
    "more": (changed("more", "yes"), "unreadable"),
    "comment": (changed("comment", "\x1b[2J"), "unreadable"),
}


def test_there_is_a_lie_for_each_field() -> None:
    assert FIELDS.keys() == LossStatement.model_fields.keys()


def test_each_field_that_says_something_else_is_refused_although_officers_signed_it(lost: Lost) -> None:
    told, began = lost.world.clock() - timedelta(hours=1), lost.world.installed.issuing.not_valid_before_utc
    for name, (lie, rule) in FIELDS.items():
        assert lost.rule(lie(lost)) == rule, name
    for lie, rule in (
        (one_more("size", 10**6), "LOSS-LEDGER"),
        (changed("lost_size", 1), "LOSS-WITNESS"),
        (one_more("lost_size", 1), "LOSS-WITNESS"),
        (changed("crl_number", 0), "LOSS-CRL"),
        (says_of_the_revoked(), "LOSS-CRL"),
        (says_of_the_revoked(revocation_date=wire_time(told + timedelta(seconds=1))), "LOSS-CRL"),
        (says_of_the_revoked(revocation_date=wire_time(told), reason=None), "LOSS-CRL"),
        (says_of_the_revoked(revocation_date=wire_time(told), scope="p3-1"), "LOSS-CRL"),
        (says_of_the_revoked(revocation_date=wire_time(told), scope="all"), "unreadable"),
        (says_of_the_revoked(revocation_date=wire_time(told), reason="privilegeWithdrawn"), "LOSS-CRL"),
        (says_of_the_revoked(revocation_date=wire_time(began - timedelta(seconds=1))), "LOSS-DATE"),
        (says_of_the_revoked(revocation_date=wire_time(lost.world.clock() + timedelta(seconds=1))), "LOSS-DATE"),
        (twice, "unreadable"),
        (changed("more", 1), "unreadable"),
    ):
        assert lost.rule(lie(lost)) == rule
    lost.declare(lost.good())


def test_each_field_changed_after_it_was_signed_is_refused(lost: Lost) -> None:
    good = lost.good()
    other: Statement = {
        "id": "0" * 32,
        "person": "omar",
        "issued_at": wire_time(lost.world.clock() + timedelta(seconds=1)),
        "expires_at": wire_time(lost.world.clock() + timedelta(days=6)),
        "crl_number": good.statement["crl_number"] + 1,
        "revocations": good.statement["revocations"][:-1],
        "keys": ["0" * 64],
        "more": True,
        "comment": "",
    }
    for name, value in other.items():
        assert lost.refused(good.model_copy(update={"statement": {**good.statement, name: value}})) == "STMT-SIGNATURE"


def test_the_quorum_is_of_officers_each_counted_once(lost: Lost) -> None:
    draft = lost.draft()
    assert lost.rule(draft, "olga") == "LOSS-QUORUM"
    assert lost.rule(draft, "olga", "olga") == "LOSS-QUORUM"
    assert lost.rule(draft, "olga", "alice") == "STMT-SIGNER"
    assert lost.rule(draft, "olga", "stranger") == "STMT-SIGNER"
    assert lost.rule(draft, "olga", "omar", namespace="roster@sealwright.v1") == "STMT-NAMESPACE"
    lost.declare(lost.world.signed(draft, "odile", "omar"))  # the drafter need not be among them


def test_it_is_good_for_a_week_and_for_one_ledger_only(lost: Lost, tmp_path: Path) -> None:
    good = lost.good()
    lost.world.clock.pass_(days=7)
    assert lost.refused(good) == "STMT-EXPIRED"
    other = make_world(tmp_path / "other")
    other.start()
    call(other, "publish-roster", roster=other.signed(other.roster(), "olga", "omar").to_wire())
    assert other.authority is not None
    with pytest.raises(PolicyViolation, match="STMT-PKI"):
        declare_loss(other.authority, good)
    other.stop()
    good = lost.good()
    lost.declare(good)
    assert lost.world.authority is not None
    with pytest.raises(PolicyViolation, match="LOSS-LEDGER"):  # a second time
        declare_loss(lost.world.authority, good)


def test_a_roster_expires_and_a_loss_can_still_be_declared(lost: Lost) -> None:
    lost.world.clock.pass_(days=200)
    lost.declare(lost.good())
    with pytest.raises(PolicyViolation, match="ROSTER-EXPIRED"):
        certificate(lost.world)


def test_after_it_the_signer_goes_on_and_what_was_lost_is_revoked_for_ever(lost: Lost) -> None:
    world = lost.world
    assert world.authority is not None
    size = world.authority.ledger.size
    lost.declare(lost.good())
    serial = lost.certificate.serial_number
    assert {serial, int(lost.revoked, 16)} <= set(world.authority.index.revoked)
    for note in (lost.checkpoint, lost.earlier):  # whoever kept one of the lost history stops nobody
        assert call(world, "witness", checkpoint=note)["continues"] is True
    world.stop()
    authority = world.start()
    record_start(authority)
    assert authority.set_back is None
    certificate(world)
    crl = x509.load_der_x509_crl(issue_crl(authority).read_bytes())
    number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    (entry,) = [each for data in authority.ledger.iterate() if isinstance(each := parse_entry(data), LossEntry)]
    assert number == entry.loss.statement["crl_number"] + 1
    assert {serial, int(lost.revoked, 16)} <= {each.serial_number for each in crl}
    with pytest.raises(IntegrityError, match="reserved a second time"):
        authority.index.apply(
            IntentEntry.for_tbs(
                at=world.clock(), serial=f"{serial:x}", tbs=b"", profile="p", order=None, standing="ocsp-responder"
            )
        )
    statuses = LedgerStatuses()
    statuses.catch_up(authority.ledger)
    due = {each.status.serial: each.status.revoked for each in statuses.due(world.clock(), 100)}
    assert due[serial] is not None  # type: ignore[index]  # a number
    statuses.close()
    world.stop()
    world.start()
    assert world.authority.ledger.read(size) == entry.to_bytes()


def test_an_auditor_names_a_lost_serial_that_is_reserved_again(lost: Lost, monkeypatch: pytest.MonkeyPatch) -> None:
    lost.declare(lost.good())
    assert lost.world.authority is not None
    again = parse_serial(f"{lost.certificate.serial_number:x}")
    del lost.world.authority.index.revoked[again]
    monkeypatch.setattr(issuance, "new_serial", lambda: again)
    assert certificate(lost.world).serial_number == again
    assert [each.claim for each in audit(lost.world).problems] == ["AUDIT-INTENT"]


def test_what_a_crl_said_of_a_lost_revocation_it_goes_on_to_say(stolen: Lost) -> None:
    """Since when and why: else what was signed between the theft and now would be good again."""
    world = stolen.world
    assert world.authority is not None
    before = published(crl_path(world.authority))
    assert set(before) == {int(stolen.revoked, 16), stolen.certificate.serial_number}
    stolen.declare(stolen.good())
    path = issue_crl(world.authority)
    assert published(path) == before
    statuses = LedgerStatuses()
    statuses.catch_up(world.authority.ledger)
    due = {each.status.serial: each.status.revoked for each in statuses.due(world.clock(), 100)}
    statuses.close()
    assert {serial: (said.revocation_date, said.reason) for serial, said in due.items() if said} == before
    world.stop()
    assert audit(world, [path.read_bytes()]).problems == []


def test_so_does_the_partition_that_a_lost_certificate_names(world: World, tmp_path: Path) -> None:
    """Who has the certificate fetches no other list."""
    profile = world.installed.folder / "ca/profiles/code-signing.toml"
    profile.write_text(re.sub(r"(?m)^# crl_partitions = \d+ ", "crl_partitions = 3 ", profile.read_text()))
    call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
    others: list[x509.Certificate] = []

    def act(_: x509.Certificate, gone: x509.Certificate) -> None:
        revoke(world, gone)
        others.append(certificate(world))
        assert world.authority is not None
        issue_crl(world.authority, scope_of_tbs(gone.tbs_certificate_bytes) or "")

    lost = lose(world, tmp_path, act)
    gone, authority = (lost.certificate, *others), world.authority
    assert authority is not None
    scopes = {each.serial_number: scope_of_tbs(each.tbs_certificate_bytes) or "" for each in gone}
    before = published(crl_path(authority, scopes[lost.certificate.serial_number]))
    lost.declare(world.signed(lost.draft(*others), "olga", "omar"))
    for _ in range(2):
        files = [issue_crl(authority, scope) for scope in crl_scopes(authority)]
        assert len(files) == 4
        assert before.items() <= published(crl_path(authority, scopes[lost.certificate.serial_number])).items()
        for serial, scope in scopes.items():
            assert scope
            for each, path in zip(crl_scopes(authority), files, strict=True):
                assert (serial in published(path)) is (each in ("", scope))
        world.stop()
        assert audit(world, [path.read_bytes() for path in files]).problems == []
        authority = world.start()


def test_officers_may_say_that_it_was_earlier_and_worse(lost: Lost) -> None:
    then = lost.world.installed.issuing.not_valid_before_utc
    said = says_of_the_revoked(revocation_date=wire_time(then), reason="keyCompromise")(lost)
    lost.declare(lost.world.signed(said, "olga", "omar"))
    assert lost.world.authority is not None
    assert published(issue_crl(lost.world.authority)) == {
        int(lost.revoked, 16): (then, RevocationReason.KEY_COMPROMISE)
    }


def test_no_correction_makes_a_lost_revocation_later(stolen: Lost) -> None:
    """When it was told nobody knows any more; its own date is the latest that cannot be wrong."""
    world = stolen.world
    stolen.declare(stolen.good())
    assert world.authority is not None
    date = world.authority.index.revoked[parse_serial(stolen.revoked)].at
    world.clock.pass_(minutes=1)
    for moment in (date, date + timedelta(seconds=1)):
        fields = {"serials": [stolen.revoked], "reason": "keyCompromise", "comment": ""}
        signed = world.signed(world.statement("correction", "alice", revocation_date=wire_time(moment), **fields))
        second = world.signed(world.countersignature(signed))
        order = {"revocation": signed.to_wire(), "countersignature": second.to_wire()}
        if moment == date:
            call(world, "revoke", order=order)
            continue
        with pytest.raises(PolicyViolation, match="REV-DATE"):
            call(world, "revoke", order=order)
    assert audit(world).problems == []


def test_a_key_that_was_stolen_stays_blocked_also_where_its_certificate_is_lost(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, gone = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    assert world.authority is not None
    kin = certificate(world, **csr(world, gone))
    ours: list[x509.Certificate] = []

    def act(_: x509.Certificate, __: x509.Certificate) -> None:
        revoke(world, known, reason="keyCompromise")
        ours.append(certificate(world, **csr(world, gone)))

    known = certificate(world, **csr(world, left))
    lost = lose(world, tmp_path, act)
    lost.declare(world.signed(lost.draft(*ours), "olga", "omar"))
    serials = {each.serial_number for each in (known, kin, *ours)}
    assert serials <= set(world.authority.index.revoked), "all that is certified for a stolen key"
    for _ in range(2):
        for key in (left, gone):
            with pytest.raises(PolicyViolation, match="CS-KEY-COMPROMISED"):
                certificate(world, **csr(world, key))
        world.stop()
        world.start()
    assert audit(world).problems == []
    world.authority.index.compromised_keys.clear()
    monkeypatch.setattr(gate, "check_not_compromised", lambda *_: None)
    for key in (left, gone):
        certificate(world, **csr(world, key))
    assert [(each.claim, each.rule) for each in audit(world).problems] == [("AUDIT-USE", "CS-KEY-COMPROMISED")] * 2


def test_an_old_backup_can_be_gone_on_from_once_an_operator_says_what_time_it_is(lost: Lost) -> None:
    """Else nobody could: a word of the operator alone is not recorded while the ledger is set back."""
    world = lost.world
    world.stop()
    world.clock.pass_(days=30)
    world.start()
    assert lost.refused(lost.good()) == "CLOCK-AHEAD"
    leave_word(world.installed.folder, world.clock(), world.clock())
    lost.declare(lost.good())
    certificate(world)
    assert audit(world).problems == []


def test_only_a_certificate_of_this_ca_blocks_a_key(lost: Lost) -> None:
    with pytest.raises(InputError, match="none of this issuing CA"):
        lost.draft(lost.world.installed.root)


def test_what_does_not_fit_one_declaration_is_declared_by_the_next(lost: Lost) -> None:
    """A thousand revocations, each of its own moment, on the CRL only. Until the last of them nothing is signed."""
    world = lost.world
    assert world.authority is not None
    began = world.installed.issuing.not_valid_before_utc
    entries = [
        RevocationEntry(SerialNumber(2**158 + number), began + timedelta(seconds=number), RevocationReason.SUPERSEDED)
        for number in range(1000)
    ]
    now = world.clock()
    draft = draft_crl(
        issuer=world.installed.issuer(world.authority.settings),
        number=40,
        this_update=now,
        next_update=now + timedelta(days=7),
        entries=entries,
        expired_certs_since=began,
    )
    crl = sign_crl(lint_crl(draft), world.keys["issuing"])
    (world.installed.crls / "fetched.crl").write_bytes(crl.public_bytes(Encoding.DER))
    declared = 0
    while (good := lost.good()).statement["more"]:
        assert lost.rule(good.statement | {"more": False}) == "LOSS-CRL"
        if declared:
            assert lost.rule(good.statement | {"lost_size": good.statement["lost_size"] + 1}) == "LOSS-WITNESS"
        lost.declare(good)
        declared += 1
        for _ in range(2):
            with pytest.raises(IntegrityError, match="was set back"):
                certificate(world)
            with pytest.raises(IntegrityError, match="was set back"):
                call(world, "witness", checkpoint=lost.earlier)
            world.stop()
            assert [each.claim for each in audit(world).problems] == ["AUDIT-LOSS"]
            (world.installed.ledger / "witness").unlink(missing_ok=True)  # somebody who wants it to go on
            world.start()
    assert declared == 1000 // LOST_LIMIT
    lost.declare(lost.good())
    assert {each.serial: (each.revocation_date, each.reason) for each in entries}.items() <= published(
        issue_crl(world.authority)
    ).items()
    certificate(world)
    call(world, "witness", checkpoint=lost.checkpoint)
    assert audit(world).problems == []


def test_a_full_declaration_leaves_room_for_many_signatures(lost: Lost) -> None:
    assert lost.world.authority is not None
    draft = draft_loss(
        lost.world.installed,
        lost.world.authority.ledger,
        lost.world.authority.index,
        person="olga",
        serials=[SerialNumber(2**158 + number) for number in range(2000)],
        comment="ß" * 1000,
        now=lost.world.clock(),
    )
    assert draft.more
    assert len(draft.serials) > 1100
    rsa_4096 = "\n".join(["A" * 70] * 22)
    LossEntry(at=lost.world.clock(), loss=SignedStatement.of(draft, *[rsa_4096] * 7)).to_bytes()


def test_an_auditor_names_a_signer_that_went_on_between_two_declarations(lost: Lost) -> None:
    authority = lost.world.authority
    assert authority is not None
    lost.declare(lost.world.signed(lost.draft() | {"more": True}, "olga", "omar"))
    authority.set_back = None
    issue_crl(authority)
    lost.declare(lost.good())
    assert [(each.claim, each.where) for each in audit(lost.world).problems] == [
        ("AUDIT-LOSS", f"entry {authority.ledger.size - 3}")
    ]


def test_more_that_is_shown_to_be_lost_stops_it_again(lost: Lost, tmp_path: Path) -> None:
    """Somebody has a newer checkpoint than the one that was declared: nobody had looked far enough."""
    world = lost.world
    witness = (world.installed.ledger / "witness").read_text()
    assert witness == lost.checkpoint
    world.stop()
    (world.installed.ledger / "witness").write_text(lost.earlier)
    world.start()
    lost.declare(lost.good())
    with pytest.raises(IntegrityError, match="was set back"):
        call(world, "witness", checkpoint=lost.checkpoint)


def test_where_nothing_is_known_to_be_missing_there_is_nothing_to_draft(world: World) -> None:
    assert world.authority is not None
    with pytest.raises(NotFound, match="nothing is known to be missing"):
        draft_loss(
            world.installed,
            world.authority.ledger,
            world.authority.index,
            person="olga",
            serials=(),
            comment="",
            now=world.clock(),
        )


def test_an_audit_accepts_the_gap_and_names_it(lost: Lost) -> None:
    world = lost.world
    lost.declare(lost.good())
    certificate(world)
    world.stop()
    found = audit(world)
    assert found.problems == []
    assert len(found.declared) == 1
    assert "the officers declared lost what followed" in found.declared[0]
    for earlier in (lost.checkpoint, lost.earlier):
        found = audit(world, earlier=earlier)
        assert found.problems == []
        assert "lies in the loss" in found.declared[1]
    installed = world.installed
    reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
    assert reader.checkpoint != lost.checkpoint
    assert audit(world, earlier=reader.checkpoint).declared == audit(world).declared
