"""One issuance, from order to receipt.

  (1) verify every signature against the roster in force      gate, statements.orders
  (2) policy: profile, team, subject, key, approvals, use      gate
  (3) draft                                                    pki.certificates
  (4) lint, on a copy that nobody signed                       pki.lint
  (5) reserve the serial: the intent with the TBS, fsynced     ledger
  (6) sign on the token  (7) compare the TBS, verify           pki.certificates
  (8) record the certificate, fsynced                          ledger
  (9) receipt with inclusion proof                             ledger

Nothing is signed whose intent is not durable; a certificate that was signed and not recorded is revoked by
``recovery``, because its intent is still open.

The ``line`` takes orders through it: (1) to (3) one after the other, (4) beside that, and from (5) on together those
that passed by then: one append for their intents, their signatures in parallel, one append for their certificates. What
becomes of one of them is its own: only its own intent is closed when its signature fails.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import SealwrightError
from sealwright.hsm.private_keys import check_ready
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.gate import Claims, PermittedOrder, check_drafted, check_order, check_still, check_turn
from sealwright.issuing.recovery import close_open_intents, lost_serial
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RevocationRecord
from sealwright.ledger.receipt import make_receipt
from sealwright.pki.certificates import CertificateDraft, LintedDraft, draft_certificate, sign_certificate
from sealwright.pki.serials import SerialNumber, format_serial, new_serial
from sealwright.points import Point, reached
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.receipts import Receipt


@dataclass(frozen=True, slots=True)
class Drafted:
    """What (1) to (3) make of an order. ``permitted`` is None only for the standing order."""

    draft: CertificateDraft
    serial: SerialNumber
    now: datetime
    permitted: PermittedOrder | None


class Issuance:
    """An order on its way through (1) to (9): what the ``line`` takes along."""

    __slots__ = ("_draft", "_tell", "certificate", "drafted", "error", "linted", "receipt")

    def __init__(self, draft: Callable[[], Drafted], tell: Callable[[], None]) -> None:
        """``draft`` does (1) to (3); ``tell`` is called when it is settled."""
        self._draft, self._tell = draft, tell
        self.drafted: Drafted | None = None
        self.linted: LintedDraft | None = None
        self.certificate: x509.Certificate | None = None
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        return self.receipt is not None or self.error is not None

    def judge(self) -> CertificateDraft:
        self.drafted = self._draft()
        return self.drafted.draft

    def take(self, linted: LintedDraft) -> None:
        self.linted = linted
        reached(Point.DRAFT_LINTED)

    def fail(self, error: BaseException) -> None:
        self.error = error

    def leave(self) -> None:
        self._tell()

    def result(self) -> Receipt:
        """The receipt. Raises what went wrong."""
        if self.receipt is None:
            raise self.error or RuntimeError("an issuance that is not settled has no result")
        return self.receipt


@dataclass(frozen=True, slots=True)
class _Passed:
    """An issuance whose draft passed lint."""

    issuance: Issuance
    drafted: Drafted
    linted: LintedDraft


def begin(authority: IssuingAuthority, issuance: Issuance) -> None:
    """Put it into the line: it tells when it is settled."""
    authority.line.add(issuance, authority.linting, partial(issue_together, authority))


def carry_through(authority: IssuingAuthority, draft: Callable[[], Drafted]) -> Receipt:
    """Through the line, and wait for it. The caller does not hold the lock. Raises what went wrong."""
    settled = threading.Event()
    issuance = Issuance(draft, settled.set)
    begin(authority, issuance)
    settled.wait()
    return issuance.result()


def draft_order(authority: IssuingAuthority, order: Any) -> Drafted:
    """(1) to (3) for an issuance order as it came.

    Raises ``InputError`` when it is not one, and ``PolicyViolation`` when a rule refuses it.
    """
    now = authority.time_for_issuance()
    reached(Point.ORDER_RECEIVED)
    permitted = check_order(authority, IssuanceOrder.parse(order), now)  # (1) (2)
    reached(Point.ORDER_PERMITTED)
    request = permitted.verified.request
    serial = new_serial()
    draft = draft_certificate(  # (3)
        request.profile,
        issuer=authority.installed.issuer(permitted.policy.settings),
        subject=request.subject,
        public_key=request.csr.public_key,
        serial=serial,
        not_before=now,
        san_uri=request.san_uri,
    )
    return Drafted(draft, serial, now, permitted)


def issue_together(authority: IssuingAuthority, waiting: Sequence[Issuance]) -> None:
    """Steps (5) to (9) for those that wait, as far as they can be judged now.

    Each is settled, or left as it is because another of this batch has to be in the ledger first. Raises what is wrong
    for all: ROSTER-PIN, ``TokenError`` and ``StorageError``; then what was reserved is revoked, and orders are unused.
    """
    with authority.lock:
        batch = _still_permitted(authority, waiting)
        if not batch:
            return
        places = _sign_and_record(authority, batch)  # (5) to (8)
        for each, place in zip(batch, places, strict=True):
            if (certificate := each.issuance.certificate) is not None:
                receipt = make_receipt(authority.ledger, place, certificate, authority.installed.issuing)  # (9)
                each.issuance.receipt = receipt
                reached(Point.RECEIPT_MADE)


def _still_permitted(authority: IssuingAuthority, waiting: Sequence[Issuance]) -> list[_Passed]:
    """Judge each again, by the ledger and by those before it in the batch."""
    policy = authority.policy(authority.last_roster())  # the files once more: orders were judged by what is in memory
    batch, claims = [], Claims()
    for each in waiting:
        drafted, linted = each.drafted, each.linted
        if drafted is None or linted is None:
            raise RuntimeError("an order in the batch that was not judged")
        permitted = drafted.permitted
        if permitted is not None and claims.leave_nothing_for(authority.index, permitted, drafted.now):
            continue
        try:
            if permitted is None:
                check_turn(authority, drafted.now)
            else:
                check_still(authority, permitted, drafted.now)
            check_drafted(drafted.draft, policy)
        except SealwrightError as error:
            each.fail(error)
            continue
        reached(Point.STILL_PERMITTED)
        if permitted is not None:
            claims.take(permitted)
        batch.append(_Passed(each, drafted, linted))
    return batch


def _sign_and_record(authority: IssuingAuthority, batch: Sequence[_Passed]) -> range:
    """Steps (5) to (8). Each has its certificate after this, or its error.

    Returns the places of their certificates in the ledger. An intent that is open here was left by a step that failed:
    its serial is revoked before another is reserved.
    """
    close_open_intents(authority)
    check_ready(authority.key)  # while its token is away no serial is spent
    at = max(authority.time_for_revocation(), *(each.drafted.now for each in batch))  # never before what was judged
    intents = authority.record(*(_intent(at, each) for each in batch))  # (5)
    reached(Point.INTENT_DURABLE)
    authority.in_parallel(lambda each: _sign(authority, each), batch)  # (6) (7)
    reached(Point.CERTIFICATE_SIGNED)
    at = authority.time_for_revocation()
    entries = authority.record(*(_outcome(at, each, intents + n) for n, each in enumerate(batch)))  # (8)
    reached(Point.CERTIFICATE_DURABLE)
    return range(entries, entries + len(batch))


def _intent(at: datetime, passed: _Passed) -> IntentEntry:
    permitted = passed.drafted.permitted
    return IntentEntry.for_tbs(
        at=at,
        serial=format_serial(passed.drafted.serial),
        tbs=passed.linted.tbs,
        profile=passed.linted.profile.name,
        order=permitted.order if permitted else None,
        standing=None if permitted else "ocsp-responder",
    )


def _sign(authority: IssuingAuthority, passed: _Passed) -> None:
    try:
        passed.issuance.certificate = sign_certificate(passed.linted, authority.key)
    except BaseException as error:  # whatever it is, its intent has to be closed with the others'
        passed.issuance.fail(error)


def _outcome(now: datetime, passed: _Passed, intent: int) -> CertificateEntry | RevocationRecord:
    """What closes the intent: the certificate, or the revocation of a serial that was perhaps signed for."""
    if passed.issuance.certificate is None:
        return lost_serial(passed.drafted.serial, now)
    return CertificateEntry.for_der(
        at=now,
        serial=format_serial(passed.drafted.serial),
        intent=intent,
        der=passed.issuance.certificate.public_bytes(Encoding.DER),
    )
