"""Ledger entries: each kind is read back as it was written, strictly."""

from datetime import UTC, datetime
from typing import get_args

import pytest

from cast import Cast
from sealwright.errors import InputError
from sealwright.ledger.bundles import ENTRY_LIMIT
from sealwright.ledger.entries import (
    CertificateEntry,
    ClockEntry,
    CorrectionRecord,
    CRLEntry,
    CRLIntentEntry,
    DenialEntry,
    Entry,
    IntentEntry,
    LossEntry,
    PolicyEntry,
    RefusalEntry,
    RevocationRecord,
    RosterEntry,
    StartEntry,
    SuspensionEntry,
    TokenEntry,
    parse_entry,
)
from sealwright.pki.crl import RevocationReason
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import decode_base64

AT = datetime(2026, 11, 23, 12, 0, 1, tzinfo=UTC)
CAST = Cast()
SIGNED = CAST.signed(CAST.statement("revocation", "alice", serials=["1f"]))
ORDER = IssuanceOrder(request=SIGNED, decisions=(SIGNED,))
ENTRIES: list[Entry] = [
    StartEntry(at=AT, pki="a" * 64, mode="REHEARSAL", version="0.1.0"),
    RosterEntry(at=AT, roster=SIGNED),
    IntentEntry.for_tbs(at=AT, serial="1f", tbs=b"\x30\x00", profile="code-signing", order=ORDER, standing=None),
    IntentEntry.for_tbs(
        at=AT, serial="2f", tbs=b"\x30\x00", profile="responder", order=None, standing="ocsp-responder"
    ),
    CertificateEntry.for_der(at=AT, serial="1f", intent=2, der=b"\x30\x00"),
    RevocationRecord(
        at=AT,
        serials=("1f",),
        reason=RevocationReason.KEY_COMPROMISE,
        revocation_date=AT,
        order=RevocationOrder(revocation=SIGNED),
        cause="order",
    ),
    RevocationRecord(at=AT, serials=("2f",), reason=None, revocation_date=AT, order=None, cause="crash"),
    CorrectionRecord(
        at=AT,
        serials=("1f",),
        reason=RevocationReason.SUPERSEDED,
        revocation_date=AT,
        order=RevocationOrder(revocation=SIGNED, countersignature=SIGNED),
    ),
    CRLIntentEntry(at=AT, number=1, this_update=AT, next_update=AT),
    CRLEntry(at=AT, number=1, sha256="b" * 64, size=400),
    *PolicyEntry.for_file(at=AT, name="pki.toml", data=b"# settings"),
    DenialEntry(at=AT, request=SIGNED, decision=SIGNED),
    RefusalEntry(at=AT, call="issue", rule="ORDER-QUORUM", message="0 of 1", sha256="c" * 64),
    SuspensionEntry(at=AT, suspension=SIGNED),
    TokenEntry(at=AT, token="0123abcd", event="away", happened=AT, reason="no token with serial number 0123abcd"),
    ClockEntry(at=AT, before=AT, said=AT),
    LossEntry(at=AT, loss=SIGNED),
]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_an_entry_reads_as_it_was_written(entry: Entry) -> None:
    assert parse_entry(entry.to_bytes()) == entry
    assert f'"type":"{entry.type}"'.encode() in entry.to_bytes()
    assert b'"at":"2026-11-23T12:00:01Z"' in entry.to_bytes()


def test_every_kind_is_tried_here() -> None:
    assert {type(entry) for entry in ENTRIES} == set(get_args(Entry))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.type)
def test_refuses_an_entry_with_a_field_missing_or_too_many(entry: Entry) -> None:
    from sealwright.statements.canonical import canonical_bytes

    whole = entry.model_dump(mode="json")
    for name in set(whole) - {"type", "epoch"}:  # starts of before there were takeovers have none
        with pytest.raises(InputError, match=name):
            parse_entry(canonical_bytes({key: value for key, value in whole.items() if key != name}))
    with pytest.raises(InputError):
        parse_entry(canonical_bytes({**whole, "extra": 1}))
    with pytest.raises(InputError):
        parse_entry(canonical_bytes({key: value for key, value in whole.items() if key != "type"}))


def test_octets_are_read_back() -> None:
    intent, certificate = ENTRIES[2], ENTRIES[4]
    assert isinstance(intent, IntentEntry)
    assert isinstance(certificate, CertificateEntry)
    assert intent.tbs_der == certificate.certificate_der == b"\x30\x00"
    assert intent.order is not None
    assert intent.order.request.sha256 == SIGNED.sha256


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"type":"wish"}', b'{"at":1,"type":"crl"}'])
def test_refuses_what_is_no_entry(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_entry(data)


def test_refuses_an_unknown_reason() -> None:
    data = ENTRIES[5].to_bytes().replace(b"keyCompromise", b"certificateHold")
    with pytest.raises(InputError, match="reason"):
        parse_entry(data)


def test_an_intent_has_an_order_or_the_standing_order() -> None:
    for order, standing in ((ORDER, "ocsp-responder"), (None, None)):
        with pytest.raises(ValueError, match="not both"):
            IntentEntry.for_tbs(at=AT, serial="1f", tbs=b"", profile="x", order=order, standing=standing)  # type: ignore[arg-type]


def test_an_entry_that_does_not_fit_is_refused_before_it_is_appended() -> None:
    statement = {"text": "x" * 60000}
    entry = RosterEntry(at=AT, roster=SignedStatement(statement=statement, signatures=("y" * 8000,)))
    with pytest.raises(InputError, match=f"at most {ENTRY_LIMIT} fit"):
        entry.to_bytes()


def test_a_long_file_is_recorded_in_parts_that_fit() -> None:
    data = bytes(range(256)) * 300
    parts = PolicyEntry.for_file(at=AT, name="policy.md", data=data)
    assert [(each.part, each.parts) for each in parts] == [(1, 3), (2, 3), (3, 3)]
    assert b"".join(decode_base64(each.data) for each in parts) == data
    assert all(len(each.to_bytes()) < ENTRY_LIMIT for each in parts)


def test_a_start_that_names_no_epoch_is_of_the_first() -> None:
    from sealwright.statements.canonical import canonical_bytes, parse_json

    entry = StartEntry(at=AT, pki="0" * 64, mode="REHEARSAL", version="0", epoch=3)
    whole = parse_json(entry.to_bytes(), 1 << 16)
    assert whole.pop("epoch") == 3
    older = parse_entry(canonical_bytes(whole))
    assert isinstance(older, StartEntry)
    assert older.epoch == 1
