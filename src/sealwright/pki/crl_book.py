"""CRLs of a million entries: each entry is encoded once and kept, and a CRL is assembled around what is kept.

A ``CRLBook`` holds the encoded entries of one scope, in the order of revocation, in a file that the caller gives it.
``sign_book`` lints, digests while it copies, signs the digest, and never holds more than a chunk.

What is linted (ADR 0011): before and behind the entries, with one real entry of every *shape* (length of the serial,
reason, form of the date) and the newest ones, as a CRL of its own, by all of our rules and by pkilint. An entry differs
from the linted one of its shape in the octets of its serial and of its dates, which have the same length there, and
whose values are asked for each entry when it is added. The digest of all kept entries goes along with them, and what is
read back must have it: what is signed is what was added.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Final

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki import der
from sealwright.pki.crl import CRLDraft, assemble_tbs, draft_frame, encode_entry, lint_crl
from sealwright.pki.crl_rules import CRLKind, crl_kind
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import PrivateKey
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import LARGEST_SERIAL
from sealwright.pki.signatures import (
    algorithm_identifier,
    hash_algorithm,
    sign_bytes,
    sign_digest,
    verify_bytes,
    verify_digest,
)

_CHUNK: Final = 1 << 20
_LONGEST_SIGNATURE: Final = 600
_NEWEST: Final = 4
"""Entries of the end that are linted with each CRL."""
_UTC_TIME_ENDS: Final = datetime(2050, 1, 1, tzinfo=UTC)
_Shape = tuple[int, RevocationReason | None, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class CRLFields:
    """What a CRL says besides its entries. ``distribution_point``: the URL of a partition; None: the full list."""

    issuer: IssuerRecord
    number: int
    this_update: datetime
    next_update: datetime
    expired_certs_since: datetime
    distribution_point: str | None = None


class CRLBook:
    """The entries of one scope. ``file``: read and written by this alone, and empty."""

    def __init__(self, file: IO[bytes], kind: CRLKind = CRLKind.CRL) -> None:
        self._file, self._kind = file, kind
        self._forms: dict[_Shape, tuple[bytes, int]] = {}
        self._samples: dict[_Shape, bytes] = {}
        self._newest: deque[bytes] = deque(maxlen=_NEWEST)
        self._digest = hashlib.sha256()
        self._latest: datetime | None = None
        self.count = self.octets = 0

    def add(self, entries: Iterable[RevocationEntry]) -> None:
        """At the end. That none of them is there already is the caller's to know: its source has each serial once."""
        self._file.seek(self.octets)
        waiting = bytearray()
        for entry in entries:
            encoded = self._encode(entry)
            waiting += encoded
            self.count += 1
            self._newest.append(encoded)
            if self._latest is None or entry.revocation_date > self._latest:
                self._latest = entry.revocation_date
            if len(waiting) >= _CHUNK:
                self._append(waiting)
        self._append(waiting)

    def _append(self, waiting: bytearray) -> None:
        self._file.write(waiting)
        self._digest.update(waiting)
        self.octets += len(waiting)
        waiting.clear()

    def replace(self, entry: RevocationEntry, into: IO[bytes]) -> "CRLBook":
        """The book with this entry in the place of its serial's, in the file ``into``. LookupError: it has none."""
        book = CRLBook(into, self._kind)
        book._latest, book.count = self._latest, self.count
        book._forms, book._samples = self._forms, dict(self._samples)
        encoded, marker = book._encode(entry), der.integer(entry.serial)
        found, waiting = False, b""
        for chunk in self._chunks():
            data = waiting + chunk
            at = 0
            while at + 1 < len(data) and at + 2 + data[at + 1] <= len(data):
                end = at + 2 + data[at + 1]  # every entry is shorter than 128 octets
                if data.startswith(marker, at + 2):
                    data = data[:at] + encoded + data[end:]
                    end, found = at + len(encoded), True
                at = end
            book._append(bytearray(data[:at]))
            waiting = data[at:]
        if not found:
            raise LookupError(f"serial {entry.serial:x} is not in the book")
        book._newest.append(encoded)
        if book._latest is None or entry.revocation_date > book._latest:
            book._latest = entry.revocation_date
        return book

    def _encode(self, entry: RevocationEntry) -> bytes:
        serial, date, reason = entry.serial, entry.revocation_date, entry.reason
        if not 1 <= serial <= LARGEST_SERIAL:
            raise PolicyViolation(f"CRL: serial {serial:x} is not positive, or over 20 octets", rule="CRL-SERIAL")
        if date.tzinfo is None or date.microsecond:
            raise PolicyViolation(f"CRL: serial {serial:x} is revoked {date!r}; wanted UTC, seconds", rule="CRL-TIME")
        date = date.astimezone(UTC)
        octets, short = serial.bit_length() // 8 + 1, date < _UTC_TIME_ENDS
        shape = (octets, reason, short)
        known = self._forms.get(shape)
        if known is None:
            encoded = encode_entry(entry, self._kind)
            if len(encoded) >= 0x80:
                raise IntegrityError("an entry of a CRL has more than 127 octets")
            at = 2 + 2 + octets + 2 + (13 if short else 15)
            self._forms[shape] = encoded, encoded.find(der.generalized_time(date), at)
            self._samples[shape] = encoded
            return encoded
        form, invalidity = known
        long = b"%04d%02d%02d%02d%02d%02dZ" % date.timetuple()[:6]
        at = 4 + octets
        parts = [form[:4], serial.to_bytes(octets, "big"), form[at : at + 2], long[2:] if short else long]
        at += 2 + len(parts[-1])
        if invalidity < 0:
            parts.append(form[at:])
        else:
            parts += [form[at : invalidity + 2], long, form[invalidity + 17 :]]
        encoded = b"".join(parts)
        self._samples.setdefault(shape, encoded)
        return encoded

    def _chunks(self) -> Iterator[bytes]:
        """Everything that was added. IntegrityError, at the end, when the file has something else."""
        self._file.flush()
        self._file.seek(0)
        digest, left = hashlib.sha256(), self.octets
        while left:
            chunk = self._file.read(min(_CHUNK, left))
            if not chunk:
                break
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        if left or digest.digest() != self._digest.digest():
            raise IntegrityError("the kept entries of the CRL are not those that were added")

    def _sample(self) -> list[bytes]:
        """One of each shape and the newest, each serial once: behind tag and length of the entry stands its INTEGER."""
        some = [*self._samples.values(), *self._newest]
        return list({each[2 : 4 + each[3]]: each for each in some}.values())


class LintedBook:
    """Proof that what will be signed was linted: there is none that was made without. Use ``lint_book``."""

    __slots__ = ("_book", "_count", "_fields", "_head", "_tail")

    def __init__(self, book: CRLBook, fields: CRLFields) -> None:
        head, tail = draft_frame(
            issuer=fields.issuer,
            number=fields.number,
            this_update=fields.this_update,
            next_update=fields.next_update,
            expired_certs_since=fields.expired_certs_since,
            distribution_point=fields.distribution_point,
        )
        if book._latest is not None and book._latest > fields.this_update:
            raise PolicyViolation(
                f"an entry is revoked {book._latest}, after thisUpdate {fields.this_update}", rule="CRL-REVOCATION-DATE"
            )
        sample = assemble_tbs(head, book._sample(), tail)
        lint_crl(
            CRLDraft(
                issuer=fields.issuer,
                kind=crl_kind(fields.issuer.certificate),
                tbs=sample,
                sample_tbs=sample,
                distribution_point=fields.distribution_point,
            )
        )
        self._book, self._fields, self._head, self._tail = book, fields, head, tail
        self._count = book.count


def lint_book(book: CRLBook, fields: CRLFields) -> LintedBook:
    """Every rule of ``crl_rules`` and pkilint. Raises PolicyViolation."""
    return LintedBook(book, fields)


@dataclass(frozen=True, slots=True)
class SignedCRL:
    sha256: str
    size: int


def sign_book(linted: LintedBook, key: PrivateKey, out: IO[bytes]) -> SignedCRL:
    """Write the CRL to ``out``, empty and readable. IntegrityError unless it is the issuer's and what was linted."""
    if not isinstance(linted, LintedBook):  # for callers without a type checker
        raise TypeError(f"sign_book: got {type(linted).__name__}; wanted what lint_book returned")
    book, issuer = linted._book, linted._fields.issuer
    if book.count != linted._count:
        raise IntegrityError("CRL: its entries are others than those that were linted")
    revoked = der.header(der.SEQUENCE, book.octets) if book.octets else b""
    inside = len(linted._head) + len(revoked) + book.octets + len(linted._tail)
    begin = der.header(der.SEQUENCE, inside)
    tbs_octets = len(begin) + inside
    algorithm = algorithm_identifier(issuer.scheme)
    # The length of an ECDSA signature is not known yet: room for the longest header, filled in from its end.
    room = len(der.header(der.SEQUENCE, tbs_octets + len(algorithm) + _LONGEST_SIGNATURE))
    out.seek(room)
    parts = _parts(begin + linted._head + revoked, book, linted._tail)
    if tbs_octets <= _CHUNK:
        tbs = b"".join(parts)
        out.write(tbs)
        signature = sign_bytes(key, issuer.scheme, tbs)
        verify_bytes(issuer.public_key, issuer.scheme, tbs, signature)
    else:  # too long to be held: digested as it is written
        digest = hashlib.new(hash_algorithm(issuer.scheme).name)
        for part in parts:
            digest.update(part)
            out.write(part)
        signature = sign_digest(key, issuer.scheme, digest.digest())
        verify_digest(issuer.public_key, issuer.scheme, digest.digest(), signature)
    end = algorithm + der.encode(der.BIT_STRING, b"\x00", signature)
    out.write(end)
    header = der.header(der.SEQUENCE, tbs_octets + len(end))
    out.seek(room - len(header))
    out.write(header)
    return _finish(out, room - len(header), len(header) + tbs_octets + len(end))


def _parts(before: bytes, book: CRLBook, behind: bytes) -> Iterator[bytes]:
    yield before
    yield from book._chunks()
    yield behind


def _finish(out: IO[bytes], start: int, size: int) -> SignedCRL:
    """Close the gap before the CRL, and digest all of it."""
    digest, at = hashlib.sha256(), 0
    while at < size:
        out.seek(start + at)
        chunk = out.read(min(_CHUNK, size - at))
        if not chunk:
            raise IntegrityError("the CRL is not what was written")
        digest.update(chunk)
        if start:
            out.seek(at)
            out.write(chunk)
        at += len(chunk)
    out.truncate(size)
    out.flush()
    return SignedCRL(digest.hexdigest(), size)
