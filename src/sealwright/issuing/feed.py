"""The feed of a ledger on the signer's socket: a signer gives it, and so does a standby."""

import base64
from collections.abc import Mapping
from typing import Any, Final

from sealwright.errors import InputError
from sealwright.ledger.view import LedgerView

_FEED_OCTETS: Final = 96 * 1024


def answer_feed(ledger: LedgerView, size: int, checkpoint: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Entries from ``start`` on, as many as fit one message, with the checkpoint they are under."""
    start, count = arguments.get("start"), arguments.get("count")
    if not (isinstance(start, int) and isinstance(count, int) and start >= 0 and count >= 0):
        raise InputError("entries takes a start and a count, both whole numbers from 0 on")
    entries: list[str] = []
    octets = 0
    for place in range(start, min(size, start + count)):
        data = base64.b64encode(ledger.read(place)).decode()
        octets += len(data)
        if entries and octets > _FEED_OCTETS:
            break
        entries.append(data)
    return {"size": size, "checkpoint": checkpoint, "entries": entries}
