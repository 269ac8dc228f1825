"""The PINs of a room's tokens that are known as shares: split, handed out, typed in. In memory, and nowhere else.

In a rehearsal, and only there, what its holders would have on paper is kept in the rehearsal's store, so that nobody
has to be there for the next one.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from sealwright.ceremony.holders import Holders, Which
from sealwright.ceremony.shamir import Collector, combine, pin_of, same_share, split
from sealwright.errors import StorageError, TokenError
from sealwright.hsm.pin import Pin

OLD = "old-"
"""Before the name of a token: its shares so far, where it gets new ones."""


@dataclass(slots=True)
class SharedPins:
    """``kept``: the folder of a rehearsal's papers; None in production."""

    kept: Path | None = None
    _papers: dict[tuple[str, Which], tuple[str, ...]] = field(default_factory=dict, repr=False)
    _typed: dict[tuple[str, Which], Collector] = field(default_factory=dict, repr=False)
    _thresholds: dict[tuple[str, Which], int] = field(default_factory=dict, repr=False)

    def split(self, token: str, which: Which, holders: Holders) -> None:
        self._papers[token, which] = papers = split(holders.divisions[which])
        self._thresholds[token, which] = holders.divisions[which].threshold
        if self.kept is not None:
            _keep(self._paper_file(holders.label, which), dict(zip(holders.of(which), papers, strict=True)))

    def share(self, token: str, which: Which, number: int) -> str:
        return self._papers[token, which][number - 1]

    def is_share(self, token: str, which: Which, number: int, typed: str) -> bool:
        return same_share(typed, self.share(token, which, number))

    def forget_shares(self, token: str, which: Which) -> None:
        self._typed[token, which] = Collector()

    def take_share(self, token: str, which: Which, typed: str) -> tuple[int, int]:
        collector = self._typed[token, which]
        return collector.take(typed), collector.missing

    def rehearsed_share(self, name: str, which: Which, holder: str) -> str:
        if self.kept is None or not self._paper_file(name, which).is_file():
            return ""
        return str(json.loads(self._paper_file(name, which).read_text()).get(holder, ""))

    def keep_new_papers(self, old: str, new: str) -> None:
        """May be cut off and done again."""
        sides: tuple[Which, ...] = ("user", "so")
        for which in sides if self.kept is not None else ():
            if self._paper_file(new, which).is_file():
                self._paper_file(new, which).replace(self._paper_file(old, which))

    def has_pin(self, token: str, which: Which) -> bool:
        collector = self._typed.get((token, which))
        return (token, which) in self._papers or (collector is not None and collector.missing == 0)

    def pin(self, token: str, which: Which) -> Pin:
        """From the papers of a split in this very process, or from what was typed."""
        papers = self._papers.get((token, which))
        return pin_of(combine(papers[: self._thresholds[token, which]])) if papers else self.typed_pin(token, which)

    def typed_pin(self, token: str, which: Which) -> Pin:
        """From what was typed alone. Raises ``InputError`` when the shares do not belong together."""
        collector = self._typed.get((token, which))
        if collector is None or collector.missing:
            raise TokenError(f"the shares of the {which} PIN of the token {token} are not there")
        return collector.pin()

    def _paper_file(self, name: str, which: Which) -> Path:
        assert self.kept is not None  # noqa: S101  # asked before
        return self.kept / f"{name}.{which}.shares"


def _keep(path: Path, papers: dict[str, str]) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(papers, file)
    except OSError as error:
        raise StorageError(f"cannot write the rehearsal's shares to {path}: {error.strerror}") from error
