"""The names of c2sp.org/tlog-tiles: which tiles a ledger of a size has, and how each is called. Pure.

``checkpoint``, ``tile/<L>/<N>[.p/<W>]`` for 256 hashes of level L, and ``tile/entries/<N>[.p/<W>]`` for 256 entries. A
partial tile (``.p/<W>``) is the beginning of one that is not full yet.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from sealwright.ledger.bundles import BUNDLE, tile_name

_TILE = re.compile(r"tile/(entries|0|[1-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")

CHECKPOINT = "checkpoint"


@dataclass(frozen=True, slots=True)
class Tile:
    """``level`` is None for a bundle of entries. ``width`` is how many entries or hashes it has, 256 when full."""

    level: int | None
    number: int
    width: int = BUNDLE

    @property
    def height(self) -> int:
        """Each hash is that of a complete subtree of 2^height entries."""
        return 8 * (self.level or 0)

    @property
    def is_full(self) -> bool:
        return self.width == BUNDLE

    @property
    def start(self) -> int:
        return self.number * BUNDLE

    @property
    def end(self) -> int:
        return self.start + self.width

    @property
    def name(self) -> str:
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{tile_name(self.number)}{'' if self.is_full else f'.p/{self.width}'}"

    def is_in(self, size: int) -> bool:
        """A ledger of ``size`` entries has all of this tile."""
        return self.end <= size >> self.height


def parse_tile(name: str) -> Tile | None:
    """None for what no tile is called."""
    found = _TILE.fullmatch(name)
    if found is None:
        return None
    level = None if found[1] == "entries" else int(found[1])
    tile = Tile(level, int(found[2].replace("x", "").replace("/", "")), int(found[3] or BUNDLE))
    return tile if tile.name == name else None


def bundles_of(size: int) -> Iterator[Tile]:
    """The bundles of entries, the last one partial where it has to be."""
    return _row(None, size)


def hash_tiles_of(size: int) -> Iterator[Tile]:
    """The hash tiles of every level."""
    level = 0
    while count := size >> 8 * level:
        yield from _row(level, count)
        level += 1


def _row(level: int | None, count: int) -> Iterator[Tile]:
    for number in range(count // BUNDLE):
        yield Tile(level, number)
    if count % BUNDLE:
        yield Tile(level, count // BUNDLE, count % BUNDLE)
