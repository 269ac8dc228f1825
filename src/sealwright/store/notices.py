"""PostgreSQL's LISTEN: a follower of the publication database hears of a change when it is committed.

A help, not a promise: a notice can be lost with its connection, a standby cannot listen, and SQLite has none. Whoever
uses this looks by itself too, every now and then.
"""

import contextlib
import time

import psycopg
from psycopg import conninfo

from sealwright.errors import SealwrightError
from sealwright.store.postgresql import SCHEMES, parse_address

CHANNEL = "sealwright_publication"
_AGAIN_SECONDS = 10.0


class Notices:
    """Of the database at ``url``. Never raises: without them it is only slower."""

    def __init__(self, url: str) -> None:
        self._url = url if url.startswith(SCHEMES) else ""
        self._connection: psycopg.Connection | None = None
        self._next_try = 0.0

    def listen(self) -> list[int]:
        """File descriptors to wait for: none when there is nothing to hear."""
        if self._connection is None and self._url and time.monotonic() >= self._next_try:
            self._next_try = time.monotonic() + _AGAIN_SECONDS
            self._connect()
        return [] if self._connection is None else [self._connection.fileno()]

    def clear(self) -> None:
        """Take what came: that it came is all that matters."""
        if self._connection is None:
            return
        try:
            for _ in self._connection.notifies(timeout=0):
                pass
        except psycopg.Error:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _connect(self) -> None:
        with contextlib.suppress(psycopg.Error, SealwrightError):
            address = conninfo.make_conninfo("", **parse_address(self._url, read_only=True))
            connection = psycopg.connect(address, autocommit=True)
            try:
                connection.execute(f"LISTEN {CHANNEL}")
            except psycopg.Error:
                connection.close()  # a standby: "cannot execute LISTEN during recovery"
                raise
            self._connection = connection
