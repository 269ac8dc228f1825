"""What the registry does without being asked: follow the ledger, and ask again where the signer did not answer."""

import logging
import threading
from datetime import datetime, timedelta

from sealwright.errors import SealwrightError, Unavailable
from sealwright.registration.decisions import send_denial, send_order
from sealwright.registration.projection import project_ledger
from sealwright.registration.registry import Registry
from sealwright.registration.requests import requests_in
from sealwright.store.models import RequestState

log = logging.getLogger("sealwright.registry")

SECONDS = 2.0


class Retries:
    """When each request may be sent to the signer again.

    A signer or a token that is away is asked soon. One that failed at its token reserved a serial and revoked it: each
    new try costs a line of every later CRL, so these come minutes apart.
    """

    def __init__(self) -> None:
        self._next: dict[str, datetime] = {}
        self._tries: dict[str, int] = {}

    def is_due(self, request: str, now: datetime) -> bool:
        return now >= self._next.get(request, now)

    def note(self, request: str, error: SealwrightError | None, now: datetime) -> None:
        if error is None:
            self._next.pop(request, None)
            self._tries.pop(request, None)
            return
        tries = self._tries[request] = self._tries.get(request, 0) + 1
        first, longest = (SECONDS, 8.0) if isinstance(error, Unavailable) else (60.0, 3600.0)
        self._next[request] = now + timedelta(seconds=min(first * 2 ** min(tries - 1, 16), longest))


def keep_up(registry: Registry, stop: threading.Event) -> None:
    """Until ``stop``. What goes wrong is logged once and tried again."""
    said, retries = "", Retries()
    while not stop.is_set():
        try:
            keep_up_once(registry, retries)
            said = ""
        except SealwrightError as error:
            if error.message != said:
                log.warning("%s", error.message)
            said = error.message
        except Exception:
            log.exception("upkeep failed")
        stop.wait(SECONDS)


def keep_up_once(registry: Registry, retries: Retries) -> None:
    """Follow the ledger, then send each no that is not in it, and ask for each approved request that is due."""
    project_ledger(registry)
    now = registry.clock()
    for state, send in ((RequestState.DENYING, send_denial), (RequestState.APPROVED, send_order)):
        for request in requests_in(registry, state):
            if retries.is_due(request, now):
                retries.note(request, send(registry, request), now)
