"""Where entries and hashes lie in a ledger's directory, and how a bundle of entries is read.

  checkpoint             the signed note
  open/<N>               the entries of the newest bundle, not yet 256; appended to
  tile/entries/<N>       256 entries each, never changed again
  tile/<L>/<N>           256 hashes of level L each; derived from the entries
  lock                   held by the one writer

Names and contents under ``tile`` are those of c2sp.org/tlog-tiles. Partial tiles (``.p/<W>``) are not files here: each
is the beginning of an open bundle or of a level, cut when it is asked for (``LedgerReader.resource``).
"""

import struct
from pathlib import Path
from typing import Final

from sealwright.errors import IntegrityError, NotFound
from sealwright.ledger.durable import storage

BUNDLE: Final = 256
ENTRY_LIMIT: Final = 0xFFFF
"""Octets: tlog-tiles has a length of two octets before each entry."""


def tile_name(number: int) -> str:
    """1234067 -> "x001/x234/067"."""
    parts = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        parts.append(f"x{number % 1000:03d}")
    return "/".join(reversed(parts))


def encode_entry(entry: bytes) -> bytes:
    return struct.pack(">H", len(entry)) + entry


class LedgerFiles:
    """The paths of a ledger, and reading them. Writes nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.checkpoint = directory / "checkpoint"
        self.lock = directory / "lock"
        self.open = directory / "open"

    def open_bundle(self, number: int) -> Path:
        return self.open / str(number)

    def bundle(self, number: int) -> Path:
        return self.directory / "tile" / "entries" / tile_name(number)

    def tile(self, level: int, number: int) -> Path:
        return self.directory / "tile" / str(level) / tile_name(number)

    def name(self, path: Path) -> str:
        """The path as a message says it."""
        return str(path.relative_to(self.directory))

    def read_checkpoint(self) -> str:
        """Raises ``NotFound`` where there is no ledger."""
        try:
            with storage("read", self.checkpoint):
                return self.checkpoint.read_bytes()[:65536].decode("utf-8")
        except UnicodeDecodeError:
            raise IntegrityError("checkpoint is not text", hint="restore it from a copy") from None
        except Exception as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise NotFound(
                    f"there is no ledger in {self.directory}", hint="`sealwrightd install` makes one"
                ) from None
            raise

    def find_bundle(self, number: int) -> Path | None:
        """Where the entries of a bundle are. A writer may be moving it from ``open`` to ``tile`` at this moment."""
        full, growing = self.bundle(number), self.open_bundle(number)
        return next((path for path in (full, growing, full) if path.exists()), None)

    def read_bundle(self, number: int) -> tuple[Path, bytes] | None:
        """The octets of a bundle."""
        for _ in range(3):
            path = self.find_bundle(number)
            if path is None:
                return None
            try:
                with storage("read", path):
                    return path, path.read_bytes()
            except Exception as error:
                if not isinstance(error.__cause__, FileNotFoundError):
                    raise
        return None


def split_bundle(data: bytes) -> tuple[list[bytes], int]:
    """The whole entries at the beginning of ``data``, and where they end. What follows is a torn entry."""
    entries, place, end = [], 0, len(data)
    while place + 2 <= end:
        following = place + 2 + (data[place] << 8 | data[place + 1])
        if following > end:
            break
        entries.append(data[place + 2 : following])
        place = following
    return entries, place
