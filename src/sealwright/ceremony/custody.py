"""Who has a copy of a key: the holder, the bag and the seal; as the register keeps it.

A seal's number is there once in the world: one that the register has already is either a slip or another bag's. The
questions are asked in ``copying``.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import Field

from sealwright.ceremony.officers import OfficerName
from sealwright.ceremony.prepared import Time
from sealwright.errors import PolicyViolation
from sealwright.pki.tomlfile import Table

_NUMBER = r"[A-Za-z0-9][A-Za-z0-9-]{1,30}[A-Za-z0-9]"
SealNumber = Annotated[str, Field(pattern=rf"^{_NUMBER}\z")]


class Custody(Table):
    """``holder`` took it, in this ``bag`` under this ``seal``."""

    holder: OfficerName
    bag: SealNumber
    seal: SealNumber


class RegisteredCopy(Table):
    """``made``: when the ceremony took place that made it. ``token_serial``: a copied SoftHSM has its original's."""

    token_serial: Annotated[str, Field(min_length=1, max_length=16)]
    made: Time
    custody: Custody


def is_number(text: str) -> bool:
    """Of a bag or a seal, as it is printed on it."""
    return re.fullmatch(_NUMBER, text) is not None


def update_copies(
    copies: tuple[RegisteredCopy, ...],
    *,
    taken: Mapping[str, RegisteredCopy],
    custody: Mapping[str, Custody],
    serials: Mapping[str, str],
    at: str,
) -> tuple[RegisteredCopy, ...]:
    """The register's copies after a ceremony: those that came (``taken``) in their new bags, new ones at the end.

    All by the ceremony's names. CER-CUSTODY: a number that another bag or seal has.
    """
    new = {
        token: RegisteredCopy(
            token_serial=serials[token], made=taken[token].made if token in taken else at, custody=custody[token]
        )
        for token in custody
    }
    seen = set(used_numbers(copies))
    for copy in new.values():
        for number in (copy.custody.bag, copy.custody.seal):
            if number in seen:
                raise PolicyViolation(
                    f"the number {number} is of another bag or seal already",
                    rule="CER-CUSTODY",
                    hint="read the numbers again; every bag and every seal is used once",
                )
            seen.add(number)
    here = {copy.custody.seal: token for token, copy in taken.items()}
    kept = tuple(new.get(here.get(each.custody.seal, ""), each) for each in copies)
    return (*kept, *(copy for token, copy in new.items() if token not in taken))


def used_numbers(copies: Iterable[RegisteredCopy]) -> frozenset[str]:
    """Of bags and seals."""
    return frozenset(number for each in copies for number in (each.custody.bag, each.custody.seal))
