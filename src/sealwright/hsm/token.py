"""Tokens by their serial number: a slot number changes with every plug and restart, a label is anybody's choice.

Who logs in to a token is ``session``'s; making one is ``initialise``'s.
"""

from dataclasses import dataclass, field
from typing import Literal

import pkcs11
from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error, TokenNotPresent, TokenNotRecognised

from sealwright.errors import TokenError, TokenNotFound
from sealwright.hsm.cryptoki import decode_serial, error_name
from sealwright.hsm.module import Module

PinState = Literal["none", "set", "low", "final-try", "locked"]
"""``low``: a wrong one was tried since the last login. ``final-try``: one more locks it."""

_USER_PIN = (TokenFlag.USER_PIN_LOCKED, TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_COUNT_LOW)
_SO_PIN = (TokenFlag.SO_PIN_LOCKED, TokenFlag.SO_PIN_FINAL_TRY, TokenFlag.SO_PIN_COUNT_LOW)


def _state(flags: TokenFlag, which: tuple[TokenFlag, TokenFlag, TokenFlag]) -> PinState:
    locked, final, low = (bool(flags & flag) for flag in which)
    if not flags & TokenFlag.USER_PIN_INITIALIZED:
        return "none"
    return "locked" if locked else "final-try" if final else "low" if low else "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An initialised token as its module described it at one moment (``generation``, ``flags``)."""

    serial: str
    label: str
    model: str
    manufacturer: str
    slot_id: int
    flags: TokenFlag
    generation: int
    native: pkcs11.Token = field(repr=False, compare=False)

    @property
    def pin_state(self) -> PinState:
        """Of the user PIN, as far as the token tells."""
        return _state(self.flags, _USER_PIN)

    @property
    def so_pin_state(self) -> PinState:
        """Of the security officer's PIN. Whether one is set no token tells."""
        return _state(self.flags | TokenFlag.USER_PIN_INITIALIZED, _SO_PIN)

    def __str__(self) -> str:
        return f"{self.serial} ({self.label!r}, {self.manufacturer} {self.model})"


def list_tokens(module: Module) -> tuple[Token, ...]:
    """Every initialised token, in the order of the module's slots. Raises TokenError when the module fails."""
    try:
        with module.calling() as generation:
            return tuple(_read_tokens(module, generation))
    except PKCS11Error as error:
        raise TokenError(f"PKCS#11 module {module.path} lists no slots: {error_name(error)}") from error


def _read_tokens(module: Module, generation: int) -> list[Token]:
    # Not lib.get_token(...): its mechanisms filter never matches, and it asks every slot for its mechanisms.
    found = []
    for slot in module.library.get_slots(token_present=True):
        try:
            native = slot.get_token()
        except (TokenNotPresent, TokenNotRecognised):
            continue
        flags = TokenFlag(native.flags)
        if flags & TokenFlag.TOKEN_INITIALIZED:
            token = Token(
                serial=decode_serial(native.serial),
                label=native.label,
                model=native.model,
                manufacturer=native.manufacturer_id,
                slot_id=slot.slot_id,
                flags=flags,
                generation=generation,
                native=native,
            )
            found.append(token)
    return found


def find_token(module: Module, serial: str) -> Token:
    """The one token with this serial number.

    A module may have looked for tokens only when it was initialised (SoftHSM does), or be cut off from them (p11-kit's
    client). While nobody is logged in through it, it is initialised again before the answer is no. Raises
    TokenNotFound, which lists the tokens that are there, and TokenError.
    """
    generation = module.generation
    try:
        return pick_token(list_tokens(module), serial)
    except TokenError:
        if not module.idle:
            raise
    module.reinitialise(generation)
    return pick_token(list_tokens(module), serial)


def pick_token(tokens: tuple[Token, ...], serial: str) -> Token:
    """The one with this serial number among ``tokens``."""
    matches = [token for token in tokens if token.serial == serial]
    if len(matches) > 1:
        raise TokenError(
            f"{len(matches)} slots hold a token with serial number {serial}; wanted one",
            hint="leave in only the one that is meant, or take a token with a serial number of its own",
        )
    if not matches:
        there = "; ".join(str(token) for token in tokens) or "none"
        raise TokenNotFound(
            f"no token with serial number {serial}; found: {there}",
            hint="plug it in, or correct the serial number (for SoftHSM: is SOFTHSM2_CONF the right one?)",
        )
    return matches[0]
