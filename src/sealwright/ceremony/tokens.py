"""The script's tokens, living: PKCS#11 tokens by serial number, opened once each, closed whatever happens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealwright.ceremony.artefacts import Drafted
from sealwright.ceremony.holders import Which
from sealwright.ceremony.inventory import count_token
from sealwright.ceremony.pins import OLD, SharedPins
from sealwright.ceremony.room import NewToken, TokenDescription
from sealwright.errors import KeyAttributeError, TokenError
from sealwright.hsm.census import count_halves, count_objects, list_private_key_ids
from sealwright.hsm.destruction import destroy_key
from sealwright.hsm.generation import generate_key
from sealwright.hsm.initialise import (
    check_default_pin_is_refused,
    count_objects_as_so,
    describe_new_token,
    init_token,
    set_user_pin,
)
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.pins import change_pin, finish_change, is_useless
from sealwright.hsm.session import TokenSession
from sealwright.hsm.softhsm import copy_token, erase_token, has_token, use_store
from sealwright.hsm.token import find_token, list_tokens
from sealwright.pki.keys import KeyKind, PublicKey
from sealwright.pki.signatures import SignatureScheme, sign_bytes, verify_bytes


@dataclass(slots=True, kw_only=True)
class LivingTokens(SharedPins):
    """Implements ``room.Tokens``. ``serials`` by the script's names; ``pin_of`` is called when a token is opened.

    ``activation``: how each is opened; ``pin`` where nothing is said.
    """

    module: Path
    serials: Mapping[str, str]
    pin_of: Callable[[str], Pin]
    activation: Mapping[str, str] = field(default_factory=dict)
    stores: Mapping[str, Path] = field(default_factory=dict)
    """The SoftHSM stores of tokens that are in one of their own; ``home`` is that of the others."""
    home: Path | None = None
    copied: frozenset[str] = frozenset()
    """Tokens whose folders this program copies and erases (the driver ``softhsm``)."""
    papers: Mapping[str, str] = field(default_factory=dict)
    """Tokens that are opened by another one's shares, in a rehearsal."""
    _open: dict[str, TokenSession] = field(default_factory=dict)

    def inspect(self, token: str) -> TokenDescription:
        self._go_to(token)
        found = find_token(load_module(self.module), self.serials[token])
        return TokenDescription(found.serial, found.label, found.model, found.manufacturer)

    def open(self, token: str) -> int:
        self._go_to(token)
        session = TokenSession.open(load_module(self.module), self.serials[token], self._pin(token))
        self._open[token] = session
        return len(list_private_key_ids(session))

    def _pin(self, token: str) -> Pin | None:
        match self.activation.get(token, "pin"):
            case "shamir":
                return self.typed_pin(token, "user")
            case "external":
                return None
            case _:
                return self.pin_of(token)

    def _go_to(self, token: str) -> None:
        """To the store that the token is in, where there is more than one."""
        place = self.stores.get(token, self.home)
        if self.stores and place is not None:
            use_store(self.module, place)

    def rehearsed_share(self, name: str, which: Which, holder: str) -> str:
        return SharedPins.rehearsed_share(self, self.papers.get(name, name), which, holder)

    def clone(self, token: str, source: str) -> None:
        if token in self.copied:
            copy_token(self._store(source), self.serials[source], self._store(token))

    def adopt_clone(self, token: str, source: str) -> bool:
        return token in self.copied and has_token(self._store(token), self.serials[source])

    def destroy(self, token: str, key_id: bytes) -> bool:
        return destroy_key(self._session(token), key_id)

    def erase(self, token: str, serial: str) -> bool:
        self._go_to(token)
        if token in self.copied:
            erase_token(self._store(token), serial)
        module = load_module(self.module)
        if module.idle:
            module.reinitialise(module.generation)  # some look for their tokens only then
        return all(each.serial != serial for each in list_tokens(module))

    def change_pin(self, token: str, serial: str, which: Which) -> None:
        old, new = self.typed_pin(f"{OLD}{token}", which), self.pin(token, which)
        change_pin(load_module(self.module), serial, which, old=old, new=new)

    def finish_change(self, token: str, serial: str, which: Which) -> bool:
        old, new = self.typed_pin(f"{OLD}{token}", which), self.pin(token, which)
        old_so = self.typed_pin(f"{OLD}{token}", "so")
        return finish_change(load_module(self.module), serial, which, old=old, new=new, old_so=old_so)

    def is_useless(self, token: str, serial: str, which: Which) -> bool:
        old, new = self.typed_pin(f"{OLD}{token}", which), self.pin(token, which)
        return is_useless(load_module(self.module), serial, which, old=old, new=new)

    def list_serials(self) -> Sequence[str]:
        return sorted(each.serial for each in list_tokens(load_module(self.module)))

    def count(self, serial: str, token: str | None) -> Mapping[str, Any]:
        return count_token(self.module, serial, None if token is None else lambda: self._pin(token)).to_json()

    def _store(self, token: str) -> Path:
        place = self.stores.get(token, self.home)
        if place is None:
            raise TokenError(
                f"nobody said in which SoftHSM store the token {token} is", hint="softhsm_conf in site.toml"
            )
        return place

    def inspect_new(self, token: str, label: str) -> NewToken:
        self._check_label_is_free(label)
        found = describe_new_token(self.module)
        return NewToken(found.model, found.manufacturer, found.objects, found.shortest_pin, found.longest_pin)

    def initialise(self, token: str, label: str) -> str:
        self._check_label_is_free(label)
        return init_token(self.module, label=label, so_pin=self.pin(token, "so"), user_pin=self.pin(token, "user"))

    def adopt_initialised(self, token: str, label: str) -> str | None:
        found = [each for each in list_tokens(load_module(self.module)) if each.label == label]
        if not found:
            return None
        if len(found) > 1:
            raise TokenError(f"{len(found)} tokens are labelled {label!r}; wanted one")
        so_pin, user_pin = self.pin(token, "so"), self.pin(token, "user")
        # Whether the user's PIN was set before the interruption or not: the security officer sets this one.
        set_user_pin(load_module(self.module), found[0].serial, so_pin=so_pin, user_pin=user_pin)
        return found[0].serial

    def refuse_default_pin(self, serial: str) -> None:
        check_default_pin_is_refused(load_module(self.module), serial)

    def try_quorum(self, token: str, serial: str, which: Which) -> int:
        module, pin = load_module(self.module), self.typed_pin(token, which)
        if which == "so":
            return count_objects_as_so(module, serial, pin)
        with TokenSession.open(module, serial, pin) as session:
            return count_objects(session)

    def _check_label_is_free(self, label: str) -> None:
        if any(each.label == label for each in list_tokens(load_module(self.module))):
            raise TokenError(
                f"there is a token labelled {label!r} already",
                hint="one name, one token: choose another label in shares.toml (in a rehearsal: another store)",
            )

    def generate(self, token: str, kind: KeyKind, key_id: bytes, label: str) -> PublicKey:
        return generate_key(self._session(token), kind, key_id=key_id, label=label).public_key()

    def adopt(self, token: str, key_id: bytes) -> PublicKey | None:
        session = self._session(token)
        halves = count_halves(session, key_id)
        if halves == (0, 0):
            return None
        if halves != (1, 1):
            raise KeyAttributeError(
                f"the token {session.serial} holds {halves[0]} private and {halves[1]} public halves of the key "
                f"{key_id.hex()}: its making was interrupted",
                hint="this key is never used. Keep the record as evidence, erase the token with its maker's tool in "
                "front of the witness, initialise it again, and begin a new ceremony: new folder, prepare, rehearse",
            )
        return self.find(token, key_id)

    def find(self, token: str, key_id: bytes) -> PublicKey:
        return private_key(self._session(token), key_id).public_key()

    def prove(self, token: str, key_id: bytes, scheme: SignatureScheme, published: bytes) -> None:
        key = private_key(self._session(token), key_id)
        verify_bytes(key.public_key(), scheme, published, sign_bytes(key, scheme, published))

    def sign(self, token: str, key_id: bytes, drafted: Drafted) -> bytes:
        return drafted.sign(private_key(self._session(token), key_id))

    def close(self, token: str) -> None:
        self._open.pop(token).close()

    def close_all(self) -> None:
        """At the end, however it came."""
        while self._open:
            self._open.popitem()[1].close()

    def _session(self, token: str) -> TokenSession:
        if token not in self._open:
            raise TokenError(f"the token {token} is not open")
        return self._open[token]
