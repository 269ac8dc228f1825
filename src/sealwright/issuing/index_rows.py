"""What the index knows of a serial, as a row of its file and as what it answers; and the two views over all of them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509

from sealwright.errors import IntegrityError
from sealwright.issuing.index_file import IndexFile, Row
from sealwright.ledger.entries import CertificateEntry, parse_entry
from sealwright.pki.crl import RevocationReason
from sealwright.pki.serials import SerialNumber


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that is in the ledger. The standing order's have no team, person and request."""

    serial: SerialNumber
    profile: str
    team: str | None
    person: str | None
    request: str | None
    entry: int
    not_after: datetime
    secret_sha256: str
    _read: Callable[[int], bytes] = field(repr=False, compare=False)

    @property
    def certificate(self) -> x509.Certificate:
        """Read from the ledger, which compares it with what its root was signed for."""
        entry = parse_entry(self._read(self.entry))
        if not isinstance(entry, CertificateEntry):
            raise IntegrityError(f"ledger entry {self.entry} is no certificate", hint="remove the index; start again")
        return x509.load_der_x509_certificate(entry.certificate_der)


@dataclass(frozen=True, slots=True)
class Revoked:
    """``at`` is the revocation date, as the last statement says. ``recorded`` is when the first one was told,
    at the latest (``RevocationRecord.told``), ``changed`` when the last one was recorded."""

    serial: SerialNumber
    at: datetime
    reason: RevocationReason | None
    recorded: datetime
    changed: datetime


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """A serial that was reserved, and of which no certificate and no revocation is recorded."""

    serial: SerialNumber
    entry: int
    profile: str
    request: str | None
    team: str | None
    person: str | None
    scope: str | None = None
    """The partition of the CRL that its certificate names; None: the full list."""


class IssuedBySerial(Mapping[SerialNumber, Issued]):
    """Every certificate, in the ledger's order."""

    def __init__(self, file: IndexFile, issued: Callable[[Row], Issued]) -> None:
        self._file, self._issued = file, issued

    def __getitem__(self, serial: SerialNumber) -> Issued:
        row = self._file.one("SELECT * FROM reserved WHERE serial = ? AND entry IS NOT NULL", serial_octets(serial))
        if row is None:
            raise KeyError(serial)
        return self._issued(row)

    def __iter__(self) -> Iterator[SerialNumber]:
        rows = self._file.stream("SELECT serial FROM reserved WHERE entry IS NOT NULL ORDER BY entry LIMIT ? OFFSET ?")
        return (read_serial(row[0]) for row in rows)

    def __len__(self) -> int:
        return count(self._file, "SELECT count(*) FROM reserved WHERE entry IS NOT NULL")

    @property
    def newest(self) -> SerialNumber | None:
        row = self._file.one("SELECT serial FROM reserved WHERE entry IS NOT NULL ORDER BY entry DESC LIMIT 1")
        return read_serial(row[0]) if row else None


class IssuedForRequest(Mapping[str, SerialNumber]):
    """The certificate that answered a request, by the request's SHA-256."""

    def __init__(self, file: IndexFile) -> None:
        self._file = file

    def __getitem__(self, request: str) -> SerialNumber:
        row = self._file.one(
            "SELECT serial FROM reserved WHERE request = ? AND entry IS NOT NULL", bytes.fromhex(request)
        )
        if row is None:
            raise KeyError(request)
        return read_serial(row[0])

    def __iter__(self) -> Iterator[str]:
        rows = self._file.stream(
            "SELECT request FROM reserved WHERE entry IS NOT NULL AND request IS NOT NULL"
            " ORDER BY entry LIMIT ? OFFSET ?"
        )
        return (row[0].hex() for row in rows)

    def __len__(self) -> int:
        return count(self._file, "SELECT count(*) FROM reserved WHERE entry IS NOT NULL AND request IS NOT NULL")


def serial_octets(serial: SerialNumber) -> bytes:
    return serial.to_bytes(20)  # RFC 5280 4.1.2.2: no serial is longer


def read_serial(octets: bytes) -> SerialNumber:
    return SerialNumber(int.from_bytes(octets))


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def moment(since_1970: int) -> datetime:
    return datetime.fromtimestamp(since_1970, UTC)


def reserved_row(intent: OpenIntent) -> Row:
    request = bytes.fromhex(intent.request) if intent.request else None
    return (
        intent.entry,
        serial_octets(intent.serial),
        intent.profile,
        intent.team,
        intent.person,
        request,
        None,
        None,
        None,
        intent.scope,
    )


def revoked_row(revoked: Revoked) -> Row:
    reason = str(revoked.reason) if revoked.reason else None
    return (
        serial_octets(revoked.serial),
        seconds(revoked.at),
        reason,
        seconds(revoked.recorded),
        seconds(revoked.changed),
    )


def count(file: IndexFile, sql: str, *values: object) -> int:
    row = file.one(sql, *values)
    return int(row[0]) if row else 0
