"""What a crash left: intents with no certificate. Each of their serials is revoked, once, before anything is signed.

A certificate may have been signed and lost between the token and the ledger. Nobody can tell, so its serial is
treated as issued and revoked. The order itself stays unused: there is at most one unrevoked certificate per order.
"""

from datetime import datetime

from sealwright import __version__
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.clock import hear_operator
from sealwright.ledger.entries import RevocationRecord, StartEntry
from sealwright.pki.serials import SerialNumber, format_serial
from sealwright.points import Point, reached


def record_start(authority: IssuingAuthority) -> tuple[SerialNumber, ...]:
    """What a signer does before its socket exists: say that it started, and close what a crash left open.

    Returns the serials that were lost.
    """
    installed = authority.installed
    hear_operator(authority)
    with authority.lock:
        authority.record(
            StartEntry(
                at=authority.time_for_revocation(),
                pki=installed.anchor.pki_id,
                mode=installed.anchor.mode,
                version=__version__,
                epoch=authority.fence.epoch if authority.fence else authority.index.epoch,
            )
        )
        reached(Point.START_DURABLE)
        lost = close_open_intents(authority)
    reached(Point.RECOVERED)
    return lost


def close_open_intents(authority: IssuingAuthority) -> tuple[SerialNumber, ...]:
    """Revoke the serial of every open intent. Returns those serials."""
    with authority.lock:
        serials = tuple(authority.index.intents)
        for serial in serials:
            authority.record(lost_serial(serial, authority.time_for_revocation()))
            reached(Point.INTENT_CLOSED)
        return serials


def lost_serial(serial: SerialNumber, now: datetime) -> RevocationRecord:
    """What closes an intent that has no certificate: its serial is revoked, whether or not it was signed for."""
    return RevocationRecord(
        at=now, serials=(format_serial(serial),), reason=None, revocation_date=now, order=None, cause="crash"
    )
