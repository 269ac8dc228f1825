"""``inventory``: which tokens there are and what is on them. Read-only; its file can be laid beside a record.

Without a PIN a token says who it is and how its PINs stand. With one it is opened, and every object is listed. What an
officer should know is said token by token: a key that could leave, half a key pair, two keys with one id.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sealwright.ceremony.clock import format_time
from sealwright.errors import TokenNotFound
from sealwright.hsm.census import FoundObject, list_objects
from sealwright.hsm.module import load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token import Token, list_tokens, pick_token
from sealwright.statements.canonical import canonical_bytes

VERSION = 1
"""Of the file's form."""


@dataclass(frozen=True, slots=True)
class CountedToken:
    """``objects`` None: the token was not opened. ``findings``: what a person has to look into."""

    token: Token
    objects: tuple[FoundObject, ...] | None
    findings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        token = self.token
        return {
            "serial": token.serial,
            "label": token.label,
            "manufacturer": token.manufacturer,
            "model": token.model,
            "user_pin": token.pin_state,
            "so_pin": token.so_pin_state,
            "objects": None if self.objects is None else [_object_json(each) for each in self.objects],
            "findings": list(self.findings),
        }


@dataclass(frozen=True, slots=True)
class Census:
    at: datetime
    module: Path
    tokens: tuple[CountedToken, ...]

    def to_bytes(self) -> bytes:
        """Canonical JSON: one census has one digest."""
        return canonical_bytes(
            {
                "version": VERSION,
                "at": format_time(self.at),
                "module": str(self.module),
                "tokens": [token.to_json() for token in self.tokens],
            }
        )


def take_census(module: Path, opened: Mapping[str, Callable[[], Pin]], at: datetime) -> Census:
    """Every token of the module, sorted by serial number; those in ``opened`` with their objects.

    Raises ``TokenNotFound`` for a serial number that is not there before any PIN is used, ``WrongPin``, ``TokenError``.
    """
    tokens = list_tokens(load_module(module))
    there = {token.serial for token in tokens}
    for serial in opened:
        if serial not in there:
            raise TokenNotFound(
                f"no token with serial number {serial}; found: {', '.join(sorted(there)) or 'none'}",
                hint="no PIN was used; plug the token in, or name one that is there",
            )
    counted = (_count(module, token, opened.get(token.serial)) for token in sorted(tokens, key=lambda one: one.serial))
    return Census(at, module, tuple(counted))


def count_token(module: Path, serial: str, pin_of: Callable[[], Pin | None] | None) -> CountedToken:
    """One token; with its objects when there is a ``pin_of``, which gives None for a token with a keypad."""
    return _count(module, pick_token(list_tokens(load_module(module)), serial), pin_of)


def _count(module: Path, token: Token, pin_of: Callable[[], Pin | None] | None) -> CountedToken:
    objects = None
    if pin_of is not None:
        with TokenSession.open(load_module(module), token.serial, pin_of()) as session:
            objects = list_objects(session)
    return CountedToken(token, objects, tuple(_findings(token, objects)))


_PIN_FINDINGS = {
    "locked": "the user PIN is locked: the security officer's PIN sets a new one",
    "final-try": "one wrong user PIN more locks it",
    "low": "a wrong user PIN was tried since the last login",
    "none": "it has no user PIN: it is not ready for a key",
}


def _findings(token: Token, objects: Sequence[FoundObject] | None) -> Iterator[str]:
    if token.pin_state in _PIN_FINDINGS:
        yield _PIN_FINDINGS[token.pin_state]
    if token.so_pin_state == "locked":
        yield "the security officer's PIN is locked: a forgotten user PIN can never be set again"
    yield from _pairs(objects or ())
    for found in objects or ():
        if found.wrong:
            yield f"the private key {found.key_id.hex() or '(no CKA_ID)'} must not be used: {'; '.join(found.wrong)}"
        if found.object_class == "secret-key":
            yield f"a secret key {found.label!r}: a token of this PKI has key pairs and nothing else"


def _pairs(objects: Sequence[FoundObject]) -> Iterator[str]:
    """Two of one CKA_ID, and halves without the other half."""
    private, public = (
        Counter(found.key_id for found in objects if found.object_class == kind)
        for kind in ("private-key", "public-key")
    )
    for half, counted in (("private", private), ("public", public)):
        for key_id, count in sorted(counted.items()):
            if count > 1:
                yield f"{count} {half} keys have the CKA_ID {key_id.hex() or '(none)'}: ambiguous, and never used"
    for key_id in sorted(private.keys() ^ public.keys()):
        there, lacking = ("private", "public") if key_id in private else ("public", "private")
        yield f"half a key pair: {key_id.hex() or '(no CKA_ID)'} has its {there} half and no {lacking} one"


def _object_json(found: FoundObject) -> dict[str, Any]:
    return {
        "class": found.object_class,
        "key_id": found.key_id.hex(),
        "label": found.label,
        "key_type": found.key_type,
        "wrong_attributes": list(found.wrong),
    }
