"""Token trouble is part of the record: when a token of the signer went away, when it came back, and why.

An outage of the ledger's own token can be recorded only after it; what is waiting is kept in memory until then.
"""

import logging

from sealwright.errors import SealwrightError
from sealwright.hsm.breaker import TokenEvent
from sealwright.issuing.authority import IssuingAuthority
from sealwright.ledger.entries import REASON_LIMIT, TokenEntry, cut

log = logging.getLogger("sealwright.signer")

_KEPT = 200
"""Events waiting for the ledger. A token that flickers for longer is told of by its first and its last ones."""


class TokenTrouble:
    """``hear`` is for ``Supervisor``, which calls it at every look."""

    def __init__(self, authority: IssuingAuthority) -> None:
        self._authority = authority
        self._waiting: list[TokenEvent] = []

    def hear(self, events: tuple[TokenEvent, ...]) -> None:
        """Record what happened, and what could not be recorded before. Never raises."""
        self._waiting += events
        if len(self._waiting) > _KEPT:
            del self._waiting[_KEPT // 2 : -_KEPT // 2]
        if not self._waiting:
            return
        try:
            with self._authority.lock:
                now = self._authority.time_for_revocation()
                self._authority.record(
                    *(
                        TokenEntry(
                            at=now,
                            token=event.token,
                            event=event.what,
                            happened=event.at,
                            reason=cut(event.reason, REASON_LIMIT),  # it lists the tokens that are there
                        )
                        for event in self._waiting
                    )
                )
        except SealwrightError as error:
            log.debug("token events wait for the ledger: %s", error)
        else:
            self._waiting = []
