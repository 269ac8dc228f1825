"""Who may sign with a token's key: a number that only grows and the name of its holder, as a data object on the token.

Every signer that uses the same token sees the same object, wherever it runs; a token's clone has an object of its own.
PKCS#11 3.0 4.4 (CKO_DATA). What follows from it is ``issuing.fence``'s.
"""

from dataclasses import dataclass
from typing import Final

import pkcs11
from pkcs11 import Attribute, ObjectClass

from sealwright.errors import TokenError
from sealwright.hsm.pool import Worker
from sealwright.hsm.session import TokenSession

_LABEL: Final = "sealwright epoch"
_FORM: Final = "sealwright epoch 1"


@dataclass(frozen=True, slots=True, order=True)
class TokenEpoch:
    epoch: int
    holder: str
    """32 hex digits."""


def read_epoch(session: TokenSession) -> TokenEpoch | None:
    """The highest that is on the token; None where there is none yet. Raises TokenError."""
    return session.call(_read, doing="reading the epoch")


def write_epoch(session: TokenSession, epoch: TokenEpoch) -> None:
    """Put a higher one, or one of the same number and another holder, in the place of what is there. Raises TokenError.

    It is read back: whoever comes now sees this one.
    """
    session.call_once(lambda worker: _write(worker, epoch), doing="raising the epoch")
    found = read_epoch(session)
    if found != epoch:
        raise TokenError(
            f"token {session.serial} says {found} after {epoch} was written",
            hint="two take over at once, or the token keeps no data objects: let one finish, then look",
        )


def _find(worker: Worker) -> list[pkcs11.Object]:
    # list(): a search that is not read to its end holds the session's lock.
    return list(worker.native.get_objects({Attribute.CLASS: ObjectClass.DATA, Attribute.LABEL: _LABEL}))


def _read(worker: Worker) -> TokenEpoch | None:
    return max((_parse(bytes(each[Attribute.VALUE])) for each in _find(worker)), default=None)


def _parse(value: bytes) -> TokenEpoch:
    form, _, rest = value.decode("ascii", "replace").partition(":")
    number, _, holder = rest.partition(":")
    if form != _FORM or not number.isdecimal() or len(number) > 9 or not holder:
        raise TokenError("the token's epoch cannot be read", hint="remove the object only when no signer runs anywhere")
    return TokenEpoch(int(number), holder)


def _write(worker: Worker, epoch: TokenEpoch) -> None:
    old = _find(worker)
    worker.native.create_object(
        {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,  # only who has the PIN may read or write it
            Attribute.LABEL: _LABEL,
            Attribute.VALUE: f"{_FORM}:{epoch.epoch}:{epoch.holder}".encode(),
        }
    )
    for each in old:  # after the new one is there: a power cut leaves both, and the higher one counts
        each.destroy()
