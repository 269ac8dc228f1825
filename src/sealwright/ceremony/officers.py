"""``officers.toml``: the security officers whose quorum will govern this PKI, and the keys that they sign with.

Here they are only named and counted. That a roster carries their signatures is ``statements``'.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sealwright.ceremony.toml import parse
from sealwright.errors import PolicyViolation
from sealwright.pki.tomlfile import Table
from sealwright.statements.ssh import parse_public_key

_NAME = r"[a-z0-9][a-z0-9._-]{0,62}"
OfficerName = Annotated[str, Field(pattern=rf"^{_NAME}\z")]


def is_name(text: str) -> bool:
    """Of a person, as records have them."""
    return re.fullmatch(_NAME, text) is not None


class _Officer(Table):
    name: OfficerName
    key: Annotated[str, Field(min_length=1, max_length=4096)]


class _OfficersFile(Table):
    threshold: Annotated[int, Field(ge=1, le=16)]
    officers: Annotated[tuple[_Officer, ...], Field(min_length=1, max_length=32)]


@dataclass(frozen=True, slots=True)
class Officers:
    """Name -> normalised SSH public key, in the order of the file."""

    keys: Mapping[str, str]
    threshold: int
    both: "tuple[Officers, Officers] | None" = None
    """Those of two roots, where a ceremony has two: each one's quorum is wanted."""

    @classmethod
    def of(cls, officers: Iterable[tuple[str, str]], threshold: int) -> "Officers":
        """Raises ``PolicyViolation`` (CER-QUORUM) unless they are distinct people with distinct keys, and enough."""
        keys: dict[str, str] = {}
        identities: set[str] = set()
        for name, line in officers:
            key = parse_public_key(line)
            if name in keys:
                raise PolicyViolation(f"the officer {name} is named twice", rule="CER-QUORUM")
            if key.identity in identities:  # the bare key, as the roster's rules count: no application makes it two
                raise PolicyViolation(f"the officer {name} has the key of another officer", rule="CER-QUORUM")
            keys[name] = key.line
            identities.add(key.identity)
        if not 2 <= threshold <= len(keys):
            raise PolicyViolation(
                f"threshold is {threshold} of {len(keys)} officers; wanted 2 or more, and no more than there are",
                rule="CER-QUORUM",
                hint="nobody decides alone: two of three is usual",
            )
        return cls(keys, threshold)

    @classmethod
    def of_both(cls, old: "Officers", new: "Officers") -> "Officers":
        """Those of two roots together. CER-QUORUM: one name is of two keys, or one key of two names."""
        keys = {**old.keys, **new.keys}
        for name, line in old.keys.items():
            if keys[name] != line:
                raise PolicyViolation(f"the officer {name} has another key at the new root", rule="CER-QUORUM")
        if len({parse_public_key(line).identity for line in keys.values()}) != len(keys):
            raise PolicyViolation("an officer has another name at the new root", rule="CER-QUORUM")
        return cls(keys, old.threshold, (old, new))

    @property
    def boards(self) -> "tuple[Officers, ...]":
        """Each root's own."""
        return self.both or (self,)

    def lacking(self, names: Collection[str]) -> int:
        """How many more there must be, at the root that lacks most."""
        return max(board.threshold - len(set(names) & set(board.keys)) for board in self.boards)


def parse_officers(data: bytes) -> Officers:
    """Raises ``InputError`` naming the field, and what ``Officers.of`` raises."""
    hint = 'wanted: threshold = 2, and [[officers]] with name = "ada" and key = "ssh-ed25519 AAAA..."'
    file = parse(data, _OfficersFile, source="officers.toml", hint=hint)
    return Officers.of(((officer.name, officer.key) for officer in file.officers), file.threshold)
