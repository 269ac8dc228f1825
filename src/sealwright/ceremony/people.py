"""The people of a ceremony: at a terminal, or, in an unattended rehearsal, nobody.

Answers are read as lines; a PIN is read without echo and goes nowhere but to the token.
"""

import getpass
import hashlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from sealwright.ceremony.room import Question, Scene, SecretQuestion
from sealwright.ceremony.shamir import reads_like_a_share
from sealwright.errors import InputError
from sealwright.hsm.pin import Pin
from sealwright.statements.ssh_keygen import read_public_key, sign_message

_SENTENCE = 3
"""Words in one, at least."""


class TerminalPeople:
    """Implements ``room.People`` on a pipe that stands for a terminal; what people look at is ``console``'s."""

    def __init__(
        self,
        out: TextIO | None = None,
        read: Callable[[], str] = input,
        *,
        key_files: Callable[[str], Path | None] = lambda _: None,
    ) -> None:
        """``key_files``: where the SSH key of a person is, by name, when the site says so."""
        self._out, self._read, self._key_files = out or sys.stderr, read, key_files

    def tell(self, text: str) -> None:
        print(text, file=self._out, flush=True)  # the person in front of it is the point

    def begin_step(self, scene: Scene) -> None:
        self.tell(f"\n{scene.mode} · step {scene.number} of {scene.total} · {scene.action} · {scene.who}\n{scene.say}")

    def wait(self) -> None:
        """A pipe has only answers."""

    def ask_secret(self, question: SecretQuestion) -> str:
        """On a terminal without echo. Long, and typed blind: three tries for it."""
        if self._read is input and self._out.isatty():
            return getpass.getpass(f"{question.prompt}: ")
        self.tell(f"{question.prompt}.")
        return self._answer()

    def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
        """By ``ssh-keygen``, which knows agents and FIDO keys and asks for touch and passphrase itself."""
        path = self._key_file(name, required=required)
        if path is None:
            return None
        read_public_key(path)  # a file that is not there is noticed before anybody reaches for a token
        self.tell(f"{name} signs {hashlib.sha256(message).hexdigest()} with {key}. A FIDO key wants to be touched.")
        return sign_message(path, namespace, message)

    def own_key(self, name: str, *, required: bool) -> str | None:
        path = self._key_file(name, required=required)
        return read_public_key(path).line if path else None

    def _key_file(self, name: str, *, required: bool) -> Path | None:
        path = self._key_files(name)
        if path is None and required:
            self.tell(f"{name}: plug your own key in, and type the path of its file.")
            print("> ", end="", file=self._out, flush=True)
            path = Path(self._answer().strip()).expanduser()
        return path

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        """Raises ``InputError`` where it would stay: in a pipe or a file."""
        if not self._out.isatty():
            raise InputError(f"{what} is shown on a terminal only", hint="a file would keep it")
        lines = "\n".join(
            "  ".join(f"{place + 1:2} {word:<10}" for place, word in list(enumerate(secret.split()))[row : row + 4])
            for row in range(0, len(secret.split()), 4)
        )
        self.tell(f"\nFor the eyes of {holder} alone: {what}. Write it down.\n\n{lines}\n")
        print("(Enter, when it is on paper: the screen is wiped) ", end="", file=self._out, flush=True)
        self._answer()
        print("\033[2J\033[3J\033[H", end="", file=self._out, flush=True)  # also what was scrolled away

    def ask(self, question: Question) -> str:
        self.tell(f"{question.role.upper()}: {question.prompt}.")
        while True:
            print("> ", end="", file=self._out, flush=True)  # not by input(): stdout is for results
            answer = self._answer()
            if not (unfit := why_unfit(question, answer)):
                return answer
            self.tell(unfit)

    def _answer(self) -> str:
        try:
            return self._read()
        except UnicodeDecodeError:
            return "?"  # octets that are no text are a wrong answer like any other
        except KeyboardInterrupt:
            self.tell("")
            raise
        except EOFError:
            self.tell("")
            raise InputError(
                "nobody answers: the input has ended", hint="a ceremony is for people; `rehearse --unattended` is not"
            ) from None


def why_unfit(question: Question, answer: str) -> str:
    """Why words of one's own should not be kept for ten years: a PIN or a share, typed where a sentence was asked for.
    Judged here and not by the question, because what is refused here must not reach the record as a wrong answer."""
    if not question.free:
        return ""
    if len(answer.split()) < _SENTENCE:
        return f"That could be a PIN, and is not kept. Write {_SENTENCE} words or more; it does not count as a try."
    if reads_like_a_share(answer):
        return "That reads like a share, and is not kept. Say it in other words; it does not count as a try."
    return ""


class NobodyPresent:
    """Implements ``room.People`` for an unattended rehearsal: says what the script wants to hear."""

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell

    def begin_step(self, scene: Scene) -> None:
        self.tell(f"step {scene.number} of {scene.total}: {scene.action}")

    def tell(self, text: str) -> None:
        if self._tell:
            self._tell(text)

    def wait(self) -> None:
        pass

    def ask(self, question: Question) -> str:
        return question.rehearsed

    def ask_secret(self, question: SecretQuestion) -> str:
        return question.rehearsed

    def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
        return None

    def own_key(self, name: str, *, required: bool) -> str | None:
        return None

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        pass


def say_stopped(record: Path) -> None:
    """After Ctrl-C, to whoever pressed it: plainly, without waiting for a key."""
    sys.stderr.write(f"\nSTOPPED. The record is {record}\nsealwright-ceremony resume {record}   goes on with it\n")


def ask_pin(token: str) -> Pin:
    """The PIN of a token, without echo: where echo cannot be turned off, no PIN is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            return Pin(getpass.getpass(f"PIN of the token {token}: "))
    except (EOFError, getpass.GetPassWarning):
        raise InputError(
            f"there is no terminal to ask for the PIN of {token}", hint="name a pin_file in site.toml"
        ) from None
