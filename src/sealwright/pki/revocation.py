"""Why and since when a serial is revoked: what a CRL entry and an OCSP answer both say.

Which serials are revoked is the ledger's to know; who may revoke is ``statements``'.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sealwright.pki.serials import SerialNumber


class RevocationReason(StrEnum):
    """Why, in the words of RFC 5280 5.3.1. No ``unspecified`` (leave it out), no ``certificateHold`` (CSBR 7.2.2)."""

    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"

    @property
    def code(self) -> int:
        """Its CRLReason number."""
        return _CODES[self]


_CODES = {
    RevocationReason.KEY_COMPROMISE: 1,
    RevocationReason.CA_COMPROMISE: 2,
    RevocationReason.AFFILIATION_CHANGED: 3,
    RevocationReason.SUPERSEDED: 4,
    RevocationReason.CESSATION_OF_OPERATION: 5,
    RevocationReason.PRIVILEGE_WITHDRAWN: 9,
}

END_ENTITY_REASONS = frozenset(RevocationReason) - {RevocationReason.CA_COMPROMISE}
"""Those that an end entity's certificate may have: ``cACompromise`` is for CAs."""


@dataclass(frozen=True, slots=True)
class RevocationEntry:
    """One revoked serial. ``reason`` None: the extension is left out."""

    serial: SerialNumber
    revocation_date: datetime
    reason: RevocationReason | None
