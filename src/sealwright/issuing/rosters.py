"""What officers sign, a roster or a suspension: checked against the anchor and the roster in force, then recorded.

With a roster go the files that it pins, each once: so the ledger alone says by which policy an order was judged.
"""

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sealwright.errors import PolicyViolation
from sealwright.issuing.authority import IssuingAuthority
from sealwright.ledger.entries import PolicyEntry, RosterEntry, SuspensionEntry
from sealwright.points import Point, reached
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.suspensions import suspend


def publish_roster(authority: IssuingAuthority, arguments: Mapping[str, Any]) -> VerifiedRoster:
    """Put a roster in force. Raises ``PolicyViolation`` (ROSTER-...) when it may not be."""
    signed = SignedStatement.parse(arguments["roster"])
    with authority.lock:
        now = authority.time_for_revocation()
        roster = check_roster(signed, anchor=authority.installed.anchor, previous=authority.roster, now=now)
        authority.policy(roster)
        _check_authority(authority, roster)
        reached(Point.ROSTER_JUDGED)
        authority.record(*_new_policy(authority, roster, now), RosterEntry(at=now, roster=signed))
        reached(Point.ROSTER_DURABLE)
        authority.roster = roster
        return roster


def suspend_person(authority: IssuingAuthority, arguments: Mapping[str, Any]) -> VerifiedRoster:
    """Take a person away at once, by one officer's word. Raises ``PolicyViolation`` (SUSPEND-...)."""
    signed = SignedStatement.parse(arguments["suspension"])
    with authority.lock:
        now = authority.time_for_revocation()
        roster = suspend(signed, roster=authority.last_roster(), now=now)  # removal never waits for a new roster
        reached(Point.SUSPENSION_JUDGED)
        authority.record(SuspensionEntry(at=now, suspension=signed))
        reached(Point.SUSPENSION_DURABLE)
        authority.roster = roster
        return roster


def _new_policy(authority: IssuingAuthority, roster: VerifiedRoster, now: datetime) -> list[PolicyEntry]:
    """The pinned files that the ledger does not have yet."""
    files, pins = authority.installed.pinned_files(), roster.statement.pins
    wanted = [name for name in sorted(files) if (name, pins.get(name)) not in authority.index.policy]
    return [entry for name in wanted for entry in PolicyEntry.for_file(at=now, name=name, data=files[name])]


def _check_authority(authority: IssuingAuthority, roster: VerifiedRoster) -> None:
    """ROSTER-AUTHORITY: the officers signed for this issuing CA, this ledger key and this OCSP key, no others."""
    wanted = authority.authority_pins()
    for name, value in wanted.items():
        if not hmac.compare_digest(str(getattr(roster.authority, name)), value):
            raise PolicyViolation(
                f"the roster names another {name} than the one that is installed here",
                rule="ROSTER-AUTHORITY",
                hint="make the draft with `sealwright roster edit` against this PKI",
            )
