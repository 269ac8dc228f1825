"""A calendar as calendar programs read it: RFC 5545, one event for each duty's last moment, an alarm where it begins.

An event keeps its UID from one calendar to the next, and its SEQUENCE grows with the register: importing the next
calendar moves the events of the last one.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

from sealwright import __version__
from sealwright.ceremony.calendar import Calendar, Duty

_LINE_OCTETS = 75  # RFC 5545 3.1, without the line break


def write_icalendar(calendar: Calendar, now: datetime) -> bytes:
    """The VCALENDAR, UTF-8. ``now`` is its DTSTAMP."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:-//Sealwright//sealwright-ceremony {__version__}//EN",
        "CALSCALE:GREGORIAN",
    ]
    for duty in calendar.duties:
        lines += _event(duty, calendar, now)
    lines.append("END:VCALENDAR")
    return "".join(fold(line) for line in lines).encode()


def _event(duty: Duty, calendar: Calendar, now: datetime) -> Iterator[str]:
    uid = hashlib.sha256(f"{calendar.anchor.pki_id} {duty.key}".encode()).hexdigest()[:32]
    mark = "REHEARSAL: " if calendar.anchor.mode == "REHEARSAL" else ""
    steps = f" Ceremonies: {', '.join(duty.ceremonies)}." if duty.ceremonies else ""
    yield "BEGIN:VEVENT"
    yield f"UID:{uid}@sealwright"
    yield f"DTSTAMP:{_time(now)}"
    yield f"SEQUENCE:{calendar.version}"
    yield f"DTSTART:{_time(duty.last)}"
    yield f"SUMMARY:{escape(mark + duty.what)}"
    yield f"DESCRIPTION:{escape(f'{duty.what}. Why: {duty.why}.{steps}')}"
    yield "TRANSP:TRANSPARENT"
    yield "BEGIN:VALARM"
    yield "ACTION:DISPLAY"
    yield f"TRIGGER;VALUE=DATE-TIME:{_time(duty.begin)}"
    yield f"DESCRIPTION:{escape(mark + duty.what)}"
    yield "END:VALARM"
    yield "END:VEVENT"


def escape(text: str) -> str:
    """A TEXT value (RFC 5545 3.3.11). Control characters have no place in one."""
    kept = "".join(each for each in text if each == "\n" or each.isprintable())
    return kept.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def fold(line: str) -> str:
    """One content line, in pieces of 75 octets at most, never within a character (RFC 5545 3.1)."""
    pieces, piece, octets = [], "", 0
    for each in line:
        width = len(each.encode())
        if octets + width > _LINE_OCTETS:
            pieces.append(piece)
            piece, octets = "", 1  # the blank that a continuation begins with
        piece, octets = piece + each, octets + width
    return "\r\n ".join([*pieces, piece]) + "\r\n"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
