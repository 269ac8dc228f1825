"""Named moments at which a process may be killed, so that tests can kill it exactly there.

``reached`` does nothing unless this process called ``listen``: no variable of the environment, no option and no file
switches it on. That the process died at a point must never matter: ``tests/issuing/test_crash.py`` kills it at every
one of them, starts it again, and looks. It leaves to ``tests/soak.py`` the moments in between.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Point(StrEnum):
    """Where in an act of the signer. A name says what is true from here on."""

    # issuing.issuance: from order to receipt
    ORDER_RECEIVED = "issuance.order-received"
    ORDER_PERMITTED = "issuance.order-permitted"
    DRAFT_LINTED = "issuance.draft-linted"
    STILL_PERMITTED = "issuance.still-permitted"
    INTENT_DURABLE = "issuance.intent-durable"
    CERTIFICATE_SIGNED = "issuance.certificate-signed"
    CERTIFICATE_DURABLE = "issuance.certificate-durable"
    RECEIPT_MADE = "issuance.receipt-made"

    # issuing.responder: the standing order; DRAFT_LINTED to RECEIPT_MADE lie between
    RESPONDER_DRAFTED = "responder.drafted"
    RESPONDER_MADE = "responder.made"

    # issuing.revocation: revocations and corrections
    REVOCATION_JUDGED = "revocation.judged"
    REVOCATION_DURABLE = "revocation.durable"

    # issuing.denials
    DENIAL_JUDGED = "denial.judged"
    DENIAL_DURABLE = "denial.durable"

    # issuing.crl
    CRL_LINTED = "crl.linted"
    CRL_NUMBER_DURABLE = "crl.number-durable"
    CRL_SIGNED = "crl.signed"
    CRL_DURABLE = "crl.durable"
    CRL_PUBLISHED = "crl.published"

    # issuing.rosters: what officers sign
    ROSTER_JUDGED = "roster.judged"
    ROSTER_DURABLE = "roster.durable"
    SUSPENSION_JUDGED = "suspension.judged"
    SUSPENSION_DURABLE = "suspension.durable"

    # issuing.authority, issuing.recovery: the start
    LEDGER_REPLAYED = "start.ledger-replayed"
    START_DURABLE = "start.durable"
    INTENT_CLOSED = "recovery.intent-closed"
    RECOVERED = "recovery.done"

    # issuing.authority: a refusal
    REFUSAL_DURABLE = "refusal.durable"

    # issuing.recover: the ledger is put back together
    COPY_DURABLE = "recover.copy-durable"
    OLD_SET_ASIDE = "recover.old-set-aside"
    COPY_IN_PLACE = "recover.copy-in-place"

    # ledger.log: in every append
    CHECKPOINT_SIGNED = "ledger.checkpoint-signed"
    ENTRIES_DURABLE = "ledger.entries-durable"
    CHECKPOINT_DURABLE = "ledger.checkpoint-durable"


Listener = Callable[[Point], None]

_listener: Listener | None = None


def reached(point: Point) -> None:
    """Tell the test that listens, if one does."""
    if _listener is not None:
        _listener(point)


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called at each point, in the thread that reaches it, until the block ends. For tests."""
    global _listener  # noqa: PLW0603  # one process, one listener
    if _listener is not None:
        raise RuntimeError("somebody listens already")
    _listener = listener
    try:
        yield
    finally:
        _listener = None
