"""One look at a PKI from outside, top to bottom.

(1) who this PKI is    (2) the ledger    (3) CA certificates    (4) CRLs    (5) OCSP answers    (6) the ledger again,
    which may have grown meanwhile, and whether all agree with it    (7) what ends soon    (8) what is remembered
"""

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sealwright.client.monitor.answers import (
    Answer,
    choose,
    compare_answers,
    has_unknown_revocation,
    look_at_answers,
    look_at_unissued,
)
from sealwright.client.monitor.files import (
    ServedCRL,
    compare_crls,
    crl_paths,
    has_unknown_crl,
    look_at_cas,
    look_at_crls,
)
from sealwright.client.monitor.findings import Level, Report
from sealwright.client.monitor.ledger import Books, announced_size, read_ledger
from sealwright.client.monitor.places import Web
from sealwright.client.monitor.seen import Seen, load_seen, only_look, save_seen
from sealwright.client.transport import RegistryClient
from sealwright.client.trust import ANCHOR, Identity, Trust, check_authority, fetch_identity, load_identity
from sealwright.errors import SealwrightError, Unavailable
from sealwright.pki.serials import format_serial
from sealwright.statements.wire import format_time

ROSTER_MARGIN = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """``url``: where verifiers ask; ``registry``: where the ledger is. ``folder`` keeps what was seen."""

    url: str
    pki_id: str
    registry: str
    tls_ca: str | None
    folder: Path
    sample: int = 50
    """So many certificates are asked for by OCSP, at most."""
    crl_age: timedelta = timedelta(hours=25)
    expiry: timedelta = timedelta(days=30)
    grace: timedelta = timedelta(minutes=5)
    """So long a revocation may take from the ledger to CRL and OCSP."""
    patience: float = 15.0
    """Seconds. So long the registry may be behind the signer."""


def look(watch: Watch, now: datetime) -> Report:
    """Raises only what makes a look impossible: another PKI, a state that cannot be read. The rest is in the report."""
    report = Report(watch.url, watch.pki_id, now)
    with (
        only_look(watch.folder),
        RegistryClient(watch.registry, tls_ca=watch.tls_ca, timeout=30.0) as registry,
        closing(Web(watch.url)) as web,
    ):
        seen = load_seen(watch.folder)
        identity = _identify(registry, watch)  # (1)
        books, seen = read_ledger(registry, watch.folder, identity, seen, report)  # (2)
        look_at_cas(web, identity, books, now, report)  # (3)
        crls, seen = look_at_crls(web, identity, crl_paths(identity, books), seen, now, watch.crl_age, report)  # (4)
        answers: list[Answer] = []
        if books.believed and books.roster is not None:  # (5)
            trust = Trust(identity, books.roster)
            with report.alarmed("ledger-signature", registry.server):
                check_authority(identity, books.roster)
            serials = choose(books, watch.sample, now)
            answers, seen = look_at_answers(web, trust, books, serials, seen, now, report)
            look_at_unissued(web, trust, report)
            if report.level_of("ledger-reachable") is Level.OK:  # (6)
                books, seen = _read_on(registry, watch, identity, books, seen, crls, answers, report)
                compare_crls(crls, books, now, watch.grace, report)
                compare_answers(answers, books, now, watch.grace, report)
            _look_ahead(books, now, watch.expiry, report)  # (7)
        save_seen(watch.folder, seen)  # (8)
    return report


def _identify(registry: RegistryClient, watch: Watch) -> Identity:
    """What the PKI id leads to: fetched, or kept from an earlier look when the registry is away."""
    try:
        return fetch_identity(registry, watch.pki_id, watch.folder)
    except Unavailable:
        if not (watch.folder / ANCHOR).exists():
            raise
        return load_identity(watch.folder, watch.pki_id)


def _read_on(
    registry: RegistryClient,
    watch: Watch,
    identity: Identity,
    books: Books,
    seen: Seen,
    crls: Sequence[ServedCRL],
    answers: Sequence[Answer],
    report: Report,
) -> tuple[Books, Seen]:
    """What was recorded since (2): a CRL or an answer may be of it already, and the registry some seconds late."""
    until = time.monotonic() + watch.patience
    while has_unknown_crl(crls, books) or has_unknown_revocation(answers, books):
        with suppress(SealwrightError):  # (2) went well, or said how it went
            if announced_size(registry) > books.tree.size:
                again = Report(report.url, report.pki, report.at)
                newer, seen = read_ledger(registry, watch.folder, identity, seen, again)
                report.findings += [each for each in again.findings if each.level is Level.ALARM]
                books = newer if newer.believed else books
                continue
        if time.monotonic() >= until:
            break
        time.sleep(0.5)
    return books, seen


def _look_ahead(books: Books, now: datetime, margin: timedelta, report: Report) -> None:
    assert books.roster is not None  # noqa: S101  # the books are believed
    end, name = books.roster.expires_at, f"roster {books.roster.version}"
    report.figure("roster_expires_seconds", end.timestamp())
    if end <= now:
        report.alarm("roster-expiry", name, f"expired at {format_time(end)}: nothing is issued")
    elif end - now < ROSTER_MARGIN:
        report.warn("roster-expiry", name, f"expires at {format_time(end)}")
    else:
        report.ok("roster-expiry", name, f"until {format_time(end)}")
    live = {
        serial: certificate
        for serial, certificate in books.certificates.items()
        if serial not in books.revoked and certificate.not_valid_after_utc > now
    }
    ending = [
        (certificate.not_valid_after_utc, serial)
        for serial, certificate in live.items()
        if serial not in books.replaced and certificate.not_valid_after_utc - now < margin
    ]
    report.figure("certificates", len(live))
    report.figure("certificates_expiring", len(ending))
    for end, serial in sorted(ending):
        subject = live[serial].subject.rfc4514_string()
        report.warn("certificate-expiry", format_serial(serial), f"{subject} ends at {format_time(end)}")
    if not ending:
        report.ok("certificate-expiry", f"{len(live)} certificates", f"none ends within {margin.days} days")
