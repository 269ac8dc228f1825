"""CA certificates and CRLs as they are served: whose, how fresh, newer than before, and as the ledger says."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.client.monitor.findings import Report
from sealwright.client.monitor.ledger import Books, Revoked
from sealwright.client.monitor.places import Web, crl_path, issuer_paths
from sealwright.client.monitor.seen import Seen, SeenCRL
from sealwright.client.trust import Identity
from sealwright.errors import SealwrightError
from sealwright.pki.crl import read_crl, reason_of
from sealwright.pki.revocation import RevocationReason
from sealwright.pki.rules_validity import ANSWER_YEARS, add_years
from sealwright.pki.serials import SerialNumber, format_serial
from sealwright.statements.wire import format_time

SKEW: Final = timedelta(minutes=5)
CA_MARGIN: Final = timedelta(days=365)
_CER, _CRL = "application/pkix-cert", "application/pkix-crl"


class Scope(Enum):
    """``FULL`` has every serial of the issuing CA that is revoked; ``NAMED`` those whose certificates name it."""

    ROOT, FULL, NAMED = range(3)


@dataclass(frozen=True, slots=True)
class ServedCRL:
    path: str
    crl: x509.CertificateRevocationList
    number: int
    sha256: str
    scope: Scope

    @property
    def by_root(self) -> bool:
        return self.scope is Scope.ROOT

    def entries(self) -> dict[SerialNumber, tuple[datetime, RevocationReason | None]]:
        return {SerialNumber(each.serial_number): (each.revocation_date_utc, reason_of(each)) for each in self.crl}


def look_at_cas(web: Web, identity: Identity, books: Books, now: datetime, report: Report) -> None:
    """What caIssuers URLs lead to, and how long the CAs live."""
    leaves = (*books.certificates.values(), *books.responders.values())
    for wanted, below in ((identity.root, (identity.issuing,)), (identity.issuing, leaves)):
        for path in sorted(issuer_paths(below)):
            try:
                data = web.get(path, wanted_type=_CER, limit=64 << 10)
            except SealwrightError as error:
                report.alarm("ca-certificate", path, str(error))
                continue
            if data != wanted.public_bytes(Encoding.DER):
                report.alarm("ca-certificate", path, "it is not this PKI's certificate")
            else:
                report.ok("ca-certificate", path, wanted.subject.rfc4514_string())
        name, end = wanted.subject.rfc4514_string(), wanted.not_valid_after_utc
        report.figure("ca_expires_seconds", end.timestamp(), ca=name)
        if end <= now:
            report.alarm("ca-expiry", name, f"expired at {format_time(end)}")
        elif end - now < CA_MARGIN:
            report.warn("ca-expiry", name, f"expires at {format_time(end)}")
        else:
            report.ok("ca-expiry", name, f"until {format_time(end)}")


def crl_paths(identity: Identity, books: Books) -> dict[str, Scope]:
    """Every CRL that is to be there: the root's, the issuing CA's full list, and each that a certificate names."""
    found = {path: Scope.NAMED for each in books.certificates.values() if (path := crl_path(each)) is not None}
    for path in issuer_paths((*books.certificates.values(), *books.responders.values())):
        found[path.replace("/ca/", "/crl/", 1).removesuffix(".cer") + ".crl"] = Scope.FULL
    root = crl_path(identity.issuing)
    return found if root is None else {root: Scope.ROOT, **found}


def look_at_crls(
    web: Web,
    identity: Identity,
    paths: Mapping[str, Scope],
    seen: Seen,
    now: datetime,
    oldest: timedelta,
    report: Report,
) -> tuple[list[ServedCRL], Seen]:
    """Each one by itself and against the last look. ``oldest``: of an issuing CA's CRL, by its thisUpdate."""
    served, kept = [], dict(seen.crls)
    for path, scope in sorted(paths.items(), key=lambda each: each[0]):
        try:
            data = web.get(path, wanted_type=_CRL)
        except SealwrightError as error:
            report.alarm("crl-reachable", path, str(error))
            continue
        report.ok("crl-reachable", path, f"{len(data)} octets")
        try:
            crl, number = read_crl(data, identity.root if scope is Scope.ROOT else identity.issuing)
        except SealwrightError as error:
            report.alarm("crl-signature", path, str(error))
            continue
        report.ok("crl-signature", path, crl.issuer.rfc4514_string())
        each = ServedCRL(path, crl, number, hashlib.sha256(data).hexdigest(), scope)
        served.append(each)
        _check_fresh(each, now, None if each.by_root else oldest, report)
        if _check_newer(each, kept.get(path), report):
            kept[path] = SeenCRL(number=f"{number:x}", sha256=each.sha256, this_update=crl.last_update_utc)
        report.figure("crl_number", number, crl=path)
        report.figure("crl_entries", len(crl), crl=path)
        report.figure("crl_this_update_seconds", crl.last_update_utc.timestamp(), crl=path)
        if crl.next_update_utc is not None:  # read_crl wants one
            report.figure("crl_next_update_seconds", crl.next_update_utc.timestamp(), crl=path)
    return served, seen.model_copy(update={"crls": kept})


def _check_fresh(each: ServedCRL, now: datetime, oldest: timedelta | None, report: Report) -> None:
    begin, end = each.crl.last_update_utc, each.crl.next_update_utc
    assert end is not None  # noqa: S101  # read_crl wants one
    said = f"number {each.number}, {format_time(begin)} to {format_time(end)}"
    if begin > now + SKEW:
        report.alarm("crl-fresh", each.path, f"{said}: it is not valid yet")
    elif end <= now:
        report.alarm("crl-fresh", each.path, f"{said}: it is over")
    elif (end - now) * 4 < end - begin:
        report.warn("crl-fresh", each.path, f"{said}: less than a quarter of its life is left")
    elif oldest is not None and now - begin > oldest:
        report.warn("crl-fresh", each.path, f"{said}: older than {oldest}; the signer makes one a day")
    else:
        report.ok("crl-fresh", each.path, said)


def _check_newer(each: ServedCRL, before: SeenCRL | None, report: Report) -> bool:
    """Whether it is to be remembered."""
    if before is None:
        report.ok("crl-rollback", each.path, f"number {each.number}, never seen before")
        return True
    number = int(before.number, 16)
    if each.number < number or each.crl.last_update_utc < before.this_update:
        report.alarm(
            "crl-rollback",
            each.path,
            f"number {each.number} of {format_time(each.crl.last_update_utc)}; number {number} of"
            f" {format_time(before.this_update)} was served before",
        )
        return False
    if each.number == number and each.sha256 != before.sha256:
        report.alarm("crl-rollback", each.path, f"number {number} was another CRL before: {before.sha256}")
        return False
    report.ok("crl-rollback", each.path, f"number {each.number} after {number}")
    return True


def has_unknown_crl(served: Iterable[ServedCRL], books: Books) -> bool:
    """One of the issuing CA's that the ledger does not have, or not yet."""
    return any(not each.by_root and each.sha256 not in books.crls for each in served)


def compare_crls(served: Iterable[ServedCRL], books: Books, now: datetime, grace: timedelta, report: Report) -> None:
    """Each issuing CRL with the ledger: made by the signer, with each revocation older than ``grace``, and no other."""
    for each in served:
        if each.by_root:
            continue
        entries = each.entries()
        problems = (
            [] if each.sha256 in books.crls else ["the ledger has no such CRL: the issuing key signed it elsewhere"]
        )
        problems += _differences(each, entries, books, now, grace)
        if problems:
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            report.alarm("crl-ledger", each.path, "; ".join(problems[:3]) + more)
        else:
            report.ok("crl-ledger", each.path, f"{len(entries)} entries, as the ledger has them")


def _differences(
    each: ServedCRL,
    entries: Mapping[SerialNumber, tuple[datetime, RevocationReason | None]],
    books: Books,
    now: datetime,
    grace: timedelta,
) -> list[str]:
    problems = []
    for serial, said in entries.items():
        revoked = books.revoked.get(serial)
        if revoked is None:
            problems.append(f"it lists serial {format_serial(serial)}, which the ledger has not revoked")
        elif said != (revoked.entry.revocation_date, revoked.entry.reason) and _is_due(revoked, now, grace):
            problems.append(f"serial {format_serial(serial)} is {_words(*said)}; the ledger says {_of(revoked)}")
    for serial, revoked in books.revoked.items():
        certificate = books.certificates.get(serial)
        if serial in entries or not _belongs(each, certificate, now):
            continue
        # The full list is made once a day: of what names a partition it has what was revoked before.
        elsewhere = certificate is not None and crl_path(certificate) != each.path
        if revoked.recorded < each.crl.last_update_utc if elsewhere else _is_due(revoked, now, grace):
            problems.append(f"it does not list serial {format_serial(serial)}, {_of(revoked)}")
    return problems


def _belongs(each: ServedCRL, certificate: x509.Certificate | None, now: datetime) -> bool:
    """None: lost in a crash, or a responder's. Ten years after it expired a certificate need not be listed."""
    if certificate is None:
        return each.scope is Scope.FULL
    named = each.scope is Scope.FULL or crl_path(certificate) == each.path
    return named and now <= add_years(certificate.not_valid_after_utc, ANSWER_YEARS)


def _is_due(revoked: Revoked, now: datetime, grace: timedelta) -> bool:
    return now - revoked.recorded >= grace


def _of(revoked: Revoked) -> str:
    return _words(revoked.entry.revocation_date, revoked.entry.reason)


def _words(date: datetime, reason: RevocationReason | None) -> str:
    return f"revoked from {format_time(date)}, {reason or 'no reason'}"
