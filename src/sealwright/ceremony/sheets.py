"""Sheets that people fill in by hand during a ceremony: who signs, which bag was opened, what is left at the end.

What stands on them is known before; what is written on them is nowhere else. How they become pages is ``pages``'s.
"""

from collections.abc import Iterable, Mapping, Sequence

from sealwright.ceremony import script as s
from sealwright.ceremony.officers import Officers
from sealwright.ceremony.pages import Block, heading, paragraph, table
from sealwright.ceremony.script import Role, RoleDuty

_WORD_ROWS = 8
"""A digest as it is read aloud: eight rows of four octets and their words."""
_SPARE_ROWS = 2


def signatures(people: Iterable[tuple[str, str]]) -> tuple[Block, ...]:
    """One row for each person: role, and the name where it is known."""
    rows = ((role, name, "", "") for role, name in people)
    return table(("role", "name", "date and time", "signature"), rows, style="room")


def everybody_wanted(duties: Sequence[RoleDuty], officers: Officers) -> tuple[tuple[str, str], ...]:
    """Before a ceremony: every officer that may come, by name, and whoever else is to have a role."""
    quorum = f"officer ({officers.threshold} of {len(officers.keys)})"
    rows: list[tuple[str, str]] = []
    for duty in duties:
        rows += [(quorum, name) for name in officers.keys] if duty.role is Role.OFFICER else [(describe(duty), "")]
    return tuple(rows)


def everybody_there(present: Mapping[str, Sequence[str]], duties: Sequence[RoleDuty]) -> tuple[tuple[str, str], ...]:
    """After it: those who were there, by the names that they gave."""
    return tuple((describe(duty), name) for duty in duties for name in present.get(duty.role, ("",)))


def describe(duty: RoleDuty) -> str:
    return f"{duty.role} (may be an officer as well)" if duty.may_be_officer else str(duty.role)


def bags_and_seals(script: s.Script) -> tuple[Block, ...]:
    """What is taken out of its bag and put back into one."""
    tokens = (f"token {name}" for name in script.tokens)
    content = ("machine", *tokens, "medium IN", "medium OUT", *[""] * _SPARE_ROWS)
    heads = ("content", "bag opened: number", "seal whole: two initials", "new bag: number", "sealed: time, initials")
    return (
        heading("Bags and seals", fresh=True),
        paragraph(
            "Read the number aloud, compare it with the last record, look at the seal before it is cut. A number that "
            "does not match ends the ceremony before it began."
        ),
        *table(heads, ((each, "", "", "", "") for each in content), style="room"),
    )


def left_at_the_end(script: s.Script) -> tuple[Block, ...]:
    """The head of the transcript, and the outputs' digests, as the witness copies them off the screen."""
    rows = ((str(row), "", "", "", "", "") for row in range(1, _WORD_ROWS + 1))
    return (
        heading("What the witness copies at the end", fresh=True),
        paragraph(
            "The head of the transcript, off the screen, before anybody leaves. Whoever prints the record later, or "
            "reads the head in the next ceremony's header, compares it with this page."
        ),
        *table(("row", "eight digits", "word", "word", "word", "word"), rows, style="room"),
        heading("Outputs"),
        *table(("file", "SHA-256, first and last eight digits"), ((name, "") for name in script.outputs), style="room"),
    )
