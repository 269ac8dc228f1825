"""The part of a code-signing profile about people, times and numbers: who has to agree, when not, how many live.

Data, and the checks that it is not empty or contradictory. A team's own table and the emergency path only ever want
more than the profile does. Who the people are is the roster's; judging an order by this is ``statements``'.

  PROFILE-APPROVALS PROFILE-GROUPS PROFILE-TEAM PROFILE-EMERGENCY PROFILE-BLACKOUT PROFILE-LIVE PROFILE-KEY-LOCATION
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field

from sealwright.errors import PolicyViolation
from sealwright.pki.settings import Identifier, Text
from sealwright.pki.tomlfile import Table

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

Count = Annotated[int, Field(ge=0, le=16)]
Groups = dict[Identifier, Annotated[int, Field(ge=1, le=16)]]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class EmergencyTable(Table):
    approvals: Count
    groups: Groups = Field(default_factory=dict)


class TeamTable(Table):
    approvals: Count
    groups: Groups = Field(default_factory=dict)
    live_certificates: Annotated[int, Field(ge=0)]


class BlackoutTable(Table):
    begins: Moment
    ends: Moment
    reason: Text


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """So many people besides the requester; of them, so many from each group. One person counts for one group."""

    approvals: int
    groups: Mapping[str, int] = field(default_factory=dict)

    def covers(self, other: "ApprovalRule") -> bool:
        """Whether this wants all that ``other`` wants."""
        more = all(self.groups.get(group, 0) >= count for group, count in other.groups.items())
        return more and self.approvals >= other.approvals

    def __str__(self) -> str:
        parts = ", ".join(f"{count} of group {group}" for group, count in sorted(self.groups.items()))
        return f"{self.approvals}{f' ({parts})' if parts else ''}"


@dataclass(frozen=True, slots=True)
class Blackout:
    begins: datetime
    ends: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class TeamRule:
    approval: ApprovalRule
    live_certificates: int


@dataclass(frozen=True, slots=True)
class ApprovalPolicy:
    """A profile's rules about people. ``everybody`` is for teams without a table of their own."""

    everybody: TeamRule
    teams: Mapping[str, TeamRule]
    emergency: ApprovalRule | None
    blackouts: tuple[Blackout, ...]

    def of(self, team: str) -> TeamRule:
        return self.teams.get(team, self.everybody)

    def blackout_at(self, moment: datetime) -> Blackout | None:
        return next((each for each in self.blackouts if each.begins <= moment < each.ends), None)

    @property
    def groups(self) -> Mapping[str, int]:
        """Every group that is named anywhere, with the most people that are wanted from it."""
        rules = [self.everybody.approval, *(each.approval for each in self.teams.values())]
        rules += [self.emergency] if self.emergency else []
        names = {group for rule in rules for group in rule.groups}
        return {group: max(rule.groups.get(group, 0) for rule in rules) for group in sorted(names)}


def draft_policy(
    source: str,
    everybody: TeamRule,
    teams: Mapping[str, TeamTable],
    emergency: EmergencyTable | None,
    blackouts: tuple[BlackoutTable, ...],
) -> ApprovalPolicy:
    """Raises ``PolicyViolation`` for what is empty or contradicts itself."""
    _check_rule(source, everybody.approval)
    own = {}
    for name, table in teams.items():
        rule = TeamRule(ApprovalRule(table.approvals, table.groups), table.live_certificates)
        _check_rule(f"{source}: team {name}", rule.approval)
        if not rule.approval.covers(everybody.approval) or rule.live_certificates > everybody.live_certificates:
            raise PolicyViolation(
                f"{source}: team {name} wants {rule.approval} approvals and may hold {rule.live_certificates} live"
                f" certificates; the profile wants {everybody.approval}, and {everybody.live_certificates} at most",
                rule="PROFILE-TEAM",
                hint="a team's table is stricter than the profile, never laxer",
            )
        own[name] = rule
    if any(rule.live_certificates < 1 for rule in (everybody, *own.values())):
        raise PolicyViolation(f"{source}: a team may hold no live certificate at all", rule="PROFILE-LIVE")
    return ApprovalPolicy(
        everybody, own, _check_emergency(source, emergency, (everybody, *own.values())), _blackouts(source, blackouts)
    )


def _check_rule(source: str, rule: ApprovalRule) -> None:
    if rule.approvals < 1:
        raise PolicyViolation(
            f"{source}: approvals is {rule.approvals}; wanted 1 or more: no certificate by one person alone",
            rule="PROFILE-APPROVALS",
        )
    if sum(rule.groups.values()) > rule.approvals:
        raise PolicyViolation(
            f"{source}: the groups want {sum(rule.groups.values())} people, and approvals is {rule.approvals}",
            rule="PROFILE-GROUPS",
            hint="a person counts for one group: approvals is at least the sum of the groups",
        )


def _check_emergency(source: str, table: EmergencyTable | None, rules: tuple[TeamRule, ...]) -> ApprovalRule | None:
    if table is None:
        return None
    emergency = ApprovalRule(table.approvals, table.groups)
    _check_rule(f"{source}: emergency", emergency)
    for rule in rules:
        if not (emergency.covers(rule.approval) and emergency.approvals > rule.approval.approvals):
            raise PolicyViolation(
                f"{source}: an emergency wants {emergency} approvals, and an ordinary request {rule.approval}",
                rule="PROFILE-EMERGENCY",
                hint="an emergency needs more people, not fewer",
            )
    return emergency


def _blackouts(source: str, tables: tuple[BlackoutTable, ...]) -> tuple[Blackout, ...]:
    blackouts = []
    for table in tables:
        try:
            begins, ends = (
                datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC) for text in (table.begins, table.ends)
            )
        except ValueError:
            begins = ends = datetime.min.replace(tzinfo=UTC)
        if begins >= ends:
            raise PolicyViolation(
                f"{source}: a blackout is from {table.begins} to {table.ends}; wanted two moments, the first before the"
                " second",
                rule="PROFILE-BLACKOUT",
            )
        blackouts.append(Blackout(begins, ends, table.reason))
    return tuple(blackouts)
