"""How a token is opened: ``pin`` (from a file or a prompt), ``shamir`` (shares of holders), ``external`` (a PIN pad).

Here is what people do for it, recorded; what the token does is in ``tokens``. Of a share the record has its holder and
its number, never a word and never a hash. Shares are in memory only: after an interruption they are typed again.
"""

from collections.abc import Iterable

from sealwright.ceremony.act import TRIES, Act
from sealwright.ceremony.holders import Which
from sealwright.ceremony.pins import OLD
from sealwright.ceremony.room import SecretQuestion
from sealwright.ceremony.script import Role
from sealwright.errors import InputError, PolicyViolation


def make_ready(token: str, act: Act) -> None:
    """Everything that the login will take, after its intent and before ``C_Login`` is called."""
    if act.state.activation.get(token) == "shamir":
        collect(token, "user", act.state.present[Role.OFFICER], act)


def collect(token: str, which: Which, holders: Iterable[str], act: Act, *, name: str = "") -> None:
    """Shares, typed one by one, until there are enough, right before they are used.

    ``name``: what a new token will be called. Raises ``PolicyViolation`` (CER-SHARES) when there never are enough.
    """
    people = tuple(holders)
    while not _collected(token, which, people, act, name or token):
        pass  # interrupted, and what was typed is gone with the process


def _collected(token: str, which: Which, holders: tuple[str, ...], act: Act, name: str) -> bool:
    act.room.tokens.forget_shares(token, which)
    mine = act.state.interruptions
    for holder in holders:
        missing = _take_share(token, which, holder, act, mine, name)
        if mine != act.state.interruptions:
            return False
        if missing == 0:
            act.room.journal.interrupted()
            return mine == act.state.interruptions
    raise PolicyViolation(
        f"{len(holders)} shares of the {which} PIN of the token {token} are not enough",
        rule="CER-SHARES",
        hint="no PIN was tried; come back with more holders",
    )


def _whose(token: str) -> str:
    return "your OLD share" if token.startswith(OLD) else "your share"


def _take_share(token: str, which: Which, holder: str, act: Act, mine: int, name: str) -> int:
    """How many are missing after this one. Three tries, each recorded, and none of them reaches the token."""
    for attempt in range(1, TRIES + 1):
        act.room.journal.interrupted()
        if mine != act.state.interruptions:
            return 1
        question = SecretQuestion(
            holder,
            f"{holder}: {_whose(token)} of the {which} PIN of the token {token.removeprefix(OLD)}, all its words. "
            "Everybody else looks away",
            act.room.tokens.rehearsed_share(name, which, holder),
        )
        typed = act.room.people.ask_secret(question)
        try:
            number, missing = act.room.tokens.take_share(token, which, typed)
        except InputError as error:
            number, missing = 0, 1
            act.room.people.tell(f"That is not it: {error.message}.")
        act.record(
            "share",
            {"token": token, "which": which, "holder": holder, "try": attempt, "accepted": number > 0},
            {"number": number, "missing": missing},
        )
        if number:
            return missing
    raise PolicyViolation(
        f"{holder} gave {TRIES} shares that were none",
        rule="CER-SHARES",
        hint="no PIN was tried, so the token has counted nothing; look at the paper again, and begin again",
    )
