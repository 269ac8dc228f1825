"""The entries of this CA's CRLs, encoded and kept: the full list's and each partition's, as the index has them.

Made from the index once after a start, and changed by what was revoked or corrected since. The files have no name and
die with the process: the ledger is the truth. The full list has every revoked serial, a partition those that name it.
"""

import tempfile
import weakref
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Final

from sealwright.errors import StorageError
from sealwright.issuing.index import LedgerIndex
from sealwright.issuing.index_rows import Revoked
from sealwright.pki.crl_book import CRLBook
from sealwright.pki.crl_scope import FULL
from sealwright.pki.revocation import RevocationEntry

RETENTION: Final = timedelta(days=3653)
"""A revoked serial stays on the CRL this long after its certificate expired (profiles.md: ten years)."""
_LOOK_EVERY: Final = timedelta(days=1)
"""How often what is over is looked for. What stays a day longer harms nobody."""


class CRLBooks:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._books: dict[str, CRLBook] = {}
        self._looked: datetime | None = None

    def book(self, scope: str) -> CRLBook:
        """The entries of one scope, as of the last ``bring_up``."""
        if scope not in self._books:
            file = self._new_file()
            self._books[scope] = _owning(CRLBook(file), file)
        return self._books[scope]

    def bring_up(self, index: LedgerIndex, now: datetime) -> None:
        """Take in what the ledger says since. Whatever goes wrong on the way, the next call makes all of it again."""
        changes, index.crl_changes = index.crl_changes, None
        if changes is None or self._looked is None or self._is_something_over(index, now):
            self._make(index, now)
        else:
            added: dict[str, list[RevocationEntry]] = {}
            for serial, new in changes.items():
                entry = _entry(index.revoked[serial])
                for scope in {FULL, index.scope_of(serial)}:
                    if new:
                        added.setdefault(scope, []).append(entry)
                    else:
                        file = self._new_file()
                        self._books[scope] = _owning(self.book(scope).replace(entry, file), file)
            for scope, entries in added.items():
                self.book(scope).add(entries)
        index.crl_changes = {}

    def _is_something_over(self, index: LedgerIndex, now: datetime) -> bool:
        if self._looked is not None and now - self._looked < _LOOK_EVERY:
            return False
        self._looked = now
        return len(retained_entries(index, now)) < self.book(FULL).count

    def _make(self, index: LedgerIndex, now: datetime) -> None:
        self._books.clear()
        entries = retained_entries(index, now)
        self.book(FULL).add(entries)
        divided: dict[str, list[RevocationEntry]] = {}
        named = index.revoked_in_partitions()
        if named:
            for entry in entries:
                if entry.serial in named:
                    divided.setdefault(named[entry.serial], []).append(entry)
        for scope, part in divided.items():
            self.book(scope).add(part)
        self._looked = now

    def _new_file(self) -> IO[bytes]:
        try:
            return tempfile.TemporaryFile(dir=self._folder)
        except OSError as error:
            raise StorageError.of(error, f"cannot keep the CRL's entries in {self._folder}") from error


def retained_entries(index: LedgerIndex, now: datetime) -> tuple[RevocationEntry, ...]:
    """Every revoked serial whose ten years are not over, in the order of revocation."""
    over = index.expired_before(now - RETENTION)
    return tuple(_entry(each) for each in index.revoked.values() if each.serial not in over)


def _owning(book: CRLBook, file: IO[bytes]) -> CRLBook:
    """The file is closed, and with that gone, when nobody has the book any more."""
    weakref.finalize(book, file.close)
    return book


def _entry(revoked: Revoked) -> RevocationEntry:
    return RevocationEntry(revoked.serial, revoked.at, revoked.reason)
