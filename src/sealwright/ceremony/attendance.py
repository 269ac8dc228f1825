"""Who is in the room: one person for each role, and a quorum of officers by name.

Nobody is two of them, but for an officer whom the script lets lead or handle the token too (``may_be_officer``): a
team of three has no more people. Whoever watches is never one of those who act.
"""

import re

from sealwright.ceremony.act import Act
from sealwright.ceremony.officers import Officers
from sealwright.ceremony.room import Question
from sealwright.ceremony.script import Role
from sealwright.errors import PolicyViolation
from sealwright.statements.ssh import parse_public_key

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def ask_who_is_here(act: Act, roles: tuple[Role, ...]) -> None:
    """Ask for these roles in their order, and remember who it is. After an interruption it is asked again."""
    for role in roles:
        taken = frozenset(
            name
            for other, people in act.state.present.items()
            if other != role and not _may_be_one_person(act, role, other)
            for name in people
        )
        if role is Role.OFFICER:
            question = _who_officers(act.materials.officers(), taken)
        else:
            question = _who_is_the(role, taken, officer_too=_may_be_one_person(act, role, Role.OFFICER))
        act.state.present[role] = _names(act.ask(question))
        if act.state.version > 1:
            _record_presence(role, act)


def _record_presence(role: Role, act: Act) -> None:
    """With the witness's own key: officers' are in the anchor, and a witness is somebody else each time."""
    people = act.state.present[role]
    key = act.room.people.own_key(people[0], required=not act.materials.rehearsal) if role is Role.WITNESS else None
    if key is not None and parse_public_key(key).identity in _identities(act):
        raise PolicyViolation(f"the witness {people[0]} has an officer's key", rule="CER-ROLES")
    if role is Role.WITNESS and key is None and not act.materials.rehearsal:
        raise PolicyViolation(f"the witness {people[0]} brought no key", rule="CER-UNSIGNED")
    act.record("present", {"role": role, "people": list(people)}, {"key": key})
    if key is not None:
        act.room.people.tell(f"{people[0]} will sign as {parse_public_key(key)}.")


def _identities(act: Act) -> frozenset[str]:
    return frozenset(parse_public_key(line).identity for line in act.materials.officers().keys.values())


def _may_be_one_person(act: Act, role: Role, other: Role) -> bool:
    duties = {duty.role: duty for duty in act.materials.script.file.roles}
    others = {role, other} - {Role.OFFICER}
    return Role.OFFICER in (role, other) and all(duties[each].may_be_officer for each in others)


def _who_officers(officers: Officers, taken: frozenset[str]) -> Question:
    known = frozenset(officers.keys) - taken
    quorums = (f"{each.threshold} or more of {', '.join(sorted(known & set(each.keys)))}" for each in officers.boards)
    wanted = f"{', and '.join(quorums)}, with commas between them"

    def accepts(text: str) -> bool:
        names = _names(text)
        return len(set(names)) == len(names) and set(names) <= known and officers.lacking(names) <= 0

    first = {name for each in officers.boards for name in [one for one in each.keys if one in known][: each.threshold]}
    rehearsed = ", ".join(name for name in officers.keys if name in first)
    return Question(Role.OFFICER, f"Which officers are here? {wanted}", accepts, rehearsed, wanted)


def _who_is_the(role: Role, taken: frozenset[str], *, officer_too: bool) -> Question:
    def accepts(text: str) -> bool:
        names = _names(text)
        return len(names) == 1 and not set(names) & taken

    return Question(
        role,
        f"Who is the {role}? One short name in lower-case letters",
        accepts,
        f"rehearsal-{role}",
        "one name, of somebody who has no other role here" + (", or of an officer" if officer_too else ""),
    )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    return names if all(_NAME.fullmatch(name) for name in names) else ()
