"""OCSP answers, asked for as verifiers do: by GET with SHA-1 (Java, Windows) and by POST with SHA-256."""

import base64
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from sealwright.client.monitor.files import SKEW
from sealwright.client.monitor.findings import Report
from sealwright.client.monitor.ledger import Books
from sealwright.client.monitor.places import Web
from sealwright.client.monitor.seen import Seen, SeenAnswer
from sealwright.client.status import check_signature
from sealwright.client.trust import Trust
from sealwright.errors import IntegrityError, SealwrightError, Unavailable
from sealwright.pki.ocsp import CertIDForm, cert_id
from sealwright.pki.rules_validity import ANSWER_YEARS, add_years
from sealwright.pki.serials import SerialNumber, format_serial, new_serial
from sealwright.statements.wire import format_time

RESPONDER_MARGIN: Final = timedelta(days=3)
_OCSP, _QUERY = "application/ocsp-response", "application/ocsp-request"
_LIMIT: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    serial: SerialNumber
    subject: str
    status: str
    this_update: datetime
    next_update: datetime
    revoked_at: datetime | None
    reason: str | None


def choose(books: Books, count: int, now: datetime) -> tuple[SerialNumber, ...]:
    """Which certificates are asked for: the last revoked, the newest, those that end next, and others by lot."""
    due = {
        serial: certificate
        for serial, certificate in books.certificates.items()
        if now <= add_years(certificate.not_valid_after_utc, ANSWER_YEARS)
    }
    if len(due) <= count:
        return tuple(due)
    part = max(1, count // 4)
    revoked = sorted(books.revoked.keys() & due.keys(), key=lambda serial: books.revoked[serial].recorded)[-part:]
    newest = list(due)[-part:]
    ending = sorted(
        (serial for serial in due if due[serial].not_valid_after_utc > now),
        key=lambda serial: due[serial].not_valid_after_utc,
    )[:part]
    first = dict.fromkeys((*revoked, *newest, *ending))
    rest = [serial for serial in due if serial not in first]
    return (*first, *random.sample(rest, max(0, count - len(first))))  # a lot, not a secret


def look_at_answers(
    web: Web, trust: Trust, books: Books, serials: Sequence[SerialNumber], seen: Seen, now: datetime, report: Report
) -> tuple[list[Answer], Seen]:
    """Ask, and judge each answer by itself and against the last look."""
    answers: list[Answer] = []
    kept = dict(seen.answers)
    responders: dict[bytes, x509.Certificate] = {}
    for serial in serials:
        for form in CertIDForm:
            subject = f"{format_serial(serial)} by {'GET, SHA-1' if form is CertIDForm.SHA1 else 'POST, SHA-256'}"
            try:
                response = _ask(web, trust, serial, form)
            except Unavailable as error:
                if not _is_new(books, serial, now):
                    report.alarm("ocsp-reachable", subject, str(error))
                continue
            except SealwrightError as error:
                report.alarm("ocsp-signature", subject, str(error))
                continue
            delegate, answer = response
            responders[delegate.fingerprint(hashes.SHA256())] = delegate
            answers.append(answer)
            _check_fresh(answer, now, report)
            name = format_serial(serial)
            if _check_newer(answer, kept.get(name), report):
                kept.pop(name, None)  # to the end: the last asked for is forgotten last
                kept[name] = SeenAnswer(status=answer.status, this_update=answer.this_update)
    _sum_up(answers, responders.values(), now, report)
    return answers, seen.model_copy(update={"answers": kept})


def _ask(web: Web, trust: Trust, serial: SerialNumber, form: CertIDForm) -> tuple[x509.Certificate, Answer]:
    request = _request(trust, serial, form)
    der = request.public_bytes(Encoding.DER)
    if form is CertIDForm.SHA1:
        encoded = quote(base64.b64encode(der).decode(), safe="")
        data = web.get(f"/ocsp/{encoded}", wanted_type=_OCSP, limit=_LIMIT)
    else:
        data = web.post("/ocsp", der, content_type=_QUERY, wanted_type=_OCSP, limit=_LIMIT)
    try:
        response = ocsp.load_der_ocsp_response(data)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise Unavailable(f"it answers {response.response_status.name.lower()}")
        asked = (request.serial_number, request.issuer_name_hash, request.issuer_key_hash)
        if (response.serial_number, response.issuer_name_hash, response.issuer_key_hash) != asked:
            raise IntegrityError("the answer is for another certificate")
        delegate = check_signature(response, trust)
        if response.next_update_utc is None:
            raise IntegrityError("the answer has no nextUpdate")
        reason = response.revocation_reason
        answer = Answer(
            serial,
            f"{format_serial(serial)} by {form.value}",
            response.certificate_status.name.lower(),
            response.this_update_utc,
            response.next_update_utc,
            response.revocation_time_utc,
            reason.value if reason is not None else None,
        )
    except (ValueError, TypeError) as error:
        raise IntegrityError(f"the answer cannot be read: {error}") from error
    return delegate, answer


def _request(trust: Trust, serial: SerialNumber, form: CertIDForm) -> ocsp.OCSPRequest:
    algorithm = hashes.SHA1() if form is CertIDForm.SHA1 else hashes.SHA256()  # noqa: S303  # a CertID's hash
    issuer = cert_id(form, trust.identity.issuing)
    return ocsp.OCSPRequestBuilder().add_certificate_by_hash(*issuer, serial, algorithm).build()


def _is_new(books: Books, serial: SerialNumber, now: datetime) -> bool:
    """Too new for its answers to be expected."""
    return now - books.recorded[serial] < SKEW


def _check_fresh(answer: Answer, now: datetime, report: Report) -> None:
    begin, end = answer.this_update, answer.next_update
    said = f"{format_time(begin)} to {format_time(end)}"
    if begin > now + SKEW:
        report.alarm("ocsp-fresh", answer.subject, f"{said}: it is not valid yet")
    elif end <= now:
        report.alarm("ocsp-fresh", answer.subject, f"{said}: it is over")
    elif (end - now) * 4 < end - begin:
        report.warn("ocsp-fresh", answer.subject, f"{said}: less than a quarter of its life is left")


def _check_newer(answer: Answer, before: SeenAnswer | None, report: Report) -> bool:
    if before is None:
        return True
    if before.status == "revoked" and answer.status != "revoked":
        report.alarm("ocsp-rollback", answer.subject, f"it was revoked, and is {answer.status} now")
        return False
    if answer.this_update < before.this_update - SKEW:
        report.alarm(
            "ocsp-rollback",
            answer.subject,
            f"of {format_time(answer.this_update)}; one of {format_time(before.this_update)} was served before",
        )
        return False
    return True


def _sum_up(answers: Sequence[Answer], responders: Iterable[x509.Certificate], now: datetime, report: Report) -> None:
    report.figure("ocsp_asked", len(answers))
    if not answers:
        return
    oldest, first = min(each.this_update for each in answers), min(each.next_update for each in answers)
    report.figure("ocsp_oldest_seconds", oldest.timestamp())
    report.figure("ocsp_next_update_seconds", first.timestamp())
    for check, text in (
        ("ocsp-reachable", f"{len(answers)} answers"),
        ("ocsp-signature", f"{len(answers)} answers"),
        ("ocsp-fresh", f"the oldest is of {format_time(oldest)}, the first ends at {format_time(first)}"),
        ("ocsp-rollback", f"{len(answers)} answers"),
    ):
        if report.level_of(check) is None:
            report.ok(check, "all that were asked for", text)
    for delegate in responders:
        end = delegate.not_valid_after_utc
        name = f"serial {delegate.serial_number:x}"
        report.figure("responder_expires_seconds", end.timestamp(), responder=f"{delegate.serial_number:x}")
        if end - now < RESPONDER_MARGIN:
            report.warn("responder-expiry", name, f"expires at {format_time(end)}, and was not renewed")
        else:
            report.ok("responder-expiry", name, f"until {format_time(end)}")


def has_unknown_revocation(answers: Iterable[Answer], books: Books) -> bool:
    """One that the ledger does not have, or not yet."""
    return any(each.status == "revoked" and each.serial not in books.revoked for each in answers)


def compare_answers(answers: Sequence[Answer], books: Books, now: datetime, grace: timedelta, report: Report) -> None:
    """With the ledger: good or revoked, from when and why."""
    for answer in answers:
        revoked = books.revoked.get(answer.serial)
        said = (answer.status, answer.revoked_at, answer.reason)
        wanted: tuple[str, datetime | None, str | None] = ("good", None, None)
        if revoked is not None:
            if now - revoked.recorded < grace:
                continue
            entry = revoked.entry
            wanted = ("revoked", entry.revocation_date, entry.reason.value if entry.reason else None)
        if said != wanted:
            report.alarm("ocsp-ledger", answer.subject, f"it is {_words(*said)}; the ledger says {_words(*wanted)}")
    if answers and report.level_of("ocsp-ledger") is None:
        report.ok("ocsp-ledger", "all that were asked for", f"{len(answers)} answers as the ledger has them")


def _words(status: str, date: datetime | None, reason: str | None) -> str:
    return status if date is None else f"{status} from {format_time(date)}, {reason or 'no reason'}"


def look_at_unissued(web: Web, trust: Trust, report: Report) -> None:
    """A number of our own choice: whoever answers good or revoked for it answers for anything."""
    serial = new_serial()
    der = _request(trust, serial, CertIDForm.SHA1).public_bytes(Encoding.DER)
    try:
        data = web.post("/ocsp", der, content_type=_QUERY, wanted_type=_OCSP, limit=_LIMIT)
        status = ocsp.load_der_ocsp_response(data).response_status
    except SealwrightError as error:
        report.alarm("ocsp-reachable", "a serial that was never issued", str(error))
        return
    except ValueError as error:
        report.alarm("ocsp-unissued", format_serial(serial), f"the answer cannot be read: {error}")
        return
    if status is ocsp.OCSPResponseStatus.UNAUTHORIZED:
        report.ok("ocsp-unissued", format_serial(serial), "unauthorized")
    else:
        report.alarm("ocsp-unissued", format_serial(serial), f"answered {status.name.lower()}; wanted unauthorized")
