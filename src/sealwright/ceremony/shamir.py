"""A token's PIN as shares: a random secret split M of N with SLIP-39, and put together again. No people, no token.

The secret has 128 bits, is split without a passphrase, and is the PIN itself in another spelling (base64url without
padding), so that shares can be turned into a PIN anywhere, in twenty years, by any SLIP-39 program. A share carries a
checksum (three wrong words are always found), and a set that was put together a digest: a mistyped share is known
before a token hears of it.
"""

import base64
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from shamir_mnemonic import MnemonicError, Share, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.hsm.pin import Pin

SECRET_OCTETS = 16
PIN_LENGTH = 22
"""How long the PIN is that these octets spell."""

WORDS = 20
"""In one share of a secret of this length."""

_TELLTALE = 6


@dataclass(frozen=True, slots=True)
class Division:
    """One PIN's: how many of how many. Raises ``PolicyViolation`` (CER-SHARES) for what is no quorum."""

    threshold: int
    shares: int

    def __post_init__(self) -> None:
        if not 2 <= self.threshold <= self.shares <= 16:
            raise PolicyViolation(
                f"a PIN in {self.shares} shares of which {self.threshold} open the token; wanted 2 or more, of at "
                "most 16",
                rule="CER-SHARES",
                hint="nobody opens a token alone: two of three is usual",
            )


def split(division: Division) -> tuple[str, ...]:
    """Shares of a new random secret, as words; every subset that shall open the token was tried."""
    secret = secrets.token_bytes(SECRET_OCTETS)
    (mnemonics,) = generate_mnemonics(1, [(division.threshold, division.shares)], secret)
    if any(combine(subset) != secret for subset in combinations(mnemonics, division.threshold)):
        raise IntegrityError("shares of a PIN do not give it again", hint="stop: this machine computes wrongly")
    return tuple(mnemonics)


def combine(mnemonics: Iterable[str]) -> bytes:
    """The secret. Raises ``InputError``, which quotes nothing, when these do not belong together."""
    try:
        secret = combine_mnemonics(mnemonics)
    except MnemonicError:
        raise InputError(
            "these shares do not give a secret", hint="are they all of this token, and of its newest set?"
        ) from None
    if len(secret) < SECRET_OCTETS:
        raise InputError(f"the shares hold {8 * len(secret)} bits; wanted {8 * SECRET_OCTETS} or more")
    return bytes(secret)


def pin_of(secret: bytes) -> Pin:
    """The PIN that the secret spells."""
    return Pin(base64.urlsafe_b64encode(secret).rstrip(b"=").decode())


def same_share(typed: str, share: str) -> bool:
    """Case and spacing are not what is being tested."""
    return hmac.compare_digest(" ".join(typed.casefold().split()).encode(), share.encode())


def reads_like_a_share(text: str) -> bool:
    """Whether so many of its words, one after the other, are those of shares that it may be one, or a part of one."""
    run = longest = 0
    for word in text.casefold().split():
        run = run + 1 if word in WORD_INDEX_MAP else 0
        longest = max(longest, run)
    return longest >= _TELLTALE


@dataclass(slots=True)
class Collector:
    """Shares as holders type them, until there are enough. Holds secrets: never shown, never recorded."""

    _shares: dict[int, str] = field(default_factory=dict, repr=False)
    _set: tuple[int, int] | None = None

    def take(self, typed: str) -> int:
        """One share; gives its number, from 1. Raises ``InputError``, which quotes no word, when it is none of ours."""
        words = typed.casefold().split()
        if len(words) != WORDS:
            raise InputError(f"that has {len(words)} words; a share has {WORDS}")
        strange = [str(place) for place, word in enumerate(words, 1) if word not in WORD_INDEX_MAP]
        if strange:
            raise InputError(f"no word of the list: word {', '.join(strange)}")
        try:
            share = Share.from_mnemonic(" ".join(words))
        except MnemonicError:
            raise InputError("the checksum is wrong: a word is another one, or two are swapped") from None
        if share.group_count != 1:
            raise InputError("that is a share of some other scheme")
        if self._set is None:
            self._set = (share.identifier, share.member_threshold)
        if (share.identifier, share.member_threshold) != self._set:
            raise InputError("that share is of another set than the one before", hint="is it of this token?")
        if share.index in self._shares:
            raise InputError("that share was given already")
        self._shares[share.index] = " ".join(words)
        return int(share.index) + 1

    @property
    def missing(self) -> int:
        """How many more it takes. Before the first share nobody knows: one, at least."""
        return max(self._set[1] - len(self._shares), 0) if self._set else 1

    def pin(self) -> Pin:
        """The PIN, when nothing is missing. Raises ``InputError`` when the set proves false."""
        return pin_of(combine(self._shares.values()))
