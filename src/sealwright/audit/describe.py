"""Entries as rows: what ``audit show`` and ``audit search`` print, and what goes into CSV.

Says what entries say. Whether it is true is ``verify``'s.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, assert_never

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
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.wire import format_time

COLUMNS: Final = ("entry", "at", "type", "serial", "team", "project", "people", "rule", "request", "says")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Every condition that is given has to hold."""

    kind: str | None = None
    person: str | None = None
    team: str | None = None
    rule: str | None = None
    serial: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __call__(self, row: Mapping[str, Any], at: datetime) -> bool:
        return (
            self.kind in (None, row["type"])
            and (self.person is None or self.person in row["people"])
            and self.team in (None, row["team"])
            and self.rule in (None, row["rule"])
            and (self.serial is None or self.serial in str(row["serial"]).split())
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )


def find_rows(entries: Iterable[bytes], wanted: Wanted) -> Iterator[Row]:
    """The rows of those entries that are wanted, in order. Raises ``InputError`` for one that cannot be read."""
    about: dict[str, Row] = {}
    for index, data in enumerate(entries):
        entry = parse_entry(data)
        row = _row(index, entry, about)
        if isinstance(entry, IntentEntry):
            about[entry.serial] = row
        if wanted(row, entry.at):
            yield row


def find_entries(entries: Iterable[bytes], key: str) -> Iterator[tuple[int, Entry]]:
    """By place, by serial, or by a request's id or SHA-256: every entry that is about it."""
    by_place = key.isascii() and key.isdecimal() and len(key) <= 10
    serials: set[str] = set()
    for index, data in enumerate(entries):
        entry = parse_entry(data)
        if by_place:
            found = index == int(key)
        else:
            named = getattr(entry, "serials", None) or (getattr(entry, "serial", ""),)
            if isinstance(entry, IntentEntry) and entry.order is not None:
                request = entry.order.request
                if key in (request.sha256, request.statement.get("id")):
                    serials.add(entry.serial)
            if isinstance(entry, DenialEntry) and key in (entry.request.sha256, entry.request.statement.get("id")):
                yield index, entry
                continue
            found = any(serial and (serial == key.lower() or serial in serials) for serial in named)
        if found:
            yield index, entry


def _row(index: int, entry: Entry, about: Mapping[str, Row]) -> Row:  # noqa: PLR0912, PLR0915  # one case for each kind
    row: Row = dict.fromkeys(COLUMNS, "")
    row |= {"entry": index, "at": format_time(entry.at), "type": entry.type, "people": ()}
    match entry:
        case StartEntry():
            row["says"] = f"{entry.mode}, version {entry.version}"
        case RosterEntry():
            statement = entry.roster.statement
            row["people"] = (str(statement.get("person")),)
            row["says"] = f"version {statement.get('version')}, {len(entry.roster.signatures)} signatures"
        case PolicyEntry():
            row["says"] = f"{entry.name} {entry.sha256[:16]}… part {entry.part} of {entry.parts}"
        case IntentEntry():
            row |= {"serial": entry.serial, "says": f"profile {entry.profile}, by the standing order"}
            if entry.order is not None:
                request = entry.order.request.statement
                row |= {name: str(request.get(name)) for name in ("team", "project")}
                signers = (request, *(each.statement for each in entry.order.decisions))
                row["people"] = tuple(str(each.get("person")) for each in signers)
                row["request"] = entry.order.request.sha256
                row["says"] = f"profile {entry.profile}"
        case CertificateEntry():
            row |= _of(entry.serial, about) | {"says": f"as reserved at entry {entry.intent}"}
        case RevocationRecord():
            row |= _of_several(entry.serials, about)
            row["says"] = f"{entry.reason or entry.cause}, from {format_time(entry.revocation_date)}"
            if entry.order is not None:
                row["people"] = _signers(entry.order)
        case CorrectionRecord():
            row |= _of_several(entry.serials, about)
            row["says"] = f"now {entry.reason}, from {format_time(entry.revocation_date)}"
            row["people"] = _signers(entry.order)
        case LossEntry():
            said = entry.loss.statement
            row["people"] = (str(said.get("person")),)
            row["says"] = f"declared lost: what followed entry {said.get('size')}, up to {said.get('lost_size')}"
        case TokenEntry():
            row["says"] = f"token {entry.token} {entry.event}: {entry.reason}"
        case ClockEntry():
            row["says"] = f"it was {format_time(entry.before)}; an operator said {format_time(entry.said)}"
        case SuspensionEntry():
            statement = entry.suspension.statement
            row["people"] = (str(statement.get("person")), str(statement.get("suspended")))
            row["says"] = f"{statement.get('suspended')} is suspended"
        case CRLIntentEntry():
            row["says"] = f"{_crl(entry)}, until {format_time(entry.next_update)}"
        case CRLEntry():
            row["says"] = f"{_crl(entry)}, {entry.size} octets, {entry.sha256[:16]}…"
        case DenialEntry():
            row |= _denial(entry)
        case RefusalEntry():
            row |= {"rule": entry.rule, "says": f"{entry.call}: {entry.message}"}
        case _:
            assert_never(entry)
    return row


def _denial(entry: DenialEntry) -> Row:
    asked, said = entry.request.statement, entry.decision.statement
    people = tuple(str(each.get("person")) for each in (asked, said))
    comment = f": {said['comment']}" if said.get("comment") else ""
    return {name: str(asked.get(name)) for name in ("team", "project")} | {
        "people": people,
        "request": entry.request.sha256,
        "says": f"{'withdrawn' if people[0] == people[1] else 'denied'} by {people[1]}{comment}",
    }


def _of(serial: str, about: Mapping[str, Row]) -> Row:
    known = about.get(serial, {})
    return {"serial": serial} | {
        name: known[name] for name in ("team", "project", "people", "request") if name in known
    }


def _of_several(serials: tuple[str, ...], about: Mapping[str, Row]) -> Row:
    row = _of(serials[0], about) if serials else {}
    return row | {"serial": " ".join(serials)}


def _signers(order: RevocationOrder) -> tuple[str, ...]:
    signed = (order.revocation, *((order.countersignature,) if order.countersignature else ()))
    return tuple(str(each.statement.get("person")) for each in signed)


def to_csv(rows: Iterable[Row]) -> Iterator[str]:
    """Lines of RFC 4180. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    for values in (COLUMNS, *([_cell(row[name]) for name in COLUMNS] for row in rows)):
        line = io.StringIO()
        csv.writer(line, lineterminator="\r\n").writerow(values)
        yield line.getvalue()


def _cell(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def _crl(entry: CRLIntentEntry | CRLEntry) -> str:
    return f"partition {entry.scope}, number {entry.number}" if entry.scope else f"number {entry.number}"
