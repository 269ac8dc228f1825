"""The room of a replay: people who say what they said, tokens that give what they gave, files that must be the same.

What can be computed again is not taken from the record; what cannot (a name, a serial number, a signature's octets)
is handed out from it, and ``actions`` judges it as it did then.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.ceremony.act import DEVIATION
from sealwright.ceremony.artefacts import Drafted
from sealwright.ceremony.holders import Holders, Which
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.room import NewToken, Question, Room, Scene, SecretQuestion, TokenDescription
from sealwright.ceremony.second import OtherTools
from sealwright.ceremony.transcript import Recorded
from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.pki.keys import KeyKind, PublicKey, key_kind
from sealwright.pki.signatures import SignatureScheme


def _field(entry: Mapping[str, Any], name: str, kind: type) -> Any:
    value = entry.get(name)
    if type(value) is not kind:
        raise IntegrityError(
            f"transcript line {entry['n'] + 1} ({entry['entry']}) has {name} {value!r:.80}; wanted a {kind.__name__}"
        )
    return value


def _text_or_none(entry: Mapping[str, Any], name: str) -> str | None:
    value: str | None = None if name in entry and entry[name] is None else _field(entry, name, str)
    return value


class RecordedPeople:
    def __init__(self, journal: Recorded) -> None:
        self._journal = journal

    def begin_step(self, scene: Scene) -> None:
        """Nobody is there."""

    def wait(self) -> None:
        """Nobody is there."""

    def tell(self, text: str) -> None:
        """Nobody is there to hear it."""

    def ask_secret(self, question: SecretQuestion) -> str:
        return ""  # nobody recorded it

    def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
        return _text_or_none(self._journal.next("signature"), "signature")

    def own_key(self, name: str, *, required: bool) -> str | None:
        return _text_or_none(self._journal.next("present"), "key")

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        """Nobody is there to see it."""

    def ask(self, question: Question) -> str:
        self._journal.interrupted()
        if self._journal.comes("deviation"):
            return DEVIATION
        answer: str = _field(self._journal.next("answer"), "answer", str)
        return answer


class RecordedTokens:
    """Results as they were recorded. ``keys`` learns every public key that the ceremony made."""

    def __init__(self, journal: Recorded, outputs: Mapping[str, bytes], known: Mapping[str, PublicKey]) -> None:
        self._journal, self._outputs = journal, outputs
        self._keys: dict[str, PublicKey] = dict(known)
        self._serials: dict[str, str] = {}

    def inspect(self, token: str) -> TokenDescription:
        entry = self._journal.next("result")
        if entry.get("operation") == "open-again":
            return TokenDescription(self._serials[token], "", "", "")  # compared then, and not recorded again
        self._serials[token] = _field(entry, "serial", str)
        return TokenDescription(*(_field(entry, name, str) for name in ("serial", "label", "model", "manufacturer")))

    def open(self, token: str) -> int:
        keys: int = _field(self._journal.next("result"), "keys", int)
        return keys

    def generate(self, token: str, kind: KeyKind, key_id: bytes, label: str) -> PublicKey:
        entry = self._journal.next("result")
        try:
            public = load_der_public_key(base64.b64decode(_field(entry, "spki", str), validate=True))
            key_kind(public)
        except (ValueError, binascii.Error, PolicyViolation) as error:
            raise IntegrityError(f"transcript line {entry['n'] + 1}: the public key cannot be read: {error}") from error
        self._keys[token] = public  # type: ignore[assignment]  # key_kind raised for every other class
        return self._keys[token]

    def adopt(self, token: str, key_id: bytes) -> PublicKey | None:
        if not _field(self._journal.next("result"), "adopted", bool):
            return None
        return self.generate(token, KeyKind.P256, key_id, "")  # its kind is what the record says, and judged there

    def find(self, token: str, key_id: bytes) -> PublicKey:
        # What the ceremony compared it with; its result line must then come out again.
        return self._keys[token]

    def prove(self, token: str, key_id: bytes, scheme: SignatureScheme, published: bytes) -> None:
        """The signature was thrown away; that it was made cannot be known."""

    def sign(self, token: str, key_id: bytes, drafted: Drafted) -> bytes:
        if drafted.name not in self._outputs:
            raise IntegrityError(f"the output {drafted.name} is not there")
        return self._outputs[drafted.name]

    def close(self, token: str) -> None:
        """It was closed."""

    def clone(self, token: str, source: str) -> None:
        """It was cloned; its key is found again, and has to be the root's."""

    def adopt_clone(self, token: str, source: str) -> bool:
        adopted: bool = _field(self._journal.next("result"), "adopted", bool)
        return adopted

    def destroy(self, token: str, key_id: bytes) -> bool:
        destroyed: bool = _field(self._journal.next("result"), "destroyed", bool)
        return destroyed

    def erase(self, token: str, serial: str) -> bool:
        gone: bool = _field(self._journal.next("result"), "gone", bool)
        return gone

    def change_pin(self, token: str, serial: str, which: Which) -> None:
        """It was changed."""

    def finish_change(self, token: str, serial: str, which: Which) -> bool:
        adopted: bool = _field(self._journal.next("result"), "adopted", bool)
        return adopted

    def is_useless(self, token: str, serial: str, which: Which) -> bool:
        refused: bool = _field(self._journal.next("result"), "refused", bool)
        return refused

    def keep_new_papers(self, old: str, new: str) -> None:
        """They are on paper."""

    def list_serials(self) -> Sequence[str]:
        serials: list[Any] = _field(self._journal.next("result"), "serials", list)
        return [str(each) for each in serials]

    def count(self, serial: str, token: str | None) -> Mapping[str, Any]:
        counted: dict[str, Any] = _field(self._journal.next("result"), "counted", dict)
        return counted

    # Of shares and PINs a record has nothing but who had which: what they were good for, the token knew.

    def forget_shares(self, token: str, which: Which) -> None:
        """They are gone."""

    def take_share(self, token: str, which: Which, typed: str) -> tuple[int, int]:
        entry = self._journal.next("share")
        number, missing = (_field(entry, name, int) for name in ("number", "missing"))
        if not _field(entry, "accepted", bool):
            raise InputError("a share that was none")
        return number, missing

    def rehearsed_share(self, name: str, which: Which, holder: str) -> str:
        return ""

    def inspect_new(self, token: str, label: str) -> NewToken:
        entry = self._journal.next("result")
        names = (_field(entry, name, str) for name in ("model", "manufacturer"))
        return NewToken(*names, *(_field(entry, name, int) for name in ("objects", "shortest_pin", "longest_pin")))

    def split(self, token: str, which: Which, holders: Holders) -> None:
        """It was split."""

    def share(self, token: str, which: Which, number: int) -> str:
        return ""

    def is_share(self, token: str, which: Which, number: int, typed: str) -> bool:
        right: bool = _field(self._journal.next("handed-over"), "accepted", bool)
        return right

    def has_pin(self, token: str, which: Which) -> bool:
        if not self._journal.comes("share"):
            return True
        entry = self._journal.next("share")
        return (entry.get("token"), entry.get("which")) != (token, which)

    def initialise(self, token: str, label: str) -> str:
        serial: str = _field(self._journal.next("result"), "serial", str)
        return serial

    def adopt_initialised(self, token: str, label: str) -> str | None:
        entry = self._journal.next("result")
        return self.initialise(token, label) if _field(entry, "adopted", bool) else None

    def refuse_default_pin(self, serial: str) -> None:
        """It was refused."""

    def try_quorum(self, token: str, serial: str, which: Which) -> int:
        objects: int = _field(self._journal.next("result"), "objects", int)
        return objects


class RecordedBench:
    """Every file that would be laid down must be there already, octet for octet."""

    def __init__(self, journal: Recorded, outputs: Mapping[str, bytes]) -> None:
        self._journal, self._outputs = journal, outputs

    def recover(self, name: str) -> bytes | None:
        return self._outputs.get(name) if _field(self._journal.next("result"), "adopted", bool) else None

    def lay_down(self, name: str, data: bytes) -> None:
        if name not in self._outputs:
            raise IntegrityError(f"the output {name} is not there")
        if self._outputs[name] != data:
            raise IntegrityError(f"the output {name} is not what the ceremony made")

    def promote(self, names: tuple[str, ...]) -> None:
        if sorted(names) != sorted(self._outputs):
            strange = ", ".join(sorted(set(self._outputs) ^ set(names)))
            raise IntegrityError(f"the outputs are not those of the script: {strange}")


class SecondAgain:
    """OpenSSL, once more, whichever tool it was: it is the one that can check at the ceremony's own time."""

    def __init__(self, journal: Recorded) -> None:
        self._journal, self._tools = journal, OtherTools()

    def verify(self, tool: str, name: str, data: bytes, root: bytes | None, at: datetime) -> str:
        self._tools.verify("openssl", name, data, root, at)
        version: str = _field(self._journal.next("verified"), "version", str)
        return version

    def build_path(self, tool: str, anchor: bytes, through: bytes, end: bytes, at: datetime) -> str:
        self._tools.build_path("openssl", anchor, through, end, at)
        version: str = _field(self._journal.next("path"), "version", str)
        return version


def recorded_room(journal: Recorded, outputs: Mapping[str, bytes], inputs: Mapping[str, bytes]) -> Room:
    """The room of a replay, from what a record holds."""
    return Room(
        journal,
        RecordedPeople(journal),
        RecordedTokens(journal, outputs, _known_keys(inputs)),
        RecordedBench(journal, outputs),
        SecondAgain(journal),
    )


def _known_keys(inputs: Mapping[str, bytes]) -> dict[str, PublicKey]:
    """Each root's key, where the root is an input: what a found key, or a copy's, was compared with."""
    found: dict[str, PublicKey] = {}
    for token in ("root", "new-root"):
        if f"{token}.pem" not in inputs:
            continue
        try:
            public = x509.load_pem_x509_certificate(inputs[f"{token}.pem"]).public_key()
        except ValueError as error:
            raise IntegrityError(f"inputs/{token}.pem cannot be read: {error}") from error
        found[token] = public  # type: ignore[assignment]  # its kind is checked when it is drafted under
    if "root" in found:
        copies = {name for rule in KINDS.values() for name in (*rule.copies, *rule.sealed)}
        found |= dict.fromkeys(copies, found["root"])
    return found
