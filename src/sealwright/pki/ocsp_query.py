"""Reads an OCSP request by walking it: the first CertID, the nonce's length, and nothing else (RFC 6960 4.1, RFC 9654).

No general decoder sees foreign bytes here, and nothing is copied but the three hashes and numbers of the answer's key.
What is answered is ``validation``'s; this module says only whether it is a request, and for what.
"""

from enum import StrEnum
from typing import Final, NamedTuple

from sealwright.errors import InputError
from sealwright.pki import der

QUERY_LIMIT: Final = 10_000
"""Octets of a request; RFC 9919 clients send about 80. A longer body is not read (413)."""


class CertIDForm(StrEnum):
    """The hash inside a CertID. An answer repeats the one that was asked with."""

    SHA1 = "sha1"
    SHA256 = "sha256"


class OCSPQuery(NamedTuple):
    """The first CertID of a request. ``form`` None: a hash that nothing here is answered with (never issued, then)."""

    form: CertIDForm | None
    name_hash: bytes
    key_hash: bytes
    serial: int


_SHA1: Final = der.oid("1.3.14.3.2.26")
_SHA256: Final = der.oid("2.16.840.1.101.3.4.2.1")
_FORMS: Final = {_SHA1: (CertIDForm.SHA1, 20), _SHA256: (CertIDForm.SHA256, 32)}
_NONCE: Final = der.oid("1.3.6.1.5.5.7.48.1.2")
_UNDERSTOOD: Final = frozenset(
    {
        _NONCE,
        der.oid("1.3.6.1.5.5.7.48.1.4"),  # acceptable responses: basic is all there is
        der.oid("1.3.6.1.5.5.7.48.1.8"),  # preferred signature algorithms: pre-signed answers have one
    }
)
_NONCE_LONGEST: Final = 128
_BOOLEAN: Final = 0x01


def parse_ocsp_query(data: bytes) -> OCSPQuery:
    """Read an OCSPRequest. Raises InputError and nothing else; the responder then says malformedRequest.

    Of several CertIDs the first counts. A signature is carried by, not checked: every answer is public.
    """
    if len(data) > QUERY_LIMIT:
        raise InputError(f"request is {len(data)} octets; wanted {QUERY_LIMIT} or less")
    at, end = _whole(data, 0, len(data), der.SEQUENCE)
    to_be_signed = der.read(data, at, end, der.SEQUENCE)
    if to_be_signed[1] != end:
        _whole(data, to_be_signed[1], end, der.context(0))  # optionalSignature
    at, end = to_be_signed
    if _tag(data, at, end) == der.context(0):
        start, at = der.read(data, at, end, der.context(0))
        if data[start:at] != b"\x02\x01\x00":
            raise InputError("request has another version; wanted v1")
    if _tag(data, at, end) == der.context(1):
        _, at = der.read(data, at, end, der.context(1))  # requestorName
    request_list = der.read(data, at, end, der.SEQUENCE)
    if request_list[1] != end:
        _check_extensions(data, *_whole(data, request_list[1], end, der.context(2)))
    return _first_cert_id(data, *request_list)


def _first_cert_id(data: bytes, at: int, end: int) -> OCSPQuery:
    start, stop = der.read(data, at, end, der.SEQUENCE)
    query, rest = _cert_id(data, start, stop)
    if rest != stop:
        _whole(data, rest, stop, der.context(0))  # singleRequestExtensions
    at = stop
    while at != end:  # further requests: well-formed on the outside, and not looked at
        _, at = der.read(data, at, end, der.SEQUENCE)
    return query


def _cert_id(data: bytes, at: int, end: int) -> tuple[OCSPQuery, int]:
    at, stop = der.read(data, at, end, der.SEQUENCE)
    start, after = der.read(data, at, stop, der.SEQUENCE)
    _, oid_end = der.read(data, start, after, der.OID)
    if data[oid_end:after] not in (b"", b"\x05\x00"):
        raise InputError("CertID's hash algorithm has parameters; wanted NULL or none")
    name_start, name_end = der.read(data, after, stop, der.OCTET_STRING)
    key_start, key_end = der.read(data, name_end, stop, der.OCTET_STRING)
    serial_start, serial_end = der.read(data, key_end, stop, der.INTEGER)
    if serial_end != stop:
        raise InputError("CertID has something after its serial number")
    octets = data[serial_start:serial_end]
    if not octets or (len(octets) > 1 and (octets[0], octets[1] >> 7) in ((0, 0), (0xFF, 1))):
        raise InputError("CertID's serial number is not an INTEGER in its shortest form")
    form, length = _FORMS.get(data[start:oid_end], (None, None))
    name_hash, key_hash = data[name_start:name_end], data[key_start:key_end]
    if length is not None and not len(name_hash) == len(key_hash) == length:
        raise InputError(f"CertID's hashes are {len(name_hash)} and {len(key_hash)} octets; wanted {length} each")
    return OCSPQuery(form, name_hash, key_hash, int.from_bytes(octets, "big", signed=True)), stop


def _check_extensions(data: bytes, at: int, end: int) -> None:
    at, end = _whole(data, at, end, der.SEQUENCE)
    nonces = 0
    while at != end:
        start, stop = der.read(data, at, end, der.SEQUENCE)
        _, oid_end = der.read(data, start, stop, der.OID)
        identifier, critical, value_at = data[start:oid_end], False, oid_end
        if _tag(data, value_at, stop) == _BOOLEAN:
            flag, value_at = der.read(data, value_at, stop, _BOOLEAN)
            critical = data[flag:value_at] != b"\x00"
        value = _whole(data, value_at, stop, der.OCTET_STRING)
        if identifier == _NONCE:
            nonces += 1
            first, last = _whole(data, *value, der.OCTET_STRING)
            if nonces > 1 or not 1 <= last - first <= _NONCE_LONGEST:  # RFC 9654 2.1
                raise InputError(f"nonce is {last - first} octets; wanted one nonce of 1 to {_NONCE_LONGEST}")
        elif critical and identifier not in _UNDERSTOOD:
            raise InputError("request has a critical extension that is not understood here")
        at = stop


def _whole(data: bytes, at: int, end: int, tag: int) -> tuple[int, int]:
    start, stop = der.read(data, at, end, tag)
    if stop != end:
        raise InputError(f"{end - stop} octets follow at octet {stop}; wanted none")
    return start, stop


def _tag(data: bytes, at: int, end: int) -> int:
    return data[at] if at < end else -1
