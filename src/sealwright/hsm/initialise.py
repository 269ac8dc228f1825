"""Making a token: ``C_InitToken`` and ``C_InitPIN`` through ctypes, so that no PIN is ever on a command line.

For the free slot of a soft token, or the one new token of a hardware module; one that is initialised already is never
initialised again. Quorums and shares are the ceremony's.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error

from sealwright.errors import InputError, PolicyViolation, TokenError, TokenNotFound, WrongPin
from sealwright.hsm.cryptoki import CKU_SO, CKU_USER, decode_serial, error_name
from sealwright.hsm.module import Module, load_module
from sealwright.hsm.pin import Pin

_LABEL_OCTETS = 32
_one_at_a_time = Lock()  # two threads would find the same free slot


def init_token(module_path: Path, *, label: str, so_pin: Pin, user_pin: Pin) -> str:
    """Initialise the first free slot's token, set its user PIN, and give its serial number.

    Raises InputError (label), TokenError (no free slot, the two PINs are one, the token refused a PIN, failed).
    """
    if not 0 < len(label.encode()) <= _LABEL_OCTETS or not label.isprintable():
        raise InputError(f"token label {label!r}: wanted 1 to {_LABEL_OCTETS} octets of printable text")
    if so_pin == user_pin:
        # The SO PIN resets the user PIN: who holds one must not hold the other.
        raise TokenError("security officer's PIN and user's PIN are the same", hint="other holders, other PINs")
    module = load_module(module_path)
    try:
        with _one_at_a_time, module.calling():
            slot_id = _free_slot(module)
            _check_pin_lengths(module, slot_id, so_pin, user_pin)
            module.cryptoki.init_token(slot_id, so_pin.reveal(), label)
            _set_user_pin(module, slot_id, so_pin, user_pin)
            return module.cryptoki.token_serial(slot_id)
    except PKCS11Error as error:
        raise TokenError(
            f"token {label!r} cannot be initialised: {error_name(error)}",
            hint="a soft token: may this user write its token directory, and is there room on the disk?",
        ) from error


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token before its initialisation. PIN lengths in octets."""

    model: str
    manufacturer: str
    objects: int
    shortest_pin: int
    longest_pin: int


def describe_new_token(module_path: Path) -> NewToken:
    """The token that ``init_token`` would take. Raises TokenError when there is none."""
    module = load_module(module_path)
    try:
        with module.calling():
            native = _new_token(module)
            shortest, longest = module.cryptoki.pin_lengths(int(native.slot.slot_id))
            return NewToken(native.model, native.manufacturer_id, _visible_objects(native), shortest, longest)
    except PKCS11Error as error:
        raise TokenError(f"module {module_path} does not describe its new token: {error_name(error)}") from error


def _visible_objects(native: Any) -> int:
    """Without a login. A token that has no place for objects yet opens no session."""
    try:
        session = native.open()
    except PKCS11Error:
        return 0
    try:
        return len(list(session.get_objects({})))
    finally:
        session.close()


def set_user_pin(module: Module, serial: str, *, so_pin: Pin, user_pin: Pin) -> None:
    """As its security officer. For a token whose initialisation was cut off between the two PINs."""
    try:
        with module.calling():
            _set_user_pin(module, slot_of(module, serial), so_pin, user_pin)
    except PKCS11Error as error:
        raise TokenError(f"token {serial} does not take its PINs: {error_name(error)}") from error


def count_objects_as_so(module: Module, serial: str, so_pin: Pin) -> int:
    """Log in as the security officer, once, and count what can be seen. Raises WrongPin and TokenError."""
    try:
        with module.calling():
            session = module.cryptoki.open_session(slot_of(module, serial))
            try:
                module.cryptoki.login(session, CKU_SO, so_pin.reveal())
                module.cryptoki.logout(session)
            finally:
                module.cryptoki.close_session(session)
    except PKCS11Error as error:
        name = error_name(error)
        kind = WrongPin if name.startswith("CKR_PIN") else TokenError
        raise kind(f"token {serial} refused its security officer: {name}") from error
    return 0  # PKCS#11 2.40 11.6: a security officer sees public objects only, and the user's login counts those


WELL_KNOWN = ("1234567890", "123456", "1234", "12345678", "0000")
"""What tokens are delivered with, or set up with by hand."""


def check_default_pin_is_refused(module: Module, serial: str) -> None:
    """One try with a PIN that everybody knows. Raises PolicyViolation (CER-PIN-DEFAULT) when the token takes it."""
    try:
        with module.calling():
            slot_id = slot_of(module, serial)
            shortest, longest = module.cryptoki.pin_lengths(slot_id)
            pin = next((each for each in WELL_KNOWN if shortest <= len(each) <= longest), None)
            if pin is None:
                return  # it cannot have one
            session = module.cryptoki.open_session(slot_id)
            try:
                module.cryptoki.login(session, CKU_USER, pin.encode())
                module.cryptoki.logout(session)
            finally:
                module.cryptoki.close_session(session)
    except PKCS11Error as error:
        if error_name(error) == "CKR_PIN_INCORRECT":
            return
        raise TokenError(f"token {serial} does not judge a PIN: {error_name(error)}") from error
    raise PolicyViolation(f"token {serial} is opened by a PIN that everybody knows", rule="CER-PIN-DEFAULT")


def slot_of(module: Module, serial: str) -> int:
    """The slot of a token, inside ``module.calling``."""
    for slot in module.library.get_slots(token_present=True):
        if decode_serial(slot.get_token().serial) == serial:
            return int(slot.slot_id)
    raise TokenNotFound(f"no token with serial number {serial}")


def _free_slot(module: Module) -> int:
    return int(_new_token(module).slot.slot_id)


def _new_token(module: Module) -> Any:
    for slot in module.library.get_slots(token_present=True):
        native = slot.get_token()
        if not TokenFlag(native.flags) & TokenFlag.TOKEN_INITIALIZED:
            return native
    raise TokenError(
        f"module {module.path} has no slot with an uninitialised token",
        hint="SoftHSM offers one always; erase a hardware token with its vendor's tool first",
    )


def _set_user_pin(module: Module, slot_id: int, so_pin: Pin, user_pin: Pin) -> None:
    session = module.cryptoki.open_session(slot_id)
    try:
        module.cryptoki.login(session, CKU_SO, so_pin.reveal())
        module.cryptoki.init_pin(session, user_pin.reveal())
    finally:
        with suppress(PKCS11Error):
            module.cryptoki.logout(session)
        with suppress(PKCS11Error):
            module.cryptoki.close_session(session)


def _check_pin_lengths(module: Module, slot_id: int, *pins: Pin) -> None:
    """Before anything changes: a token whose user PIN was refused would stay behind half made."""
    shortest, longest = module.cryptoki.pin_lengths(slot_id)
    for pin in pins:
        if not shortest <= len(pin.reveal()) <= longest:
            raise InputError(f"a PIN is too short or too long for this token: it takes {shortest} to {longest} octets")
