"""Every error that a person can meet, on one screen.

An error says what was wrong, what was wanted, and (``hint``) what to do next; ``usual_hint`` is for whoever raises one
and knows nothing better. Its class fixes the exit code of the three commands and the HTTP status of the registry. This
module knows nothing else of either: ``cli`` prints, ``api`` makes RFC 9457 problem documents.
"""

import shutil
from typing import ClassVar, Self


class SealwrightError(Exception):
    """The one root. Raised as it is only for what has no better name."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    usual_hint: ClassVar[str] = "tell whoever runs this PKI; the log has more"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint


class InputError(SealwrightError):
    """Foreign bytes or a person's input that cannot be read: malformed, oversized, unknown or missing field."""

    exit_code, http_status = 3, 400
    usual_hint = "correct it and try again"


class PolicyViolation(SealwrightError):
    """Well-formed, and refused. ``rule`` is the id that stands in code, ledger, test and ``ca/policy.md``."""

    exit_code, http_status = 4, 403

    def __init__(self, message: str, *, rule: str, hint: str = "") -> None:
        super().__init__(message, hint=hint or f"ca/policy.md says what {rule} wants")
        self.rule = rule

    def __str__(self) -> str:
        return f"{self.message} [{self.rule}]"


class AccessDenied(SealwrightError):
    """Not logged in, not on the roster, or a socket peer with the wrong uid."""

    exit_code, http_status = 5, 401
    usual_hint = "the officers say who may do what: `sealwright roster show`"


class TokenError(SealwrightError):
    """The PKCS#11 token or a key on it: absent, ambiguous, wrong PIN, wrong attributes, failed."""

    exit_code, http_status = 6, 503
    usual_hint = "look at the token with its maker's own tool"


class WrongPin(TokenError):
    """The token refused the PIN. Never tried again by the program itself, nor by the unit that would restart it."""

    exit_code = 13


class Fenced(TokenError):
    """Another signer took over: this one may sign no more, ever. The unit does not start it again."""

    exit_code = 14
    usual_hint = "leave it stopped; the signer that took over has the ledger. The runbook is `takeover`"


class TokenNotFound(TokenError):
    """No token, or no key on it, answers to the serial number or CKA_ID that was asked for."""


class KeyAttributeError(TokenError):
    """A key exists whose attributes, read back, are not those of a key that cannot leave its token."""


class Unavailable(SealwrightError):
    """A service, socket or port that should answer does not, or is taken."""

    exit_code, http_status = 7, 503
    usual_hint = "is it running, and can it be reached from here?"


class IntegrityError(SealwrightError):
    """Something signed, hashed or chained is not what it was: ledger, transcript, pinned file, signature."""

    exit_code, http_status = 8, 500
    usual_hint = "do not go on with it: keep it as it is, and tell whoever runs this PKI"


class StorageError(SealwrightError):
    """The disk is full, read-only or failing; nothing was half-written."""

    exit_code, http_status = 9, 507
    usual_hint = "is the disk full, or mounted read-only?"

    @classmethod
    def of(cls, error: OSError, doing: str, *, hint: str = "") -> Self:
        """From the system's own error, also from one that ``shutil`` gathered for a whole folder."""
        first = error.args[0][0][-1] if isinstance(error, shutil.Error) and error.args[0] else error.strerror
        return cls(f"{doing}: {first or error}", hint=hint)


class NotReady(SealwrightError):
    """Right question, too early: a request not yet approved, a PKI without a roster."""

    exit_code, http_status = 10, 409
    usual_hint = "try again later"


class NotFound(SealwrightError):
    """No such request, certificate, person or folder."""

    exit_code, http_status = 11, 404
    usual_hint = "is the name right, and copied whole?"


class Conflict(SealwrightError):
    """It is there already and is never overwritten: an output file, a used request, a decided request."""

    exit_code, http_status = 12, 409
    usual_hint = "nothing is overwritten or done twice: name another"
