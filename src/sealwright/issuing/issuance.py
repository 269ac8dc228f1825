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

(1) to (4) are each requester's own, at the same time as others'. Orders that come to (5) at the same time take it and
what follows together (``batches``): one append for their intents, their signatures in parallel, one append for their
certificates. What becomes of one of them is its own: only its own intent is closed when its signature fails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import SealwrightError
from sealwright.hsm.private_keys import check_ready
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.gate import Claims, PermittedOrder, check_order, check_still
from sealwright.issuing.recovery import close_open_intents, lost_serial
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RevocationRecord
from sealwright.ledger.receipt import make_receipt
from sealwright.pki.certificates import LintedDraft, draft_certificate, sign_certificate
from sealwright.pki.serials import SerialNumber, format_serial, new_serial
from sealwright.points import Point, reached
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.receipts import Receipt


@dataclass(slots=True, eq=False)
class Issuance:
    """A linted draft on its way through (5) to (9). ``permitted`` is None only for the standing order."""

    linted: LintedDraft
    serial: SerialNumber
    permitted: PermittedOrder | None
    now: datetime
    certificate: x509.Certificate | None = None
    receipt: Receipt | None = None
    error: BaseException | None = None

    @property
    def is_settled(self) -> bool:
        return self.receipt is not None or self.error is not None

    def fail(self, error: BaseException) -> None:
        self.error = error

    def result(self) -> Receipt:
        """The receipt. Raises what went wrong."""
        if self.receipt is None:
            raise self.error or RuntimeError("an issuance that is not settled has no result")
        return self.receipt


def issue(authority: IssuingAuthority, arguments: Mapping[str, Any]) -> Receipt:
    """Answer an issuance order.

    Raises ``InputError`` when it is not one, ``PolicyViolation`` when a rule refuses it, ``TokenError`` and
    ``StorageError`` when token or disk fail; then the reserved serial is revoked and the order is still unused.
    """
    now = authority.time_for_issuance()
    reached(Point.ORDER_RECEIVED)
    permitted = check_order(authority, IssuanceOrder.parse(arguments["order"]), now)  # (1) (2)
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
    linted = authority.lint(draft)  # (4)
    reached(Point.DRAFT_LINTED)

    issuance = Issuance(linted, serial, permitted, now)
    authority.issuances.settle(issuance, lambda batch: issue_together(authority, batch))  # (5) to (9)
    receipt = issuance.result()
    reached(Point.RECEIPT_MADE)
    return receipt


def issue_together(authority: IssuingAuthority, waiting: Sequence[Issuance]) -> None:
    """Steps (5) to (9) for those that wait, as far as they can be judged now. The caller holds the lock.

    Each is settled, or left as it is because another of this batch has to be in the ledger first.
    """
    batch = _still_permitted(authority, waiting)
    if not batch:
        return
    places = sign_and_record(authority, batch)  # (5) to (8)
    for each, place in zip(batch, places, strict=True):
        if each.certificate is not None:
            each.receipt = make_receipt(authority.ledger, place, each.certificate, authority.installed.issuing)  # (9)


def _still_permitted(authority: IssuingAuthority, waiting: Sequence[Issuance]) -> list[Issuance]:
    """Judge each again, by the ledger and by those before it in the batch."""
    batch, claims = [], Claims()
    for each in waiting:
        if each.permitted is None or claims.leave_nothing_for(authority.index, each.permitted, each.now):
            continue
        try:
            check_still(authority, each.permitted, each.now)
        except SealwrightError as error:
            each.fail(error)
            continue
        reached(Point.STILL_PERMITTED)
        claims.take(each.permitted)
        batch.append(each)
    return batch


def sign_and_record(authority: IssuingAuthority, batch: Sequence[Issuance]) -> range:
    """Steps (5) to (8). Each has its certificate after this, or its error. The caller holds the lock.

    Returns the places of their certificates in the ledger. An intent that is open here was left by a step that failed:
    its serial is revoked before another is reserved.
    """
    close_open_intents(authority)
    check_ready(authority.key)  # while its token is away no serial is spent
    at = max(authority.time_for_revocation(), *(each.now for each in batch))  # one, and never before what was judged
    intents = authority.record(*(_intent(at, each) for each in batch))  # (5)
    reached(Point.INTENT_DURABLE)
    authority.in_parallel(lambda each: _sign(authority, each), batch)  # (6) (7)
    reached(Point.CERTIFICATE_SIGNED)
    at = authority.time_for_revocation()
    entries = authority.record(*(_outcome(at, each, intents + n) for n, each in enumerate(batch)))  # (8)
    reached(Point.CERTIFICATE_DURABLE)
    return range(entries, entries + len(batch))


def _intent(at: datetime, issuance: Issuance) -> IntentEntry:
    return IntentEntry.for_tbs(
        at=at,
        serial=format_serial(issuance.serial),
        tbs=issuance.linted.tbs,
        profile=issuance.linted.profile.name,
        order=issuance.permitted.order if issuance.permitted else None,
        standing=None if issuance.permitted else "ocsp-responder",
    )


def _sign(authority: IssuingAuthority, issuance: Issuance) -> None:
    try:
        issuance.certificate = sign_certificate(issuance.linted, authority.key)
    except BaseException as error:  # whatever it is, its intent has to be closed with the others'
        issuance.fail(error)


def _outcome(now: datetime, issuance: Issuance, intent: int) -> CertificateEntry | RevocationRecord:
    """What closes the intent: the certificate, or the revocation of a serial that was perhaps signed for."""
    if issuance.certificate is None:
        return lost_serial(issuance.serial, now)
    return CertificateEntry.for_der(
        at=now,
        serial=format_serial(issuance.serial),
        intent=intent,
        der=issuance.certificate.public_bytes(Encoding.DER),
    )
