"""Serial numbers: how they are made, written and read. That one is never used twice is the ledger's to know."""

import os
import re
from collections.abc import Callable
from typing import NewType

from sealwright.errors import InputError

SerialNumber = NewType("SerialNumber", int)
"""A certificate's serial: positive, at most 20 octets of DER (RFC 5280 4.1.2.2)."""

LARGEST_SERIAL = 2**159 - 1
_HEX = re.compile(r"[1-9a-f][0-9a-f]{0,39}")


def new_serial(random: Callable[[int], bytes] = os.urandom) -> SerialNumber:
    """20 octets, positive, 158 bits of them random (CSBR 7.1 wants 64). The caller reserves it before any use."""
    value = int.from_bytes(random(20), "big")
    # Top bit 0: positive. Next bit 1: always 20 octets, so that no length says anything.
    return SerialNumber(value & LARGEST_SERIAL | 1 << 158)


def format_serial(serial: int) -> str:
    """Lower-case hex without 0x or leading zeros, as on every wire of ours."""
    return f"{serial:x}"


def parse_serial(text: str) -> SerialNumber:
    """Read what ``format_serial`` writes, and nothing else."""
    if not _HEX.fullmatch(text) or int(text, 16) > LARGEST_SERIAL:
        shown = text if len(text) <= 64 else text[:64] + "..."
        raise InputError(
            f"serial number is {shown!r}; wanted lower-case hex without leading zeros, at most 20 octets",
            hint="as `sealwright certificates` shows it",
        )
    return SerialNumber(int(text, 16))
