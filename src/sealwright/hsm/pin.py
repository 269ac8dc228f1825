"""A PIN that does not show itself.

It hides in ``repr``, ``str`` and formats, refuses to be pickled, and is read from a file that nobody else can read.
Asking a person for one is ``cli``'s. Python cannot wipe it from memory: a process that holds one holds it to its end.
"""

import hmac
import os
import stat
from pathlib import Path
from typing import NoReturn, Self

from sealwright.errors import InputError

_LONGEST = 255
_WANTED = "a file of mode 0400 or 0600 that holds the PIN as its one line"


class Pin:
    """The PIN of a token's user or security officer: 1 to 255 octets of UTF-8 without control characters."""

    __slots__ = ("_secret",)

    def __init__(self, value: str) -> None:
        secret = value.encode()
        if not 0 < len(secret) <= _LONGEST:
            raise InputError(f"PIN has {len(secret)} octets; wanted 1 to {_LONGEST}", hint="a PIN is one line of text")
        if any(ord(character) < 0x20 or ord(character) == 0x7F for character in value):
            raise InputError("PIN holds a control character", hint="a PIN is one line of text")
        self._secret = secret

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """The first and only line of a file which only its owner (this user or root) may read.

        Raises InputError: absent, unreadable, not a regular file, readable by group or others, somebody else's,
        empty, more than one line.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise InputError(f"PIN file {path}: {error.strerror}", hint=_WANTED) from error
        try:
            _check_private(path, os.fstat(descriptor))
            content = os.read(descriptor, _LONGEST + 3)
        finally:
            os.close(descriptor)
        try:
            return cls(content.decode().removesuffix("\n").removesuffix("\r"))
        except UnicodeDecodeError:
            raise InputError(f"PIN file {path} is not UTF-8 text") from None
        except InputError as error:
            raise InputError(f"PIN file {path}: {error.message}", hint=error.hint) from None

    def reveal(self) -> bytes:
        """The octets for ``C_Login``. Dangerous: never log, format or store what this returns."""
        return self._secret

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pin) and hmac.compare_digest(self._secret, other._secret)

    __hash__ = None  # type: ignore[assignment]  # a hash of a secret is a trace of it

    def __repr__(self) -> str:
        return "Pin(hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Pin is not pickled: pass the path of its file, and read it on the other side")


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"PIN file {path} is not a regular file", hint=_WANTED)
    if status.st_mode & 0o077:
        raise InputError(
            f"PIN file {path} has mode {stat.S_IMODE(status.st_mode):04o}; wanted 0400 or 0600",
            hint=f"chmod 0400 {path}, and change the PIN if others could have read it",
        )
    if status.st_uid not in {os.geteuid(), 0}:
        raise InputError(f"PIN file {path} belongs to uid {status.st_uid}; wanted {os.geteuid()} or root")
