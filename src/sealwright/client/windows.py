"""The root as Windows takes it: a group policy's ``Registry.pol`` ([MS-GPREG] 2.2.1), and the same as a ``.reg`` file.

Both set one value, the certificate as a serialised store element (properties one after the other), under the key where
Windows keeps the roots that a policy gave.
"""

import struct
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding

_KEY: Final = "SOFTWARE\\Policies\\Microsoft\\SystemCertificates\\Root\\Certificates\\"
_REG_BINARY: Final = 3
_SHA1_HASH, _CERTIFICATE = 3, 32  # CERT_SHA1_HASH_PROP_ID, CERT_CERT_PROP_ID
_OCTETS_A_LINE: Final = 25


def registry_policy(root: x509.Certificate) -> bytes:
    """``Registry.pol`` of a policy object that does nothing else."""
    key, blob = _KEY + _thumbprint(root), _blob(root)
    semicolon = ";".encode("utf-16-le")
    fields = (_text(key), _text("Blob"), struct.pack("<I", _REG_BINARY), struct.pack("<I", len(blob)), blob)
    entry = "[".encode("utf-16-le") + semicolon.join(fields) + "]".encode("utf-16-le")
    return struct.pack("<4sI", b"PReg", 1) + entry


def registry_file(root: x509.Certificate) -> bytes:
    """What ``reg import`` reads: UTF-16 with a byte order mark, CR LF."""
    octets = [f"{octet:02x}" for octet in _blob(root)]
    rows = [",".join(octets[at : at + _OCTETS_A_LINE]) for at in range(0, len(octets), _OCTETS_A_LINE)]
    lines = (
        "Windows Registry Editor Version 5.00",
        "",
        f"[HKEY_LOCAL_MACHINE\\{_KEY}{_thumbprint(root)}]",
        '"Blob"=hex:' + ",\\\r\n  ".join(rows),
        "",
    )
    return b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le")


def _blob(root: x509.Certificate) -> bytes:
    """Each property: its id, the encoding type (1), how many octets, the octets; all numbers 32 bits, little-endian."""
    properties = ((_SHA1_HASH, root.fingerprint(SHA1())), (_CERTIFICATE, root.public_bytes(Encoding.DER)))  # noqa: S303  # Windows' name of a certificate, and no proof of anything
    return b"".join(struct.pack("<III", number, 1, len(value)) + value for number, value in properties)


def _thumbprint(root: x509.Certificate) -> str:
    return root.fingerprint(SHA1()).hex().upper()  # noqa: S303  # as above


def _text(value: str) -> bytes:
    return f"{value}\0".encode("utf-16-le")
