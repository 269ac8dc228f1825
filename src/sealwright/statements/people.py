"""Who a roster knows: officers and people, each with their keys. A key belongs to one human being.

An officer may also stand among the people, under the same name and with the officer's key among that person's keys.
Every other repetition of a name or a key is refused: separation of duties counts people and keys.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sealwright.errors import InputError, PolicyViolation
from sealwright.statements.kinds import OfficerEntry, PersonEntry, Role
from sealwright.statements.ssh_keys import SSHPublicKey, parse_public_key

SMALLEST_THRESHOLD: Final = 2
"""No officer alone decides who the people are."""


@dataclass(frozen=True, slots=True)
class Officer:
    name: str
    key: SSHPublicKey


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    keys: tuple[SSHPublicKey, ...]
    roles: frozenset[Role]
    teams: tuple[str, ...]
    groups: frozenset[str] = frozenset()

    def may(self, role: Role, team: str) -> bool:
        return role in self.roles and team in self.teams


def parse_officers(entries: Iterable[OfficerEntry], threshold: int) -> tuple[Officer, ...]:
    """ROSTER-KEY, ROSTER-DUPLICATE-PERSON, ROSTER-DUPLICATE-KEY, ROSTER-THRESHOLD."""
    officers = tuple(Officer(each.name, parse_line(each.key, each.name)) for each in entries)
    check_once((each.name for each in officers), "officer", "ROSTER-DUPLICATE-PERSON")
    check_once((each.key.identity for each in officers), "key among the officers", "ROSTER-DUPLICATE-KEY")
    if not SMALLEST_THRESHOLD <= threshold <= len(officers):
        raise PolicyViolation(
            f"threshold is {threshold} of {len(officers)} officers;"
            f" wanted {SMALLEST_THRESHOLD} or more, and no more than there are officers",
            rule="ROSTER-THRESHOLD",
            hint="three officers with a threshold of two survive the loss of one key",
        )
    return officers


def parse_people(entries: Iterable[PersonEntry], officers: tuple[Officer, ...]) -> tuple[Person, ...]:
    """ROSTER-EMPTY, ROSTER-ROLE, ROSTER-MACHINE, ROSTER-KEY, ROSTER-DUPLICATE-PERSON, ROSTER-DUPLICATE-KEY."""
    people = tuple(_person(each) for each in entries)
    check_once((each.name for each in people), "person", "ROSTER-DUPLICATE-PERSON")
    check_once((key.identity for each in people for key in each.keys), "key among the people", "ROSTER-DUPLICATE-KEY")
    owners = {key.identity: each.name for each in people for key in each.keys}
    names = {each.name for each in people}
    for officer in officers:
        owner = owners.get(officer.key.identity)
        if owner not in {None, officer.name}:
            raise PolicyViolation(
                f"the key of officer {officer.name!r} is also the key of {owner!r}",
                rule="ROSTER-DUPLICATE-KEY",
                hint="a key belongs to one human being",
            )
        if any(each.name == officer.name and Role.MACHINE in each.roles for each in people):
            raise PolicyViolation(f"officer {officer.name!r} is a machine", rule="ROSTER-MACHINE")
        if officer.name in names and owner is None:
            raise PolicyViolation(
                f"officer {officer.name!r} also stands among the people, without the officer's key",
                rule="ROSTER-DUPLICATE-PERSON",
                hint="one name is one human being: add the officer's key to that person, or change the name",
            )
    return people


def _person(entry: PersonEntry) -> Person:
    if not entry.keys or not entry.roles:
        raise PolicyViolation(f"person {entry.name!r} has no key or no role", rule="ROSTER-EMPTY")
    check_once(entry.roles, f"role of {entry.name!r}", "ROSTER-ROLE")
    check_once(entry.groups, f"group of {entry.name!r}", "ROSTER-ROLE")
    if Role.MACHINE in entry.roles and len(entry.roles) > 1:
        raise PolicyViolation(
            f"{entry.name!r} is a machine and {', '.join(entry.roles)}; a machine asks, and does nothing else",
            rule="ROSTER-MACHINE",
        )
    return Person(
        entry.name,
        tuple(parse_line(line, entry.name) for line in entry.keys),
        frozenset(Role(role) for role in entry.roles),
        entry.teams,
        frozenset(entry.groups),
    )


def parse_line(line: str, owner: str) -> SSHPublicKey:
    try:
        return parse_public_key(line)
    except InputError as error:
        raise PolicyViolation(f"key of {owner!r}: {error.message}", rule="ROSTER-KEY", hint=error.hint) from None


def check_once(values: Iterable[str], what: str, rule: str) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise PolicyViolation(f"the {what} {value!r} stands twice", rule=rule)
        seen.add(value)
