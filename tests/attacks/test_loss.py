"""A loss is declared by a quorum of officers, for this ledger as it stands, for all that is known: else it is refused.

The ledger was set back: a follower showed the signer a checkpoint over a certificate, a revocation and a CRL that are
gone.
One good declaration, each field of it changed; then who signs it, when, and for what.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from exports import audit
from sealwright.errors import InputError, IntegrityError, NotFound, PolicyViolation
from sealwright.issuing import issuance
from sealwright.issuing.crl import issue_crl
from sealwright.issuing.loss import declare_loss, draft_loss
from sealwright.issuing.recovery import record_start
from sealwright.ledger.entries import IntentEntry, LossEntry, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.serials import parse_serial
from sealwright.publication.statuses import LedgerStatuses
from sealwright.statements.kinds import LossStatement
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

    def draft(self) -> Statement:
        world = self.world
        assert world.authority is not None
        return draft_loss(
            world.installed,
            world.authority.ledger,
            world.authority.index,
            person="olga",
            serials=[self.certificate.serial_number],  # type: ignore[list-item]  # a number
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
    assert world.authority is not None
    first = certificate(world)
    issue_crl(world.authority)
    world.stop()
    shutil.copytree(world.installed.ledger, tmp_path / "backup")
    world.start()
    gone = certificate(world)
    earlier = world.authority.ledger.checkpoint
    revocation = world.signed(world.revocation(f"{first.serial_number:x}")).to_wire()
    call(world, "revoke", order={"revocation": revocation})
    issue_crl(world.authority)
    checkpoint = world.authority.ledger.checkpoint
    world.stop()
    shutil.rmtree(world.installed.ledger)
    (tmp_path / "backup").rename(world.installed.ledger)
    world.start()
    with pytest.raises(IntegrityError, match="was set back"):
        call(world, "witness", checkpoint=checkpoint)
    return Lost(world, checkpoint, earlier, gone, f"{first.serial_number:x}")


def certificate(world: World) -> x509.Certificate:
    return Receipt.parse(call(world, "issue", order=world.order())["receipt"]).load_certificate()


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
    return draft | {"serials": [each for each in draft["serials"] if each != lost.revoked]}


def twice(lost: Lost) -> Statement:
    return {**lost.draft(), "serials": [lost.revoked, lost.revoked]}


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
    "serials": (without_the_revoked, "LOSS-CRL"),
    "comment": (changed("comment", "\x1b[2J"), "unreadable"),
}


def test_there_is_a_lie_for_each_field() -> None:
    assert FIELDS.keys() == LossStatement.model_fields.keys()


def test_each_field_that_says_something_else_is_refused_although_officers_signed_it(lost: Lost) -> None:
    for name, (lie, rule) in FIELDS.items():
        assert lost.rule(lie(lost)) == rule, name
    for lie, rule in (
        (one_more("size", 10**6), "LOSS-LEDGER"),
        (changed("lost_size", 1), "LOSS-WITNESS"),
        (one_more("lost_size", 1), "LOSS-WITNESS"),
        (changed("crl_number", 0), "LOSS-CRL"),
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
        "serials": sorted([*good.statement["serials"], "1234"]),
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
