"""What a roster says, line by line, and what it changes: for officers, who sign for every word of it.

A key that was put in the place of another is one word among hundreds, and whoever drafts a roster may be a thief with
one officer's key. So every key is shown by its fingerprint, and what differs from the roster in force is shown apart.
Pure: both are statements, and whether they are signed is not asked here.
"""

from collections.abc import Iterator, Mapping

from sealwright.statements.kinds import RosterStatement
from sealwright.statements.ssh_keys import parse_public_key

Things = Mapping[str, Mapping[str, str]]


def list_officers(roster: RosterStatement) -> Things:
    return {each.name: {"key": _key(each.key)} for each in roster.officers}


def list_people(roster: RosterStatement) -> Things:
    return {
        each.name: {
            "roles": ", ".join(each.roles),
            "teams": ", ".join(each.teams) or "none",
            "groups": ", ".join(each.groups) or "none",
            "keys": ", ".join(map(_key, each.keys)) or "none",
        }
        for each in roster.people
    }


def list_changes(before: RosterStatement, after: RosterStatement) -> tuple[str, ...]:
    """Everything that ``after`` says otherwise than ``before``, its dates, version and author aside."""
    changes = [
        *_compare("officer", list_officers(before), list_officers(after)),
        *_compare("person", list_people(before), list_people(after)),
        *_compare("team", _teams(before), _teams(after)),
        *_compare("pin", _pins(before), _pins(after)),
        *_compare("", {"": _rest(before)}, {"": _rest(after)}),
    ]
    return tuple(changes)


def say(things: Mapping[str, str]) -> str:
    return "; ".join(f"{field} {value}" for field, value in things.items())


def _compare(what: str, old: Things, new: Things) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before is None or after is None:
            yield f"{what} {name} is {'new' if after else 'gone'}: {say(after or before or {})}"
            continue
        for field in after:
            if before[field] != after[field]:
                yield f"{what} {name}: {field} was {before[field]}, is {after[field]}".strip(" :")


def _teams(roster: RosterStatement) -> Things:
    return {each.name: {"projects": ", ".join(each.projects)} for each in roster.teams}


def _pins(roster: RosterStatement) -> Things:
    return {name: {"SHA-256": digest} for name, digest in roster.pins.items()}


def _rest(roster: RosterStatement) -> Mapping[str, str]:
    authority = roster.authority
    return {
        "PKI id": roster.pki,
        "threshold": str(roster.threshold),
        "issuing CA": authority.issuing_sha256,
        "ledger key": authority.ledger_key,
        "OCSP key": authority.ocsp_key,
    }


def _key(line: str) -> str:
    """Kind and fingerprint, as ``ssh-keygen -l`` shows it. Raises ``InputError`` for what is no key."""
    return str(parse_public_key(line))
