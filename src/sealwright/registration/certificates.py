"""Certificates as the ledger's projection has them."""

from dataclasses import dataclass

from sealwright.registration.registry import Registry
from sealwright.store.models import CertificateRow, RevocationRow

LIST_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    row: CertificateRow
    revocation: RevocationRow | None


def list_certificates(
    registry: Registry, team: str | None = None, *, before: int | None = None, limit: int = LIST_LIMIT
) -> tuple[CertificateRecord, ...]:
    """The newest first, a page of them. ``before`` is the intent of the last one of the page before."""
    with registry.database.reading() as tx:
        found = tx.certificates(team=team, before=before, limit=limit)
        return tuple(CertificateRecord(row, tx.revocation(row.serial)) for row in found)


def find_certificate(registry: Registry, serial: str) -> CertificateRecord:
    """By serial number in hex. Raises ``NotFound``."""
    wanted = serial.lower()
    with registry.database.reading() as tx:
        return CertificateRecord(tx.certificate(wanted), tx.revocation(wanted))
