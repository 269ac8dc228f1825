"""A token's PINs exchanged for others, and an old one shown to be worth nothing: in sessions of their own.

Wrong tries are counted by the token and may lock it. So its flags are looked at first, a try that is meant to be
refused is made once, between two right ones, and what was cut off is found out with one wrong try at most.
"""

from contextlib import suppress
from typing import Final, Literal

from pkcs11.exceptions import PKCS11Error

from sealwright.errors import TokenError, WrongPin
from sealwright.hsm.cryptoki import CKU_SO, CKU_USER, error_name
from sealwright.hsm.initialise import set_user_pin, slot_of
from sealwright.hsm.module import Module
from sealwright.hsm.pin import Pin
from sealwright.hsm.token import find_token

Who = Literal["user", "so"]
_USERS: Final = {"user": CKU_USER, "so": CKU_SO}


def change_pin(module: Module, serial: str, who: Who, *, old: Pin, new: Pin) -> None:
    """As whose PIN it is. Raises WrongPin when the old one is refused, TokenError; never tried again."""
    _check_may_be_tried(module, serial, who)
    if (name := _attempt(module, serial, who, old, new)) is not None:
        kind = WrongPin if name.startswith("CKR_PIN") else TokenError
        raise kind(
            f"token {serial} does not change its {who} PIN: {name}",
            hint="tried once and not again: `inventory` says how the PIN stands; then resume",
        )


def finish_change(module: Module, serial: str, who: Who, *, old: Pin, new: Pin, old_so: Pin) -> bool:
    """After a ``change_pin`` that was cut off, done or not: the new one is valid then. Gives whether it was done.

    The user's is set by the security officer, whose PIN (``old_so``) is changed after it and so is known: no try is
    lost, and nobody learns whether it was done. Of the security officer's own, nobody is above to ask: the new one is
    tried, and when it is refused the old one is right and resets the count.
    """
    if who == "user":
        set_user_pin(module, serial, so_pin=old_so, user_pin=new)
        return False
    _check_may_be_tried(module, serial, who)
    if _attempt(module, serial, who, new) is None:
        return True
    change_pin(module, serial, who, old=old, new=new)
    return False


def is_useless(module: Module, serial: str, who: Who, *, old: Pin, new: Pin) -> bool:
    """Whether the token refuses ``old``, tried once. ``new`` is used before and after it, which sets the count back.

    Raises WrongPin when the new one is refused, TokenError when a try could lock the token, or the token fails.
    """
    _check_may_be_tried(module, serial, who)
    _log_in_with(module, serial, who, new)
    _check_may_be_tried(module, serial, who)
    said = _attempt(module, serial, who, old)
    if said not in (None, "CKR_PIN_INCORRECT"):
        raise TokenError(f"token {serial} does not judge its old {who} PIN: {said}")
    _log_in_with(module, serial, who, new)
    return said is not None


def _log_in_with(module: Module, serial: str, who: Who, pin: Pin) -> None:
    if (name := _attempt(module, serial, who, pin)) is not None:
        kind = WrongPin if name.startswith("CKR_PIN") else TokenError
        raise kind(f"token {serial} refused its new {who} PIN: {name}", hint="tried once and not again")


def _check_may_be_tried(module: Module, serial: str, who: Who) -> None:
    token = find_token(module, serial)
    state = token.pin_state if who == "user" else token.so_pin_state
    if state in ("final-try", "locked"):
        raise TokenError(
            f"the {who} PIN of token {token} is {state}: nothing is tried",
            hint="one right login with the token's own tool sets the count back; then resume",
        )


def _attempt(module: Module, serial: str, who: Who, pin: Pin, new: Pin | None = None) -> str | None:
    """Log in, once, on a fresh session; exchange the PIN for ``new``; log out. What was refused, by name, or None."""
    with module.calling():
        session = module.cryptoki.open_session(slot_of(module, serial))
        try:
            module.cryptoki.login(session, _USERS[who], pin.reveal())
            if new is not None:
                module.cryptoki.set_pin(session, pin.reveal(), new.reveal())
        except PKCS11Error as error:
            return error_name(error)
        finally:
            with suppress(PKCS11Error):
                module.cryptoki.logout(session)
            with suppress(PKCS11Error):
                module.cryptoki.close_session(session)
    return None
