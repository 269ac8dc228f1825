"""One step being taken: how it records, shows a digest, and asks a person, three tries at most.

What the steps do is in ``actions``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sealwright.ceremony import script as s
from sealwright.ceremony.artefacts import Drafted
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.prepared import Prepared
from sealwright.ceremony.room import Question, Room
from sealwright.ceremony.words import EVEN, ODD, spell_hex, spell_rows
from sealwright.errors import PolicyViolation

TRIES = 3
DEVIATION = "deviation"
"""Typed instead of any answer: something is not as written, and goes into the record."""

_LEADS, _WATCHES, _AGREED, _LONGEST_SENTENCE = s.Role.ADMINISTRATOR, s.Role.WITNESS, "so it was", 400
_LEFT = {1: "One try is left; after it the ceremony stops.", 2: "Two tries are left."}
_LONGEST_WRONG = 80


@dataclass(slots=True)
class State:
    """What the ceremony knows so far."""

    materials: Materials
    prepared: Prepared
    version: int
    """Of the transcript's form: what a record of an older one cannot have, it is not asked for."""
    activation: Mapping[str, str]
    """How each token is opened."""
    drivers: Mapping[str, str] = field(default_factory=dict)
    """Who clones and erases each: ``vendor``, ``softhsm``."""
    step: int = 0
    opened: list[str] = field(default_factory=list)
    """The tokens that are open, in the order in which they were opened."""
    pending: tuple[str, str | None] | None = None
    """The operation that an intent was recorded for, and no result yet; and on which token."""
    interruptions: int = 0
    deviating: bool = False
    present: dict[s.Role, tuple[str, ...]] = field(default_factory=dict)
    drafts: dict[str, Drafted] = field(default_factory=dict)
    token_serials: dict[str, str] = field(default_factory=dict)
    keys_on: dict[str, int] = field(default_factory=dict)
    old_quorums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Whose papers open the token until its PINs are changed: of the user's, and of the security officer's."""


@dataclass(frozen=True, slots=True)
class Act:
    """One step being taken: the state, the room, and where in the script it stands."""

    number: int
    state: State
    room: Room

    @property
    def materials(self) -> Materials:
        return self.state.materials

    def record(self, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None:
        self.room.journal.record(entry, {"step": self.number, **fields}, observed)

    def intend(self, operation: str, **fields: Any) -> bool:
        """On the disk before the token is touched.

        Gives whether the ceremony was interrupted right after it: then the operation may have been done.
        """
        self.record("intent", {"operation": operation, **fields})
        self.state.pending = (operation, fields.get("token"))
        return self.room.journal.interrupted()

    def result(
        self,
        operation: str,
        *,
        observed: Mapping[str, Any] | None = None,
        adopted: bool | None = None,
        **fields: Any,
    ) -> None:
        """``adopted``: the operation had been done before an interruption, and was not done again."""
        if adopted is not None and self.state.version > 1:
            fields["adopted"] = adopted
        self.record("result", {"operation": operation, **fields}, observed)
        self.state.pending = None

    def show_digest(self, what: str, digest: str) -> None:
        words = spell_hex(digest)
        self.room.people.tell(f"{what}, SHA-256:\n{spell_rows(digest)}")
        self.record("shown", {"what": what, "sha256": digest, "words": " ".join(words)})

    def ask(self, question: Question) -> str:
        """Three tries, each recorded. CER-ANSWER after the third."""
        for attempt in range(1, TRIES + 1):
            answer = self.room.people.ask(question)
            while answer.strip().casefold() == DEVIATION and self._write_deviation(question):
                answer = self.room.people.ask(question)
            accepted = question.accepts(answer)
            self.record(
                "answer",
                {"role": question.role, "question": question.prompt, "try": attempt, "accepted": accepted},
                {"answer": answer if accepted else _without_secrets(answer, question)},
            )
            if accepted:
                return answer
            left = f" {_LEFT[TRIES - attempt]}" if attempt < TRIES else ""
            self.room.people.tell(f"That is not what was wanted: {question.wanted}.{left}")
        raise PolicyViolation(
            f"the {question.role} gave {TRIES} answers that were not what was wanted: {question.wanted}",
            rule="CER-ANSWER",
            hint="the ceremony ends here; find out why before it is begun again",
        )

    def _write_deviation(self, question: Question) -> bool:
        """Something is not as written: what was expected, what happened, what was decided; agreed to by two.

        It is no answer, and takes no try; and whatever is written here, every check stays as it is. Only when it is
        known who leads and who watches, and not within itself.
        """
        present = self.state.present
        if self.state.version < 2 or self.state.deviating or not {_LEADS, _WATCHES} <= set(present):
            return False
        self.state.deviating = True
        self.record("deviation", {"question": question.prompt})
        for what in ("what was expected", "what happened", "what was decided, and by whom"):
            prompt = f"A deviation is written down: {what}"
            self.ask(Question(_LEADS, prompt, _is_sentence, "none", "one line of text", free=True))
        for role in (_LEADS, _WATCHES):
            prompt = f"{present[role][0]}: if that is what happened, type exactly: {_AGREED}"
            self.ask(Question(role, prompt, lambda text: text.strip() == _AGREED, _AGREED, f"exactly {_AGREED!r}"))
        self.state.deviating = False
        return True


def _is_sentence(text: str) -> bool:
    return 0 < len(text.strip()) <= _LONGEST_SENTENCE and text.isprintable()


def _without_secrets(answer: str, question: Question) -> str:
    """A wrong answer as it is recorded: words that anybody may read stay, others become dots.

    Somebody under stress types a PIN where a phrase was asked for, and a transcript is read for ten years.
    """
    public = {word.strip(",.").casefold() for word in f"{question.prompt} {question.wanted}".split()} | _PGP_WORDS
    words = (word if word.casefold() in public else "..." for word in answer.split())
    return " ".join(words)[:_LONGEST_WRONG]


_PGP_WORDS = frozenset(word.casefold() for word in (*EVEN, *ODD))
