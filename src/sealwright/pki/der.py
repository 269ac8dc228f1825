"""Just enough DER to write CRLs and OCSP answers from parts, and to walk an OCSP request without a decoder.

Writes tag-length-value from bytes that are already encoded, so that a CRL is assembled from kept entries and an answer
from a template. Knows no ASN.1 module; what a structure means is ``crl``'s, ``ocsp``'s and ``ocsp_query``'s.
"""

from datetime import UTC, datetime
from typing import Final

from sealwright.errors import InputError

INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OID: Final = 0x06
ENUMERATED: Final = 0x0A
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30


def context(number: int, *, constructed: bool = True) -> int:
    """The tag octet of ``[number]``."""
    return (0xA0 if constructed else 0x80) | number


def header(tag: int, length: int) -> bytes:
    """Tag and length octets for a value of ``length`` octets (X.690 8.1.3, shortest form)."""
    if length < 0x80:
        return bytes((tag, length))
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets


def encode(tag: int, *parts: bytes) -> bytes:
    """One value of ``tag`` whose content is ``parts``, one after the other."""
    return b"".join((header(tag, sum(map(len, parts))), *parts))


def sequence(*parts: bytes) -> bytes:
    """SEQUENCE of values that are encoded already."""
    return encode(SEQUENCE, *parts)


def integer(value: int, *, tag: int = INTEGER) -> bytes:
    """INTEGER, or ENUMERATED by its tag, in the fewest octets."""
    length = value.bit_length() // 8 + 1 if value >= 0 else (value + 1).bit_length() // 8 + 1
    return encode(tag, value.to_bytes(length, "big", signed=True))


def octet_string(value: bytes) -> bytes:
    """OCTET STRING."""
    return encode(OCTET_STRING, value)


def oid(dotted: str) -> bytes:
    """OBJECT IDENTIFIER from its dotted form. For constants: it believes its input."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    octets = bytearray()
    for arc in (first * 40 + second, *rest):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        octets += bytes(reversed(groups))
    return encode(OID, bytes(octets))


def extension(identifier: bytes, value: bytes) -> bytes:
    """A non-critical Extension (RFC 5280 4.1): FALSE is the default, so DER leaves it out."""
    return sequence(identifier, octet_string(value))


def generalized_time(moment: datetime) -> bytes:
    """GeneralizedTime in Zulu time, whole seconds (RFC 5280 4.1.2.5.2)."""
    return encode(GENERALIZED_TIME, _zulu(moment, "%Y%m%d%H%M%SZ"))


def time(moment: datetime) -> bytes:
    """Time: UTCTime through 2049, GeneralizedTime from 2050 on (RFC 5280 4.1.2.5)."""
    if 1950 <= moment.astimezone(UTC).year < 2050:
        return encode(UTC_TIME, _zulu(moment, "%y%m%d%H%M%SZ"))
    return generalized_time(moment)


def _zulu(moment: datetime, form: str) -> bytes:
    if moment.tzinfo is None or moment.microsecond:
        raise ValueError(f"time is {moment!r}; wanted UTC-aware and whole seconds")
    moment = moment.astimezone(UTC)
    # strftime does not pad years before 1000, and no PKI is that old.
    return moment.strftime(form).encode("ascii")


def read_generalized_time(value: bytes) -> datetime | None:
    """The time in a DER GeneralizedTime of whole seconds, or None if it is anything else."""
    if len(value) != 17 or value[:2] != bytes((GENERALIZED_TIME, 15)):
        return None
    try:
        return datetime.strptime(value[2:].decode("ascii"), "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def read(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    """Where the content of the value at ``at`` begins and ends.

    Definite, shortest-form lengths of at most two octets, no high tag numbers: what a bounded message needs.
    InputError when the tag is not ``tag``, or the value does not fit before ``end``.
    """
    if at + 2 > end or data[at] != tag:
        found = f"tag 0x{data[at]:02x}" if at < end else "the end"
        raise InputError(f"at octet {at} is {found}; wanted a whole value with tag 0x{tag:02x}")
    length = data[at + 1]
    start = at + 2
    if length >= 0x80:
        count = length & 0x7F
        if count not in (1, 2) or start + count > end:
            raise InputError(f"at octet {at} is a length of {count} octets; wanted a definite one of two at most")
        length = int.from_bytes(data[start : start + count], "big")
        if length < (0x80 if count == 1 else 0x100):
            raise InputError(f"at octet {at} is a length that is not in its shortest form")
        start += count
    if start + length > end:
        raise InputError(f"at octet {at} is a value of {length} octets, which runs past its end")
    return start, start + length
