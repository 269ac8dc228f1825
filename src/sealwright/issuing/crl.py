"""The issuing CA's CRLs: a new one at every revocation and at least once in the standing interval.

There is the full list, which has every revoked certificate of the CA, and one partition for each that a profile's
certificates name. A revocation makes the one anew that its certificate names, and no other; all of them are made daily.
The number of each is reserved in the ledger before the signature, so it increases whatever happens. The file is
replaced atomically; while none can be made, the last good one stays.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sealwright.errors import IntegrityError
from sealwright.hsm.private_keys import check_ready
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.crl_books import RETENTION, CRLBooks
from sealwright.issuing.files import replacing_file
from sealwright.ledger.entries import CRLEntry, CRLIntentEntry
from sealwright.pki.crl import read_crl
from sealwright.pki.crl_book import CRLFields, lint_book, sign_book
from sealwright.pki.crl_scope import FULL, all_scopes, crl_file_name
from sealwright.points import Point, reached

RESOLUTION: Final = timedelta(seconds=1)
"""No two CRLs of a scope have the same thisUpdate, which is their Last-Modified: Java does not look at the second one.
Who makes many waits that long before the next, so that none is of the future."""


def crl_path(authority: IssuingAuthority, scope: str = FULL) -> Path:
    return authority.installed.crls / crl_file_name(authority.settings.issuing.id, scope)


def crl_scopes(authority: IssuingAuthority) -> tuple[str, ...]:
    """The full list, and every partition that a profile has now or that a certificate names."""
    profiles = authority.policy(authority.last_roster()).profiles.values()
    offered = {scope for each in profiles for scope in all_scopes(each.crl_partitions)}
    return (FULL, *sorted(offered | authority.index.scopes() | (authority.index.last_crls.keys() - {FULL})))


def crl_due(authority: IssuingAuthority, now: datetime, scope: str = FULL) -> bool:
    """True when the CRL on disk is not the ledger's last, misses a revocation, or is as old as the interval."""
    last = authority.index.last_crls.get(scope)
    if last is None or scope in authority.index.crls_wanted:
        return True
    interval = timedelta(hours=authority.settings.standing.crl_interval_hours)
    return now - last.at >= interval or authority.crl_files.sha256(crl_path(authority, scope)) != last.sha256


def issue_crl(authority: IssuingAuthority, scope: str = FULL) -> Path:
    """Draft, lint, reserve the number, sign, record, publish. Returns the file."""
    with authority.lock:
        settings, index, path = authority.settings, authority.index, crl_path(authority, scope)
        now = authority.time_for_revocation()
        if (last := index.last_crls.get(scope)) is not None:
            now = max(now, last.at + RESOLUTION)
        if authority.crl_books is None:
            authority.crl_books = CRLBooks(authority.installed.crls)
        books = authority.crl_books
        books.bring_up(index, now)
        issuer = authority.installed.issuer(settings)
        number = max(index.crl_numbers.get(scope, 0), index.crl_floor, _number_on_disk(authority, path, scope)) + 1
        next_update = now + timedelta(days=settings.standing.crl_validity_days)
        fields = CRLFields(
            issuer=issuer,
            number=number,
            this_update=now,
            next_update=next_update,
            # What expired before that was dropped when its ten years were over.
            expired_certs_since=max(authority.began, now - RETENTION),
            distribution_point=issuer.crl_url(scope) if scope else None,
        )
        linted = lint_book(books.book(scope), fields)
        reached(Point.CRL_LINTED)
        check_ready(authority.key)  # while its token is away no number is spent
        authority.record(CRLIntentEntry(at=now, number=number, this_update=now, next_update=next_update, scope=scope))
        reached(Point.CRL_NUMBER_DURABLE)
        with replacing_file(path) as replacement:
            signed = sign_book(linted, authority.key, replacement.file)
            reached(Point.CRL_SIGNED)
            replacement.sync()
            authority.record(CRLEntry(at=now, number=number, sha256=signed.sha256, size=signed.size, scope=scope))
            reached(Point.CRL_DURABLE)
            replacement.commit()
        reached(Point.CRL_PUBLISHED)
        return path


def _number_on_disk(authority: IssuingAuthority, path: Path, scope: str) -> int:
    """After a ledger that had been set back was recovered, the file may know a higher number: none is used twice."""
    last = authority.index.last_crls.get(scope)
    if last is not None and authority.crl_files.sha256(path) == last.sha256:
        return last.number
    try:
        return read_crl(path.read_bytes(), authority.installed.issuing)[1]
    except (OSError, IntegrityError):
        return 0
