"""The short way from a request's bytes to its reply, for requests like those before.

Clients repeat themselves: of two requests of one client only the serial number differs. What llhttp and the OCSP
parser said of the bytes around it is remembered here, and the same bytes are not parsed again: the header section of a
request, and a request's DER up to its serial. Anything that is not, octet for octet, like something known goes the
long way (``http``, ``responder``), and so does every reply that is not a fresh 200. Both ways say the same: a test
holds them against each other.
"""

import binascii
import time
import zlib
from contextlib import suppress
from email.utils import formatdate
from typing import Final

from sealwright.errors import IntegrityError
from sealwright.pki.ocsp_query import OCSPQuery
from sealwright.validation.snapshot import CHECKSUM_OCTETS, REPLY_AT, SERIAL_OCTETS, WHOLE, SnapshotReader, SnapshotView

_KNOWN_LIMIT: Final = 512
"""Header sections, and beginnings of requests, that are remembered; then it begins again."""
_HEAD_LIMIT: Final = 1024
TICK_SECONDS: Final = 0.05
_PREFIX_LENGTHS: Final = (67, 95)
"""Octets of a request before the serial's: with SHA-1, with SHA-256, as everybody writes them."""


class Clock:
    """The time, and the header lines that follow from it, made once a second at most."""

    def __init__(self, max_age: int) -> None:
        self._max_age = max_age
        self.now = 0
        self.date_line = self.fresh = b""
        self.horizon = b""
        """Who may be cached beyond this (as ``snapshot`` stores it) has the usual lines: those of ``fresh``."""
        self.read()

    def read(self) -> int:
        now = int(time.time())
        if now != self.now:
            self.now = now
            self.date_line = f"Date: {formatdate(now, usegmt=True)}\r\n".encode("ascii")
            cache = b"Cache-Control: max-age=%d, public, no-transform, must-revalidate\r\n" % self._max_age
            self.fresh = b"HTTP/1.1 200 OK\r\n" + self.date_line + cache
            self.horizon = (now + self._max_age).to_bytes(4, "big")
        return now


class ShortWay:
    """What one worker remembers. ``None`` from ``answer`` means: the long way, please."""

    __slots__ = ("_clock", "_heads", "_keys", "_path", "_post", "_snapshot", "_target_at", "_view", "open")

    def __init__(self, snapshot: SnapshotReader | None, clock: Clock, prefix: str = "") -> None:
        self._snapshot, self._clock = snapshot, clock
        self._path = f"GET {prefix}/ocsp/".encode("ascii")
        self._post = f"POST {prefix}/ocsp HTTP/1.1\r\n".encode("ascii")
        self._target_at = len(self._path)
        self._heads: dict[bytes, int] = {}
        self._keys: dict[bytes, tuple[int, bytes]] = {}
        self._view: SnapshotView | None = None
        self.open = snapshot is not None
        """False: everything goes the long way."""
        self.tick()

    def tick(self) -> None:
        """To be called every ``TICK_SECONDS``: what is answered is the snapshot, and the time, of the last tick."""
        self._clock.read()
        if self._view is not None:
            self._view.close()
            self._view = None
        if self._snapshot is not None and self.open:
            with suppress(IntegrityError):  # the long way says so
                self._view = self._snapshot.view()

    def answer(self, data: bytes) -> bytes | None:
        """The whole reply to ``data``, when that is one whole request of a known kind."""
        if data[: self._target_at] == self._path:
            end = data.find(b" ", self._target_at)
            if data[end:] not in self._heads:
                return None
            encoded = data[self._target_at : end]
            if b"%" in encoded:
                encoded = encoded.replace(b"%2F", b"/").replace(b"%2B", b"+")
                if encoded[-1:] == b"D":
                    encoded = encoded.replace(b"%3D", b"=")
            try:
                return self._find(binascii.a2b_base64(encoded, strict_mode=True))
            except (binascii.Error, ValueError):
                return None
        end = data.find(b"\r\n\r\n") + 4
        if self._heads.get(data[:end]) != len(data) - end:
            return None
        return self._find(data[end:])

    def _find(self, query: bytes) -> bytes | None:
        found = self._keys.get(query[:67]) or self._keys.get(query[:95])
        if found is None:
            return None
        length, key = found
        # All of a known length; the first octet says that it is positive and in its shortest form.
        if len(query) != length or not 0 < query[-SERIAL_OCTETS] < 0x80 or self._view is None:
            return None
        try:
            data = self._view.get(key + query[-SERIAL_OCTETS:])
        except IntegrityError:
            return None  # the long way says so
        clock = self._clock
        if data is None or data[:4] <= clock.horizon or zlib.crc32(data) != WHOLE:
            return None
        return clock.fresh + data[REPLY_AT:-CHECKSUM_OCTETS]

    def remember_head(self, data: bytes, body: bytes) -> None:
        """``data`` was one request, whole, with nothing special about it but its target and ``body``."""
        if data.startswith(self._path):
            self._remember(self._heads, data[data.find(b" ", self._target_at) :], -1)
        elif data.startswith(self._post):
            end = data.find(b"\r\n\r\n") + 4
            if data[end:] == body:  # not in chunks
                self._remember(self._heads, data[:end], len(body))

    def remember_query(self, data: bytes, query: OCSPQuery) -> None:
        """``data`` is an OCSP request of this meaning; only one without extensions has its serial at its end."""
        at = len(data) - SERIAL_OCTETS
        if (
            self._snapshot is None
            or at not in _PREFIX_LENGTHS
            or data[at:] != query.serial.to_bytes(SERIAL_OCTETS, "big", signed=True)
            or data[at - 2 : at] != bytes((0x02, SERIAL_OCTETS))
        ):
            return
        key = self._snapshot.find_key(query)
        if key is not None and data[:at] not in self._keys:
            if len(self._keys) >= _KNOWN_LIMIT:
                self._keys.clear()
            self._keys[data[:at]] = (len(data), key)

    @staticmethod
    def _remember(known: dict[bytes, int], head: bytes, length: int) -> None:
        if len(head) <= _HEAD_LIMIT:
            if len(known) >= _KNOWN_LIMIT:
                known.clear()
            known[head] = length
