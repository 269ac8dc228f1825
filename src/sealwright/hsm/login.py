"""Logging in: one attempt, after a look at the token's PIN flags.

``C_Login`` is called on a session that is already open, so a refused PIN leaks nothing. Whether to try once more is a
person's decision and never made here.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error

from sealwright.errors import TokenError, WrongPin
from sealwright.hsm.cryptoki import CKU_USER, error_name
from sealwright.hsm.module import Module
from sealwright.hsm.pin import Pin
from sealwright.hsm.pool import SessionPool
from sealwright.hsm.token import Token

_REFUSED = frozenset({"CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED"})
_UNLOCK = (
    "the security officer sets a new one with the token's own tool (a TPM: tpm2_dictionarylockout --clear-lockout)"
)


@dataclass(frozen=True, slots=True)
class Login:
    """A logged-in token: the keeper session that holds the login, and the workers that use it."""

    token: Token
    generation: int
    keeper: Any  # a pkcs11.Session, whose published type lacks its handle
    pool: SessionPool


def check_pin_may_be_tried(token: Token) -> None:
    """WrongPin when the PIN is locked or one wrong try would lock it; TokenError when the token has no user PIN."""
    if token.flags & TokenFlag.USER_PIN_LOCKED:
        raise WrongPin(
            f"the user PIN of token {token} is locked",
            hint=_UNLOCK,
        )
    if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
        raise WrongPin(
            f"token {token} has one PIN try left, and a wrong one would lock it: not tried",
            hint="log in once with the token's own tool and the right PIN, which resets the count; then start again",
        )
    if not token.flags & TokenFlag.USER_PIN_INITIALIZED:
        raise TokenError(f"token {token} has no user PIN", hint="initialise the token first")


def check_nothing_was_counted(token: Token) -> None:
    """After a login that ended in no clear answer: WrongPin when the token counts a wrong try since."""
    if token.flags & TokenFlag.USER_PIN_COUNT_LOW:
        raise WrongPin(
            f"a login to token {token} failed, and it has counted a wrong PIN: not tried again",
            hint="log in once with the token's own tool and the right PIN, which resets the count; then start again",
        )


def log_in(module: Module, token: Token, pin: Pin | None) -> Login:
    """Open the keeper and log in, once; without a PIN, at the token's own keypad.

    Raises WrongPin, TokenError, or PKCS11Error of opening the session.
    """
    check_pin_may_be_tried(token)
    if pin is None and not token.flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH:
        raise TokenError(
            f"token {token} has no keypad or card reader of its own",
            hint="activation = external is for tokens that ask for the PIN themselves",
        )
    with module.calling(token.generation) as generation:
        keeper: Any = token.native.open()
        try:
            module.cryptoki.login(keeper.handle, CKU_USER, pin.reveal() if pin else None)
        except PKCS11Error as error:
            with suppress(PKCS11Error):
                keeper.close()
            raise _login_error(error, token) from error
    return Login(token, generation, keeper, SessionPool(token.native))


def _login_error(error: PKCS11Error, token: Token) -> TokenError:
    name = error_name(error)
    if name == "CKR_PIN_LOCKED":
        return WrongPin(
            f"the user PIN of token {token} is locked ({name})",
            hint=_UNLOCK,
        )
    if name in _REFUSED:
        few = "; few tries were left even before" if token.flags & TokenFlag.USER_PIN_COUNT_LOW else ""
        return WrongPin(
            f"token {token} refused the PIN ({name}){few}",
            hint="tried once and not again: correct the PIN before the next start, wrong tries can lock the token",
        )
    if name == "CKR_USER_ALREADY_LOGGED_IN":
        return TokenError(
            f"somebody in this process is already logged in to token {token} ({name})",
            hint="one process, one login: share the TokenSession",
        )
    return TokenError(f"token {token} refused the login: {name}")


def log_out(module: Module, login: Login) -> None:
    """Close the workers, log out, close the keeper. A token that is gone already has done all three."""
    with suppress(PKCS11Error), module.calling(login.generation):
        login.pool.close()
        with suppress(PKCS11Error):
            module.cryptoki.logout(login.keeper.handle)
        login.keeper.close()
