"""``shares.toml``: who will hold the shares of a token's two PINs, and how many of them open it.

The security officer's PIN can reset the user's: its quorum is at least as strong, and has other holders.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from sealwright.ceremony.officers import OfficerName, Officers
from sealwright.ceremony.shamir import Division
from sealwright.ceremony.toml import parse
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.tomlfile import Table
from sealwright.statements.canonical import canonical_bytes, parse_canonical

Which = Literal["user", "so"]


class _Group(Table):
    threshold: Annotated[int, Field(ge=1, le=16)]
    holders: Annotated[tuple[OfficerName, ...], Field(min_length=1, max_length=16)]


class _SharesFile(Table):
    label: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}\z")]
    user: _Group
    so: _Group


@dataclass(frozen=True, slots=True)
class Holders:
    """``label``: what the token is called, as later scripts name it."""

    label: str
    user: tuple[str, ...]
    so: tuple[str, ...]
    divisions: dict[Which, Division]

    def of(self, which: Which) -> tuple[str, ...]:
        return self.user if which == "user" else self.so


class _Quorum(Table):
    threshold: Annotated[int, Field(ge=2, le=16)]
    holders: Annotated[tuple[OfficerName, ...], Field(min_length=2, max_length=16)]


class _TokenFile(Table):
    mode: Literal["REHEARSAL", "PRODUCTION"]
    label: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}\z")]
    token_serial: Annotated[str, Field(min_length=1, max_length=16)]
    user: _Quorum
    so: _Quorum


@dataclass(frozen=True, slots=True)
class SharedToken:
    """A token whose PINs are in shares, and who has them: what ``token.json`` says."""

    mode: str
    token_serial: str
    holders: Holders


def parse_token(data: bytes) -> SharedToken:
    """The output of ``token-init`` or ``officers-change``. Raises ``InputError``."""
    try:
        file = _TokenFile.model_validate_json(canonical_bytes(parse_canonical(data, 1 << 16)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InputError(f"token.json: field {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except InputError as error:
        raise InputError(
            f"token.json: {error.message}", hint="take the one of the last change, or token-init's"
        ) from None
    divisions: dict[Which, Division] = {
        "user": Division(file.user.threshold, len(file.user.holders)),
        "so": Division(file.so.threshold, len(file.so.holders)),
    }
    return SharedToken(file.mode, file.token_serial, Holders(file.label, file.user.holders, file.so.holders, divisions))


def check_same_token(holders: Holders, known: SharedToken, mode: str) -> None:
    """CER-SHARES, CER-MODE: ``shares.toml`` is for another token than ``token.json``, or that one for another mode."""
    if holders.label != known.holders.label:
        raise PolicyViolation(
            f"shares.toml is for a token labelled {holders.label!r}; token.json is of {known.holders.label!r}",
            rule="CER-SHARES",
            hint="one change, one token",
        )
    if known.mode != mode:
        raise PolicyViolation(f"token.json is of a {known.mode}, and this is {mode}", rule="CER-MODE")


def parse_holders(data: bytes, officers: Officers) -> Holders:
    """Raises ``InputError`` naming the field, and ``PolicyViolation`` (CER-SHARES) for what is no dual control."""
    hint = 'wanted: label = "root", and [user] and [so], each with threshold = 2 and holders = ["ada", "grace", "lin"]'
    file = parse(data, _SharesFile, source="shares.toml", hint=hint)
    for name, group in (("user", file.user), ("so", file.so)):
        if len(set(group.holders)) != len(group.holders):
            raise PolicyViolation(f"[{name}] names a holder twice: one share each", rule="CER-SHARES")
        if group.threshold == len(group.holders):
            raise PolicyViolation(
                f"all {group.threshold} holders of [{name}] are needed: one lost paper loses the token",
                rule="CER-SHARES",
                hint="one holder more than the threshold, at least",
            )
    if both := sorted(set(file.user.holders) & set(file.so.holders)):
        raise PolicyViolation(
            f"{', '.join(both)} would hold a share of both PINs", rule="CER-SHARES", hint="other PIN, other holders"
        )
    if strange := sorted(set(file.user.holders) - set(officers.keys)):
        raise PolicyViolation(
            f"{', '.join(strange)} would hold a share of the user PIN and is no officer of officers.toml",
            rule="CER-SHARES",
        )
    if file.so.threshold < file.user.threshold:
        raise PolicyViolation(
            f"{file.so.threshold} holders could reset the PIN that takes {file.user.threshold}; wanted as many or more",
            rule="CER-SHARES",
        )
    divisions: dict[Which, Division] = {
        "user": Division(file.user.threshold, len(file.user.holders)),
        "so": Division(file.so.threshold, len(file.so.holders)),
    }
    return Holders(file.label, file.user.holders, file.so.holders, divisions)
