"""The snapshot: everything that is served, ready to send, in an LMDB file. One process writes it, any number read it.

A record is what never changes of a reply (HTTP header lines, the empty line, the body), behind three times and a flag,
and before a checksum. Keys are short: a CA's hashes are looked up once and stand for a number, then hash form, that
number and the serial. LMDB gives readers a consistent view without a lock, survives a kill at any moment, and opens at
once whatever its size; what it does not notice (a disk that lies, a file cut short) ``generations.check_file`` and the
checksums do. It knows nothing of signatures; ``sync`` lets nothing in that it has not checked.
"""

import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self, cast

import lmdb

from sealwright.errors import IntegrityError, StorageError
from sealwright.pki.ocsp_query import CertIDForm, OCSPQuery
from sealwright.validation.generations import DATA, check_file

MAP_SIZE: Final = 64 << 30
"""Octets of address space, not of disk: some twenty million certificates."""
FORMAT: Final = b"2"
_READERS: Final = 512
_SOME: Final = 2000
_REBUILT: Final = "validation makes it again by itself, from the publication database"
SERIAL_OCTETS: Final = 20
_FORMS: Final = {CertIDForm.SHA1: b"1", CertIDForm.SHA256: b"2"}
_HEADER: Final = struct.Struct(">IIIIBH")
_REVOKED: Final = 1
_NEVER: Final = 0xFFFFFFFF

REPLY_AT: Final = _HEADER.size
"""Where a stored record's reply begins; before it, first of all, four octets: until when it may be cached."""
CHECKSUM_OCTETS: Final = 4
_MARK_OCTETS: Final = 512
"""The whole of a file's header lines, and some more."""
WHOLE: Final = 0x2144DF1C
"""CRC-32 of a record with its checksum at the end: the same for every record that is whole."""


class Record(NamedTuple):
    """Times are Unix seconds, 0 for none. ``head``: header lines, each ended; ``fresh_until``: when a newer is due."""

    revoked: bool
    this_update: int
    next_update: int
    fresh_until: int
    head: bytes
    body: bytes

    @property
    def etag(self) -> bytes:
        """As it stands in ``head``, with its quotes."""
        at = self.head.index(b"ETag: ") + 6
        return self.head[at : self.head.index(b"\r", at)]


def make_record(
    *,
    content_type: str,
    body: bytes,
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    fresh_until: datetime | None = None,
    revoked: bool = False,
) -> Record:
    """All that can be said before anybody asks (RFC 9919 5: Last-Modified, Expires, ETag of the response's SHA-256)."""
    lines = [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    if this_update is not None:
        lines.append(f"Last-Modified: {_http_date(this_update)}")
    if next_update is not None:
        lines.append(f"Expires: {_http_date(next_update)}")
    lines.append(f'ETag: "{hashlib.sha256(body).hexdigest()}"')
    return Record(
        revoked=revoked,
        this_update=_seconds(this_update),
        next_update=_seconds(next_update),
        fresh_until=_seconds(fresh_until),
        head="".join(f"{line}\r\n" for line in lines).encode("ascii"),
        body=body,
    )


@lru_cache(maxsize=256)
def _http_date(moment: datetime) -> str:
    # Thousands of answers share their times.
    return format_datetime(moment, usegmt=True)


def _seconds(moment: datetime | None) -> int:
    return 0 if moment is None else int(moment.timestamp())


def pack(record: Record) -> bytes:
    header = _HEADER.pack(
        min(record.next_update or _NEVER, record.fresh_until or _NEVER),
        record.this_update,
        record.next_update,
        record.fresh_until,
        _REVOKED if record.revoked else 0,
        len(record.head),
    )
    data = b"".join((header, record.head, b"\r\n", record.body))
    return data + zlib.crc32(data).to_bytes(CHECKSUM_OCTETS, "little")


def unpack(data: bytes | memoryview) -> Record:
    """IntegrityError when it is not as it was packed."""
    if len(data) < REPLY_AT or zlib.crc32(data) != WHOLE:
        raise IntegrityError("the snapshot is damaged: a record is not as it was written")
    _, this_update, next_update, fresh_until, flags, length = _HEADER.unpack_from(data)
    end = REPLY_AT + length
    head, body = bytes(data[REPLY_AT:end]), bytes(data[end + 2 : -CHECKSUM_OCTETS])
    return Record(flags == _REVOKED, this_update, next_update, fresh_until, head, body)


def _mark(data: memoryview) -> bytes:
    """What tells a record from every other under its key: its times, its ETag (a SHA-256 of its body), its checksum."""
    return bytes(data[:_MARK_OCTETS]) + bytes(data[-CHECKSUM_OCTETS:])


def _issuer_key(form: CertIDForm, name_hash: bytes, key_hash: bytes) -> bytes:
    return b"i" + _FORMS[form] + name_hash + key_hash


def _answer_key(form: CertIDForm, issuer: bytes, serial: int) -> bytes:
    return b"a" + _FORMS[form] + issuer + serial.to_bytes(SERIAL_OCTETS, "big")


@dataclass(frozen=True, slots=True)
class Progress:
    """Of which publication database, up to which change, and when that was last looked at (Unix seconds)."""

    identity: str
    change: int
    looked: int


class Freshness(NamedTuple):
    """How many answers there are; how many should have been refreshed by now; how many are over. The same of CRLs."""

    answers: int
    overdue: int
    over: int
    crls_overdue: int = 0
    crls_over: int = 0


class SnapshotReader:
    """For an answering process. Errors of LMDB's, and IntegrityError, are for its edge to turn into a refusal."""

    def __init__(self, environment: lmdb.Environment, folder: Path) -> None:
        self._environment, self._folder = environment, folder
        self._issuers: dict[bytes, bytes] = {}
        self._objects: dict[bytes, tuple[bytes, Record]] = {}

    @classmethod
    def open(cls, folder: Path, pki: str = "") -> Self:
        """Of another process than the writer's: LMDB wants an environment opened once in a process.

        IntegrityError when it is cut short, damaged, of another format or of another PKI than ``pki``.
        """
        check_file(folder)
        environment = _open(folder, read_only=True)
        try:
            with _damage(folder), environment.begin() as transaction:
                _check_origin(transaction, folder, pki)
        except IntegrityError:
            environment.close()
            raise
        return cls(environment, folder)

    def find_key(self, query: OCSPQuery) -> bytes | None:
        """What every answer's key of this CertID's CA and form begins with; None for a CA that is not here."""
        if query.form is None:
            return None
        issuer_key = _issuer_key(query.form, query.name_hash, query.key_hash)
        issuer = self._issuers.get(issuer_key)
        if issuer is None:
            issuer = self.get(issuer_key)
            if issuer is None:
                return None
            # There are as many as CAs; a number never changes its meaning.
            self._issuers[issuer_key] = issuer
        return b"a" + _FORMS[query.form] + issuer

    def get(self, key: bytes) -> bytes | None:
        """A record as it is stored."""
        try:
            with self._environment.begin() as transaction:
                data: bytes | None = transaction.get(key)
        except lmdb.Error as error:
            raise IntegrityError(f"the snapshot in {self._folder} is damaged: {error}", hint=_REBUILT) from error
        return data

    def find_answer(self, query: OCSPQuery) -> Record | None:
        """The answer to this CertID: its very hashes, its very serial."""
        if not 0 < query.serial < 1 << 8 * SERIAL_OCTETS:
            return None
        key = self.find_key(query)
        data = None if key is None else self.get(key + query.serial.to_bytes(SERIAL_OCTETS, "big"))
        return None if data is None else unpack(bytes(data))

    def view(self) -> "SnapshotView":
        """The snapshot as it is now, for many look-ups in a short time."""
        with _damage(self._folder):
            return SnapshotView(self._environment.begin(), self._folder)

    def find_object(self, path: str) -> Record | None:
        """The file under this path of the public server.

        A CRL may be a hundred megabytes, and asking for it is free: it is copied and checked once, then kept until
        another stands there.
        """
        key = b"o" + path.encode("ascii", "replace")
        if len(key) > 200:
            return None
        with _damage(self._folder), self._environment.begin(buffers=True) as transaction:
            stored = transaction.get(key)
            if stored is None:
                self._objects.pop(key, None)
                return None
            mark = _mark(stored)
            known = self._objects.get(key)
            if known is None or known[0] != mark:
                known = self._objects[key] = mark, unpack(stored)
        return known[1]

    def find(self, form: CertIDForm, hashes: tuple[bytes, bytes], serial: int) -> Record | None:
        return self.find_answer(OCSPQuery(form, *hashes, serial))

    def number(self, path: str) -> int:
        """Of the CRL under this path; 0 when there is none."""
        return int(self.get(b"n" + path.encode("ascii")) or b"0", 16)

    def records(self) -> Iterator[tuple[bytes, bytes]]:
        """Every answer and file as it is stored, some at a time: no reader holds on to old pages for long."""
        last: bytes | None = b"\x00"
        while last is not None:
            with _damage(self._folder), self._environment.begin() as transaction, transaction.cursor() as cursor:
                found = list(islice(cursor.iternext(), _SOME)) if cursor.set_range(last) else []
            last = found[-1][0] + b"\x00" if len(found) == _SOME else None
            yield from (each for each in found if each[0].startswith((b"a", b"o")))

    def progress(self) -> Progress | None:
        with _damage(self._folder), self._environment.begin() as transaction:
            return _progress(transaction)

    def freshness(self) -> Freshness:
        """As the last full look found it."""
        answers, crls = self.get(b"m:freshness") or b"0 0 0", self.get(b"m:crls") or b"0 0"
        return Freshness(*map(int, answers.split(b" ")), *map(int, crls.split(b" ")))

    def close(self) -> None:
        self._environment.close()


class SnapshotView:
    """One moment of a snapshot. It holds on to old pages: to be closed soon."""

    def __init__(self, transaction: lmdb.Transaction, folder: Path) -> None:
        self._transaction, self._folder = transaction, folder

    def get(self, key: bytes) -> bytes | None:
        """A record as it is stored."""
        try:
            data = self._transaction.get(key)
        except lmdb.Error as error:
            raise IntegrityError(f"the snapshot in {self._folder} is damaged: {error}", hint=_REBUILT) from error
        return cast("bytes | None", data)  # the transactions are opened without buffers

    def close(self) -> None:
        self._transaction.abort()


class SnapshotWriter:
    """For the sync process, the only one. ``write`` is one transaction: all of it is seen, or nothing."""

    def __init__(self, folder: Path, pki: str = "", *, durable: bool = True) -> None:
        """Opens, or makes, the one in ``folder``. IntegrityError as ``SnapshotReader.open`` says.

        ``durable`` False: for one that is being built, and not served before ``sync``.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make {folder}: {error.strerror}") from error
        self._folder = folder
        is_new = not (folder / DATA).exists()
        if not is_new:
            check_file(folder)
        self._environment = _open(folder, read_only=False, durable=durable)
        with self.write() as transaction:
            if is_new:
                transaction.put_origin(pki)
            else:
                transaction.check_origin(folder, pki)

    @contextmanager
    def write(self) -> Iterator["SnapshotTransaction"]:
        try:
            with self._environment.begin(write=True) as transaction:
                yield SnapshotTransaction(transaction)
            self._fill_up()
        except (lmdb.DiskError, lmdb.MapFullError, lmdb.TxnFullError, lmdb.ReadersFullError, OSError) as error:
            raise StorageError(
                f"cannot write the snapshot in {self._folder}: {error}", hint="is the disk full?"
            ) from error
        except lmdb.Error as error:
            raise IntegrityError(f"the snapshot in {self._folder} is damaged: {error}", hint=_REBUILT) from error

    def _fill_up(self) -> None:
        # LMDB need not have written its last pages when they are free: then the file is shorter than it says, and
        # looks as if it had been cut.
        pages = self._environment.info()["last_pgno"] + 1
        wanted = pages * self._environment.stat()["psize"]
        path = self._folder / DATA
        if path.stat().st_size < wanted:
            os.truncate(path, wanted)

    def sync(self) -> None:
        """To the disk: for one that was not opened as durable."""
        self._environment.sync(True)

    def progress(self) -> Progress | None:
        return self.reader().progress()

    def reader(self) -> SnapshotReader:
        """A reader in the writer's own process."""
        return SnapshotReader(self._environment, self._folder)

    def clear_readers(self) -> None:
        """Give back what readers that were killed still hold."""
        self._environment.reader_check()

    def close(self) -> None:
        self._environment.close()


class SnapshotTransaction:
    """Reads and writes of one transaction."""

    def __init__(self, transaction: lmdb.Transaction) -> None:
        self._transaction = transaction

    def put_origin(self, pki: str) -> None:
        self._transaction.put(b"m:origin", FORMAT + b" " + pki.encode("ascii"))

    def check_origin(self, folder: Path, pki: str) -> None:
        """IntegrityError unless it is of our format and of this PKI."""
        _check_origin(self._transaction, folder, pki)

    def answer(self, form: CertIDForm, hashes: tuple[bytes, bytes], serial: int) -> Record | None:
        data = self._transaction.get(_answer_key(form, self._issuer(form, hashes), serial))
        return None if data is None else unpack(bytes(data))

    def put_answer(self, form: CertIDForm, hashes: tuple[bytes, bytes], serial: int, record: Record) -> None:
        self.put_packed(form, hashes, serial, pack(record))

    def put_packed(self, form: CertIDForm, hashes: tuple[bytes, bytes], serial: int, data: bytes) -> None:
        """What ``pack`` made."""
        self._transaction.put(_answer_key(form, self._issuer(form, hashes), serial), data)

    def drop_answer(self, form: CertIDForm, hashes: tuple[bytes, bytes], serial: int) -> None:
        """As if it had never been there."""
        self._transaction.delete(_answer_key(form, self._issuer(form, hashes), serial))

    def object(self, path: str) -> Record | None:
        data = self._transaction.get(b"o" + path.encode("ascii"))
        return None if data is None else unpack(bytes(data))

    def number(self, path: str) -> int:
        """Of the CRL under this path; 0 when there is none."""
        return int(bytes(self._transaction.get(b"n" + path.encode("ascii"), b"0")), 16)

    def put_object(self, path: str, record: Record, number: int | None = None) -> None:
        self._transaction.put(b"o" + path.encode("ascii"), pack(record))
        if number is not None:
            self._transaction.put(b"n" + path.encode("ascii"), b"%x" % number)

    def put_freshness(self, freshness: Freshness) -> None:
        self._transaction.put(b"m:freshness", b"%d %d %d" % freshness[:3])
        self._transaction.put(b"m:crls", b"%d %d" % freshness[3:])

    def put_progress(self, progress: Progress) -> None:
        value = f"{progress.identity} {progress.change} {progress.looked}"
        self._transaction.put(b"m:progress", value.encode("ascii"))

    def _issuer(self, form: CertIDForm, hashes: tuple[bytes, bytes]) -> bytes:
        """The number of the CA with these hashes; a new one takes the next."""
        key = _issuer_key(form, *hashes)
        number = self._transaction.get(key)
        if number is None:
            count = int.from_bytes(self._transaction.get(b"m:issuers", b"\x00\x00"), "big")
            number = count.to_bytes(2, "big")
            self._transaction.put(key, number)
            self._transaction.put(b"m:issuers", (count + 1).to_bytes(2, "big"))
        return bytes(number)


@contextmanager
def _damage(folder: Path) -> Iterator[None]:
    """What LMDB says while it reads, in our words."""
    try:
        yield
    except lmdb.Error as error:
        raise IntegrityError(f"the snapshot in {folder} is damaged: {error}", hint=_REBUILT) from error


def _check_origin(transaction: lmdb.Transaction, folder: Path, pki: str) -> None:
    found = bytes(transaction.get(b"m:origin", b"none"))
    if found != FORMAT + b" " + pki.encode("ascii"):
        raise IntegrityError(
            f"the snapshot in {folder} is of another PKI or format: {found.decode('ascii', 'replace')}", hint=_REBUILT
        )


def _progress(transaction: lmdb.Transaction) -> Progress | None:
    value = transaction.get(b"m:progress")
    if value is None:
        return None
    try:
        identity, change, looked = bytes(value).decode("ascii").split(" ")
        return Progress(identity, int(change), int(looked))
    except ValueError as error:
        raise IntegrityError("the snapshot is damaged: its progress cannot be read", hint=_REBUILT) from error


def _open(folder: Path, *, read_only: bool, durable: bool = True) -> lmdb.Environment:
    try:
        return lmdb.open(
            str(folder),
            map_size=MAP_SIZE,
            readonly=read_only,
            sync=durable,
            max_readers=_READERS,
            # Sorted short keys looked up at random: the kernel's read-ahead would only evict what is used.
            readahead=False,
            mode=0o644,
        )
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.VersionMismatchError) as error:
        raise IntegrityError(
            f"the snapshot in {folder} is damaged: {error}",
            hint=_REBUILT,
        ) from error
    except lmdb.Error as error:
        raise StorageError(f"cannot open the snapshot in {folder}: {error}") from error
