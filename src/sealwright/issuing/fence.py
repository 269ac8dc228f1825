"""The fence: of two signers that use one issuing token, only the one that took over last may sign.

The token says which epoch it is and who holds it (``hsm.epoch``); this machine's own claim is the file ``holder`` in
its ledger's directory. A signer compares them before it records anything, after each signature before that is recorded,
and once more before a certificate is given out. ``takeover`` raises the epoch on the token first, and waits: so what
the old one does after that, also when it was frozen meanwhile, is refused by its own next look. See ADR 0013.

Limits: a clone of the token has an epoch of its own, so it fences nobody but who uses that clone. And between the last
look and the answer are microseconds in which a process can be frozen.
"""

import logging
import secrets
from pathlib import Path
from typing import Final

from sealwright.durable import replace_file
from sealwright.errors import Fenced, IntegrityError, StorageError, TokenError
from sealwright.hsm.epoch import TokenEpoch, read_epoch, write_epoch
from sealwright.hsm.session import TokenSession

log = logging.getLogger("sealwright.signer")

HOLDER: Final = "holder"
"""In the ledger's directory: this machine's claim. No feed and no export has it."""


class Fence:
    """A claim that the token confirmed. Once lost it stays lost in this process."""

    def __init__(self, session: TokenSession, own: TokenEpoch) -> None:
        self._session, self._own = session, own
        self.lost = ""

    @property
    def epoch(self) -> int:
        return self._own.epoch

    def check(self, *, signing: bool) -> None:
        """Ask the token. Raises ``Fenced`` when another holds it.

        While the token is away nothing can be signed with it, and what needs no signature of it goes on: then only for
        ``signing`` its ``TokenError`` passes through.
        """
        if not self.lost:
            try:
                found = read_epoch(self._session)
            except TokenError as error:
                if signing:
                    raise
                log.debug("the epoch cannot be read: %s", error)
                return
            if found == self._own:
                return
            self.lost = _words(found, self._own)
        raise Fenced(f"{self.lost}: nothing is signed here any more")


def claim(session: TokenSession, ledger: Path, last_epoch: int) -> Fence:
    """At a signer's start: the claim of this machine, if the token confirms it; on a token that nobody held, a new one.

    ``last_epoch``: of the ledger's newest start. Raises ``Fenced``.
    """
    own, found = read_holder(ledger), read_epoch(session)
    if found is None:
        own = own if own is not None and own.epoch >= last_epoch else new_claim(last_epoch)
        write_holder(ledger, own)
        write_epoch(session, own)
    elif own is None or found != own:
        raise Fenced(
            f"{_words(found, own)}: this one does not start",
            hint="if this is the machine that should sign from now on: `sealwrightd takeover`, the other stops",
        )
    if own.epoch < last_epoch:
        raise Fenced(f"the ledger was taken over at epoch {last_epoch}, and the token is of epoch {own.epoch}")
    return Fence(session, own)


def new_claim(epoch: int) -> TokenEpoch:
    return TokenEpoch(epoch, secrets.token_hex(16))


def read_holder(ledger: Path) -> TokenEpoch | None:
    """This machine's claim; None where it has none. Raises ``IntegrityError`` when it cannot be read."""
    path = ledger / HOLDER
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    number, _, holder = text.strip().partition(" ")
    if not number.isdecimal() or not holder:
        raise IntegrityError(f"{path} cannot be read", hint="remove it; then `sealwrightd takeover`, if it should sign")
    return TokenEpoch(int(number), holder)


def write_holder(ledger: Path, own: TokenEpoch) -> None:
    replace_file(ledger / HOLDER, f"{own.epoch} {own.holder}\n".encode(), mode=0o600)


def _words(found: TokenEpoch | None, own: TokenEpoch | None) -> str:
    if found is None:
        return "the issuing token says no more who holds it"
    mine = f"this one's claim is of epoch {own.epoch}" if own else "this one has no claim"
    return f"another signer holds the issuing token since epoch {found.epoch}, and {mine}"
