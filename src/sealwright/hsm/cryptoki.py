"""The few PKCS#11 calls that python-pkcs11 does not make, or not as we need them, through ctypes.

``C_Initialize`` with ``CKF_OS_LOCKING_OK`` (the library passes NULL, and SoftHSM then dies under threads),
``C_Finalize`` and ``C_Initialize`` again, ``C_InitToken``, ``C_InitPIN``, ``C_SetPIN``, and ``C_Login``/``C_Logout``
on a session that is already open: so a refused PIN leaks no session, and closing a session logs nobody out.

And ``C_SignInit`` with ``C_Sign`` for many digests at once: python-pkcs11 takes a tenth of a P-256 signature's time for
itself. Everything else (objects, attributes, mechanisms, signing) is python-pkcs11's. When these calls may be made, and
from which thread, is ``module``'s and ``session``'s.
"""

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pkcs11 import exceptions

CKF_OS_LOCKING_OK: Final = 0x2
CKF_SERIAL_RW: Final = 0x4 | 0x2
CKU_SO: Final = 0
CKU_USER: Final = 1
CKR_SIGNATURE_LEN_RANGE: Final = 0x0C1

_ULONG = ctypes.c_ulong
_NAMES: Final = {
    0x002: "CKR_HOST_MEMORY",
    0x003: "CKR_SLOT_ID_INVALID",
    0x005: "CKR_GENERAL_ERROR",
    0x006: "CKR_FUNCTION_FAILED",
    0x007: "CKR_ARGUMENTS_BAD",
    0x010: "CKR_ATTRIBUTE_READ_ONLY",
    0x01B: "CKR_ACTION_PROHIBITED",
    0x030: "CKR_DEVICE_ERROR",
    0x031: "CKR_DEVICE_MEMORY",
    0x032: "CKR_DEVICE_REMOVED",
    0x060: "CKR_KEY_HANDLE_INVALID",
    0x082: "CKR_OBJECT_HANDLE_INVALID",
    0x054: "CKR_FUNCTION_NOT_SUPPORTED",
    0x0A0: "CKR_PIN_INCORRECT",
    0x0A1: "CKR_PIN_INVALID",
    0x0A2: "CKR_PIN_LEN_RANGE",
    0x0A3: "CKR_PIN_EXPIRED",
    0x0A4: "CKR_PIN_LOCKED",
    0x0B0: "CKR_SESSION_CLOSED",
    0x0B1: "CKR_SESSION_COUNT",
    0x0B3: "CKR_SESSION_HANDLE_INVALID",
    0x0B6: "CKR_SESSION_EXISTS",
    0x0E0: "CKR_TOKEN_NOT_PRESENT",
    0x0E1: "CKR_TOKEN_NOT_RECOGNIZED",
    0x0E2: "CKR_TOKEN_WRITE_PROTECTED",
    0x100: "CKR_USER_ALREADY_LOGGED_IN",
    0x101: "CKR_USER_NOT_LOGGED_IN",
    0x102: "CKR_USER_PIN_NOT_INITIALIZED",
    0x104: "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    0x190: "CKR_CRYPTOKI_NOT_INITIALIZED",
    0x191: "CKR_CRYPTOKI_ALREADY_INITIALIZED",
}


_TEXTS: Final = {
    "Initialisation error (already initialized).": "CKR_CRYPTOKI_ALREADY_INITIALIZED",
    "Initialisation error (not initialized).": "CKR_CRYPTOKI_NOT_INITIALIZED",
}
"""What python-pkcs11 says instead of a code."""


def code_name(code: int) -> str:
    """ "CKR_DEVICE_ERROR"; of a code that is not in the short list above, "CKR 0x00000030"."""
    return _NAMES.get(code, f"CKR 0x{code:08x}")


class CryptokiError(exceptions.PKCS11Error):
    """A call of this module failed. A child of python-pkcs11's root, so that one ``except`` meets both."""

    def __init__(self, code: int) -> None:
        super().__init__(code_name(code))


def error_name(error: BaseException) -> str:
    """The PKCS#11 name of a failure ("CKR_DEVICE_ERROR"); never empty.

    Most of python-pkcs11's exceptions have an empty ``str()`` and carry the code only as their class name; codes which
    it does not know come as a plain ``PKCS11Error`` with the number in the text.
    """
    if isinstance(error, CryptokiError):
        return str(error)
    if type(error) is exceptions.PKCS11Error:
        unmapped = re.fullmatch(r"Unmapped error code 0x([0-9a-f]+)", str(error))
        text = str(error).removesuffix(" Should never see this.")
        return code_name(int(unmapped[1], 16)) if unmapped else _TEXTS.get(text, text or "PKCS11Error")
    name = type(error).__name__
    if isinstance(error, _NOT_CODES) or type(error).__module__ != exceptions.__name__:
        return name
    return "CKR_" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).upper()


def decode_serial(raw: bytes) -> str:
    """A token's serial number as it is written everywhere here: without its padding of blanks (or NULs)."""
    return raw.decode("ascii", "backslashreplace").strip("\0 ")


_NOT_CODES: Final = (
    exceptions.NoSuchKey,
    exceptions.NoSuchToken,
    exceptions.MultipleObjectsReturned,
    exceptions.MultipleTokensReturned,
)


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS: no mutex functions of ours, the module uses the operating system's."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", _ULONG),
        ("reserved", ctypes.c_void_p),
    )


_FUNCTIONS: Final = (
    # The first members of CK_FUNCTION_LIST, in the order of PKCS#11 2.40; the order is the ABI.
    *("C_Initialize", "C_Finalize", "C_GetInfo", "C_GetFunctionList", "C_GetSlotList", "C_GetSlotInfo"),
    *("C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken", "C_InitPIN", "C_SetPIN"),
    *("C_OpenSession", "C_CloseSession", "C_CloseAllSessions", "C_GetSessionInfo", "C_GetOperationState"),
    *("C_SetOperationState", "C_Login", "C_Logout", "C_CreateObject", "C_CopyObject", "C_DestroyObject"),
    *("C_GetObjectSize", "C_GetAttributeValue", "C_SetAttributeValue", "C_FindObjectsInit", "C_FindObjects"),
    *("C_FindObjectsFinal", "C_EncryptInit", "C_Encrypt", "C_EncryptUpdate", "C_EncryptFinal", "C_DecryptInit"),
    *("C_Decrypt", "C_DecryptUpdate", "C_DecryptFinal", "C_DigestInit", "C_Digest", "C_DigestUpdate"),
    *("C_DigestKey", "C_DigestFinal", "C_SignInit", "C_Sign"),
)


class _Mechanism(ctypes.Structure):
    _fields_ = (("mechanism", _ULONG), ("parameter", ctypes.c_void_p), ("length", _ULONG))


class _FunctionList(ctypes.Structure):
    _fields_ = (("version", ctypes.c_ubyte * 2), *((name, ctypes.c_void_p) for name in _FUNCTIONS))


class _TokenInfo(ctypes.Structure):
    """CK_TOKEN_INFO up to the PIN lengths, which python-pkcs11 does not show; room for the rest."""

    _fields_ = (
        ("names", ctypes.c_char * (32 + 32 + 16)),
        ("serial_number", ctypes.c_char * 16),
        ("flags_and_session_counts", _ULONG * 5),
        ("longest_pin", _ULONG),
        ("shortest_pin", _ULONG),
        ("rest", ctypes.c_ubyte * 256),
    )


class Cryptoki:
    """The function table of one module. Each method is one C call; a return other than CKR_OK raises."""

    def __init__(self, path: Path, library: object) -> None:
        """``library``: the ``pkcs11.lib`` of the same module. Its sessions are those that these calls are about."""
        self._library = ctypes.CDLL(str(path))
        first, second = self._get_function_list(), self._get_function_list()
        if first.value == second.value:
            address = first
        else:
            # p11-kit's client and proxy are another instance, with handles of its own, at each C_GetFunctionList: take
            # the library's. It is the first member of its C structure (``HasFuncList`` in _pkcs11.pxd).
            address = ctypes.c_void_p.from_address(id(library) + object.__basicsize__)
        self._table = _FunctionList.from_address(address.value or 0)

    def _get_function_list(self) -> ctypes.c_void_p:
        table = ctypes.c_void_p()
        get_function_list = self._library.C_GetFunctionList
        get_function_list.restype = _ULONG
        _check(get_function_list(ctypes.byref(table)))
        return table

    def initialize_with_locking(self) -> None:
        args = _InitializeArgs(flags=CKF_OS_LOCKING_OK)
        self._call("C_Initialize", ctypes.byref(args))

    def finalize(self) -> None:
        self._call("C_Finalize", None)

    def init_token(self, slot_id: int, so_pin: bytes, label: str) -> None:
        """``label`` is blank-padded to 32 octets, as PKCS#11 wants it."""
        padded = label.encode().ljust(32)
        self._call("C_InitToken", _ULONG(slot_id), so_pin, _ULONG(len(so_pin)), padded)

    def pin_lengths(self, slot_id: int) -> tuple[int, int]:
        """Shortest and longest PIN the token takes, in octets."""
        info = self._token_info(slot_id)
        return info.shortest_pin, info.longest_pin

    def token_serial(self, slot_id: int) -> str:
        raw: bytes = self._token_info(slot_id).serial_number
        return decode_serial(raw)

    def open_session(self, slot_id: int) -> int:
        """A read-write session of our own: ``C_InitPIN`` needs one before the token is usable otherwise."""
        handle = _ULONG()
        self._call("C_OpenSession", _ULONG(slot_id), _ULONG(CKF_SERIAL_RW), None, None, ctypes.byref(handle))
        return handle.value

    def close_session(self, session: int) -> None:
        self._call("C_CloseSession", _ULONG(session))

    def init_pin(self, session: int, pin: bytes) -> None:
        self._call("C_InitPIN", _ULONG(session), pin, _ULONG(len(pin)))

    def set_pin(self, session: int, old: bytes, new: bytes) -> None:
        """Of whoever is logged in."""
        self._call("C_SetPIN", _ULONG(session), old, _ULONG(len(old)), new, _ULONG(len(new)))

    def login(self, session: int, user: int, pin: bytes | None) -> None:
        """``pin`` None: the token asks for it itself (PKCS#11 2.40 11.6, protected authentication path)."""
        self._call("C_Login", _ULONG(session), _ULONG(user), pin, _ULONG(len(pin or b"")))

    def logout(self, session: int) -> None:
        self._call("C_Logout", _ULONG(session))

    def sign_each(self, session: int, mechanism: int, key: int, messages: Sequence[bytes], octets: int) -> list[bytes]:
        """The signature of each, ``octets`` long, by a mechanism without parameters."""
        chosen = _Mechanism(mechanism, None, 0)
        signature, length = ctypes.create_string_buffer(octets), _ULONG(octets)
        sign_init = ctypes.CFUNCTYPE(_ULONG, _ULONG, ctypes.c_void_p, _ULONG)(self._table.C_SignInit)
        sign = ctypes.CFUNCTYPE(_ULONG, _ULONG, ctypes.c_char_p, _ULONG, ctypes.c_void_p, ctypes.c_void_p)(
            self._table.C_Sign
        )
        at_mechanism, at_signature, at_length = map(ctypes.addressof, (chosen, signature, length))
        signatures = []
        for message in messages:
            length.value = octets
            code = sign_init(session, at_mechanism, key) or sign(
                session, message, len(message), at_signature, at_length
            )
            if code or length.value != octets:
                raise CryptokiError(code or CKR_SIGNATURE_LEN_RANGE)
            signatures.append(signature.raw)
        return signatures

    def _token_info(self, slot_id: int) -> _TokenInfo:
        info = _TokenInfo()
        self._call("C_GetTokenInfo", _ULONG(slot_id), ctypes.byref(info))
        return info

    def _call(self, name: str, *arguments: object) -> None:
        # CFUNCTYPE releases the GIL, and passes bytes as a pointer that lives as long as the call.
        types = (_argument_type(argument) for argument in arguments)
        function = ctypes.CFUNCTYPE(_ULONG, *types)(getattr(self._table, name))
        _check(function(*arguments))


def _argument_type(argument: object) -> type[ctypes.c_ulong | ctypes.c_char_p | ctypes.c_void_p]:
    if isinstance(argument, _ULONG):
        return _ULONG
    return ctypes.c_char_p if isinstance(argument, bytes) else ctypes.c_void_p


def _check(code: int) -> None:
    if code != 0:
        raise CryptokiError(code)
