"""What a failure of the token means: worth one rebuild of the login, or an error for a person.

When is ``breaker``'s to say; the ladder itself is ``TokenSession``'s.
"""

from typing import Final

from pkcs11.exceptions import PKCS11Error

from sealwright.errors import TokenError, TokenNotFound
from sealwright.hsm.cryptoki import error_name

RECOVERABLE: Final = frozenset(
    {
        "CKR_SESSION_HANDLE_INVALID",
        "CKR_SESSION_CLOSED",
        "CKR_OBJECT_HANDLE_INVALID",
        "CKR_KEY_HANDLE_INVALID",
        "CKR_USER_NOT_LOGGED_IN",
        "CKR_DEVICE_ERROR",
        "CKR_DEVICE_REMOVED",
        "CKR_TOKEN_NOT_PRESENT",
        "CKR_CRYPTOKI_NOT_INITIALIZED",
        "CKR_GENERAL_ERROR",
        "CKR_FUNCTION_FAILED",
        "CKR_HOST_MEMORY",
        "NoSuchKey",  # of a key that was there; one that never was is TokenNotFound already
        "StaleGeneration",  # another login of this process rebuilt the module
    }
)
"""Names of failures which a fresh initialisation and login can cure. Never a PIN error."""


def is_recoverable(error: PKCS11Error) -> bool:
    return error_name(error) in RECOVERABLE


def token_error(error: PKCS11Error, *, token: str, doing: str) -> TokenError:
    """The failure for a person: which token, doing what, and its PKCS#11 name (their own text is often empty)."""
    name = error_name(error)
    message = f"token {token} failed while {doing}: {name}"
    if name == "NoSuchKey":
        return TokenNotFound(message, hint="the key was on the token before; is this the same token?")
    if name == "CKR_MECHANISM_INVALID":
        return TokenError(message, hint="this token cannot sign as this PKI does; take a token of another model")
    return TokenError(message, hint="see the token's own log; the operation was not completed")
