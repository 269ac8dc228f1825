"""The day that a production ceremony was prepared for, and how far from it the clock may be. It reads no clock."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.prepared import Plan
from sealwright.errors import PolicyViolation

EARLIEST, LATEST = timedelta(days=1), timedelta(days=30)
_GRACE = timedelta(hours=1)
"""Between a look at the clock, before anything is written, and the line that is then written."""


def check_when(plan: Plan, now: datetime, grace: timedelta = timedelta(0)) -> None:
    """CER-WHEN: dates were fixed for a certain day; a ceremony long before or after it would certify another time."""
    at = parse_time(plan.at, "prepared.json")
    if not at - EARLIEST <= now <= at + LATEST + grace:
        raise PolicyViolation(
            f"it is {format_time(now)}, and this ceremony was prepared for {format_time(at)}; wanted at most "
            f"{EARLIEST.days} day before or {LATEST.days} days after",
            rule="CER-WHEN",
            hint="is the clock right? Otherwise prepare again, for today",
        )


def check_recorded(plan: Plan, entries: Iterable[Mapping[str, Any]]) -> None:
    """The same rule, of a record: whenever it was begun, or gone on with."""
    for entry in entries:
        if entry["entry"] in ("header", "resumed"):
            check_when(plan, parse_time(entry["at"], "transcript.jsonl"), _GRACE)
