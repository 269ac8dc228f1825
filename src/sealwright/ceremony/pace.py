"""How long a ceremony is meant to take: what a step says of itself (``minutes``), or what its action takes by habit.

Only for people: nothing is refused for being slow.
"""

from collections.abc import Iterable

from sealwright.ceremony.script import Script, Step

HANDS = frozenset(
    {
        "inspect-token",
        "inspect-new-token",
        "initialise-token",
        "clone-token",
        "check-custody",
        "destroy-key",
        "prove-destroyed",
        "erase-token",
        "change-pins",
        "prove-old-useless",
        "take-census",
        "open-token",
        "generate-key",
        "sign-certificate",
        "sign-crl",
        "sign-request",
        "sign-answers",
        "close-token",
        "promote",
    }
)
"""Steps that touch a token, or cannot be taken back: before them the room waits until everybody is ready."""

_MINUTES = {
    "attendance": 5,
    "verify-inputs": 5,
    "compare-second-channel": 5,
    "compare-with-old": 5,
    "inspect-token": 3,
    "inspect-new-token": 3,
    "consent": 2,
    "share-pin": 20,
    "initialise-token": 2,
    "prove-quorums": 15,
    "clone-token": 10,
    "check-custody": 3,
    "record-custody": 5,
    "decide-destruction": 8,
    "prove-destroyed": 4,
    "erase-token": 5,
    "collect-old-shares": 5,
    "change-pins": 3,
    "prove-old-useless": 2,
    "void-old-shares": 3,
    "take-census": 5,
    "open-token": 3,
    "announce": 4,
    "build-path": 2,
    "close-token": 3,
    "close": 5,
}


def planned_minutes(steps: Iterable[Step]) -> int:
    """Of these steps together."""
    return sum(step.minutes or _MINUTES.get(step.action, 1) for step in steps)


def planned_until(script: Script, number: int) -> int:
    """Minutes from the beginning to the end of step ``number``, from 1."""
    return planned_minutes(script.steps[:number])
