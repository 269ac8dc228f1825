"""The room: everything that a ceremony cannot compute. People, tokens, the second implementation, the outputs' folder.

``actions`` is written against these faces alone. Each has a living form (``people``, ``tokens``, ``second``,
``bench``) and a recorded one (``recorded``), so that a replay runs the very same actions over again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from sealwright.ceremony.artefacts import Drafted
from sealwright.ceremony.holders import Holders, Which
from sealwright.ceremony.script import Role
from sealwright.ceremony.transcript import Journal
from sealwright.pki.keys import KeyKind, PublicKey
from sealwright.pki.signatures import SignatureScheme


@dataclass(frozen=True, slots=True)
class Question:
    """``accepts`` judges an answer, now and in every replay. ``rehearsed`` is an unattended rehearsal's answer.

    ``free``: in words of one's own, which the record keeps as they are.
    """

    role: Role
    prompt: str
    accepts: Callable[[str], bool]
    rehearsed: str
    wanted: str
    free: bool = False


@dataclass(frozen=True, slots=True)
class SecretQuestion:
    """A share or a PIN, asked without echo. ``rehearsed``: empty, except in a rehearsal."""

    holder: str
    prompt: str
    rehearsed: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A step as the room is told of it. ``planned_...``: minutes, before this step, in it, in the whole ceremony."""

    mode: str
    title: str
    number: int
    total: int
    action: str
    who: Role
    say: str
    planned_before: int
    planned_here: int
    planned_all: int
    next_action: str | None
    next_who: Role | None


class People(Protocol):
    def begin_step(self, scene: Scene) -> None:
        """Show who acts and what is said."""

    def tell(self, text: str) -> None:
        """Show or read out. Nothing comes back."""

    def wait(self) -> None:
        """Until whoever's step it is has read it aloud and has their hands ready. Not an answer: not recorded."""

    def ask(self, question: Question) -> str:
        """One answer, right or wrong."""

    def ask_secret(self, question: SecretQuestion) -> str:
        """Without echo. The answer goes to the token's side of the room, and is never recorded."""

    def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
        """An armored SSH signature by this person's own key, over ``message`` for ``namespace``.

        ``key``: which one, as people know it. None where no key was brought and none is ``required``.
        """

    def own_key(self, name: str, *, required: bool) -> str | None:
        """The public key that this person brought, as a line; None as for ``sign``."""

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        """To its holder alone, until it is written down; then it is gone from the screen."""


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was never initialised. PIN lengths in octets."""

    model: str
    manufacturer: str
    objects: int
    shortest_pin: int
    longest_pin: int


@dataclass(frozen=True, slots=True)
class TokenDescription:
    serial: str
    label: str
    model: str
    manufacturer: str


class Tokens(Protocol):
    """The script's tokens, by the names it gives them."""

    def inspect(self, token: str) -> TokenDescription: ...

    def open(self, token: str) -> int:
        """Log in; how many private keys are on it."""

    def generate(self, token: str, kind: KeyKind, key_id: bytes, label: str) -> PublicKey: ...

    def adopt(self, token: str, key_id: bytes) -> PublicKey | None:
        """After an interruption: the key that was made under this id, read back; None when there is none.

        Raises ``TokenError`` with instructions for half a key pair.
        """

    def find(self, token: str, key_id: bytes) -> PublicKey:
        """The public half of the one key with this id, after its attributes were read back."""

    def prove(self, token: str, key_id: bytes, scheme: SignatureScheme, published: bytes) -> None:
        """Sign bytes that are published already, verify with the public half, and throw the signature away."""

    def sign(self, token: str, key_id: bytes, drafted: Drafted) -> bytes:
        """The signed file."""

    def close(self, token: str) -> None: ...

    def clone(self, token: str, source: str) -> None:
        """The token becomes a copy, where this program is who makes it; otherwise people just did."""

    def adopt_clone(self, token: str, source: str) -> bool:
        """After an interruption: whether the copy is there already, whole."""

    def destroy(self, token: str, key_id: bytes) -> bool:
        """Both halves of the key, or what is left of it. False when this token destroys no single key."""

    def erase(self, token: str, serial: str) -> bool:
        """Where this program is who erases it: now. Then, whether no token has this serial number any more."""

    def change_pin(self, token: str, serial: str, which: Which) -> None:
        """From the old one, that was typed, to the new one."""

    def finish_change(self, token: str, serial: str, which: Which) -> bool:
        """After an interruption of it: the new one is valid then. Whether it was found to be already."""

    def is_useless(self, token: str, serial: str, which: Which) -> bool:
        """Whether the token refuses the old one. Tried once."""

    def keep_new_papers(self, old: str, new: str) -> None:
        """In a rehearsal: what holders have on paper is from now on the new set."""

    def list_serials(self) -> Sequence[str]:
        """Every token that is plugged in."""

    def count(self, serial: str, token: str | None) -> Mapping[str, Any]:
        """It is described; opened and listed, when it is the script's ``token``. Nothing is changed."""

    def forget_shares(self, token: str, which: Which) -> None:
        """What was typed so far."""

    def take_share(self, token: str, which: Which, typed: str) -> tuple[int, int]:
        """Its number, and how many are missing. Raises ``InputError``, quoting nothing, and touches no token."""

    def rehearsed_share(self, name: str, which: Which, holder: str) -> str:
        """In a rehearsal: the share that this holder would have on paper. Empty in production."""

    def inspect_new(self, token: str, label: str) -> NewToken:
        """The one token that is not initialised. ``label`` must be free."""

    def split(self, token: str, which: Which, holders: Holders) -> None:
        """A new random PIN in shares, every subset tried."""

    def share(self, token: str, which: Which, number: int) -> str:
        """The words of one share, from 1."""

    def is_share(self, token: str, which: Which, number: int, typed: str) -> bool: ...

    def has_pin(self, token: str, which: Which) -> bool:
        """Whether this PIN is known, from the split or from its holders."""

    def initialise(self, token: str, label: str) -> str:
        """Give it its label and its PINs; its serial number."""

    def adopt_initialised(self, token: str, label: str) -> str | None:
        """After an interruption: the token that was initialised already, finished where it was not; or None."""

    def refuse_default_pin(self, serial: str) -> None:
        """Raise ``PolicyViolation`` when a PIN that everybody knows opens it. One try."""

    def try_quorum(self, token: str, serial: str, which: Which) -> int:
        """Log in with the shares that were typed, count all objects, log out."""


class Bench(Protocol):
    """Where files are laid down: in quarantine first, then as outputs."""

    def lay_down(self, name: str, data: bytes) -> None: ...

    def recover(self, name: str) -> bytes | None:
        """After an interruption: the file that was laid down already, if it was."""

    def promote(self, names: tuple[str, ...]) -> None: ...


class SecondOpinion(Protocol):
    def verify(self, tool: str, name: str, data: bytes, root: bytes | None, at: datetime) -> str:
        """Raise ``IntegrityError`` unless the tool agrees. Gives the tool's version."""

    def build_path(self, tool: str, anchor: bytes, through: bytes, end: bytes, at: datetime) -> str:
        """The same of the path from the one root that is trusted, through a certificate, to the last (all PEM)."""


class Room:
    """One journal, and who and what is there. ``continued`` has a room that is recorded first and living then."""

    def __init__(self, journal: Journal, people: People, tokens: Tokens, bench: Bench, second: SecondOpinion) -> None:
        self.journal = journal
        self._people, self._tokens, self._bench, self._second = people, tokens, bench, second

    @property
    def people(self) -> People:
        return self._people

    @property
    def tokens(self) -> Tokens:
        return self._tokens

    @property
    def bench(self) -> Bench:
        return self._bench

    @property
    def second(self) -> SecondOpinion:
        return self._second
