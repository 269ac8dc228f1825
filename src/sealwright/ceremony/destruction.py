"""``destruction.toml``: that a root's key is destroyed, why, and which tokens with it are lost. And whether it may be.

After its destruction nothing that the root issued can be revoked any more, and no CRL follows the last one. So every
certificate in the register has expired, or is revoked; and while a revoked one would still be valid the last CRL says
so: a verifier that knows no newer one, and goes on all the same, would otherwise take it again (RFC 5280 3.3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from sealwright.ceremony.clock import format_time
from sealwright.ceremony.custody import RegisteredCopy, SealNumber
from sealwright.ceremony.officers import OfficerName
from sealwright.ceremony.prepared import SHA256, Time
from sealwright.ceremony.register import Register
from sealwright.ceremony.toml import parse
from sealwright.errors import PolicyViolation
from sealwright.pki.tomlfile import Table

ORIGINAL = "root"
"""The script's name for the token on which the key was made; the others are ``copy``, ``copy-2``, ..."""


class Lost(Table):
    """A token that cannot be here: the original, or the copy under this ``seal``."""

    what: Literal["original", "copy"]
    seal: SealNumber | None = None
    since: Time
    why: Annotated[str, Field(min_length=1, max_length=400)]


class _DestructionFile(Table):
    root_sha256: SHA256
    decided_by: Annotated[tuple[OfficerName, ...], Field(min_length=1, max_length=16)]
    why: Annotated[str, Field(min_length=1, max_length=600)]
    lost: Annotated[tuple[Lost, ...], Field(max_length=10)] = ()


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What became of a token: its key destroyed by itself, the token erased and gone, or both."""

    token_serial: str
    destroyed: bool
    erased: bool


@dataclass(frozen=True, slots=True)
class Destruction:
    """A decision that could be read."""

    root_sha256: str
    decided_by: tuple[str, ...]
    why: str
    lost: tuple[Lost, ...]

    @property
    def original_is_lost(self) -> bool:
        return any(each.what == "original" for each in self.lost)

    def present(self, register: Register) -> tuple[RegisteredCopy, ...]:
        """The registered copies that are not declared lost."""
        seals = {each.seal for each in self.lost}
        return tuple(copy for copy in register.copies if copy.custody.seal not in seals)


def parse_destruction(data: bytes) -> Destruction:
    """Raises ``InputError`` naming the field."""
    hint = "ceremonies/key-destruction/README.md shows one, field by field"
    file = parse(data, _DestructionFile, source="destruction.toml", hint=hint)
    return Destruction(file.root_sha256, file.decided_by, file.why, file.lost)


def token_names(destruction: Destruction, register: Register) -> tuple[str, ...]:
    """The tokens that the script has to have: one for each that still exists."""
    copies = len(destruction.present(register))
    names = [] if destruction.original_is_lost else [ORIGINAL]
    return (*names, *(f"copy-{number}" if number > 1 else "copy" for number in range(1, copies + 1)))


def accept_destruction(
    destruction: Destruction, register: Register, *, root_sha256: str, tokens: tuple[str, ...], at: datetime
) -> None:
    """CER-DESTROY, CER-COPIES, CER-DEPENDS, CER-CRL-COVERS. That the CRL is the register's last is ``acceptance``'s."""
    if register.root.sha256 != root_sha256:
        raise PolicyViolation("register.json is of another root than root.pem", rule="CER-REGISTER")
    if destruction.root_sha256 != root_sha256:
        raise PolicyViolation(
            f"root.pem has SHA-256 {root_sha256}; the decision names {destruction.root_sha256}",
            rule="CER-DESTROY",
            hint="the decision is made again, and agreed to again",
        )
    for wrong in _wrong_losses(destruction, register):
        raise PolicyViolation(wrong, rule="CER-COPIES", hint="every token with the key is here, or declared lost")
    wanted = token_names(destruction, register)
    if not wanted:
        raise PolicyViolation(
            "every token with the key is declared lost: nothing is left to destroy", rule="CER-COPIES"
        )
    if sorted(tokens) != sorted(wanted):
        raise PolicyViolation(
            f"the script has the tokens {', '.join(tokens)}; by the register and the declared losses there are "
            f"{', '.join(wanted)}",
            rule="CER-COPIES",
            hint="`new key-destruction --from` writes the script for those that there are",
        )
    now = format_time(at)
    for each in (*register.certificates, *register.delegates):
        if each.not_after > now and each.revoked is None:
            raise PolicyViolation(
                f"{each.subject} (serial {each.serial}) is valid until {each.not_after} and not revoked: nobody could "
                "revoke it any more",
                rule="CER-DEPENDS",
                hint="wait until it has expired, or revoke it first",
            )
        if each.not_after > now and each.not_after > register.crl.next_update:
            raise PolicyViolation(
                f"{each.subject} (serial {each.serial}) is revoked and would be valid until {each.not_after}; the last "
                f"CRL ends at {register.crl.next_update}",
                rule="CER-CRL-COVERS",
                hint="wait until a root CRL covers the rest of its life, and destroy the key then",
            )


def _wrong_losses(destruction: Destruction, register: Register) -> Iterator[str]:
    seals = {copy.custody.seal for copy in register.copies}
    named = [each.seal or "the original" for each in destruction.lost]
    for each in destruction.lost:
        if (each.what == "copy") != (each.seal is not None):
            yield "a lost copy is named by its seal, and the original has none"
        elif each.seal is not None and each.seal not in seals:
            yield f"the register has no copy under the seal {each.seal}"
    if len(set(named)) != len(named):
        yield "a token is declared lost twice"
