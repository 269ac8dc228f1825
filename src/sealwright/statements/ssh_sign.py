"""An SSH signature by a key that is at hand: for a certificate's own key, in a file or on a token.

People sign with ``ssh_keygen``, which knows agents and FIDO tokens. What is made here, ``ssh`` verifies.
Sources: OpenSSH PROTOCOL.sshsig, RFC 8332 3 (RSA), RFC 5656 3.1.2 (ECDSA).
"""

import base64
import hashlib
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.pki.keys import PrivateKey
from sealwright.statements.ssh import EC_HASHES, MAGIC
from sealwright.statements.ssh_keys import SSHPublicKey, parse_public_key
from sealwright.statements.ssh_wire import pack

_LINE: Final = 70


def public_half(key: PrivateKey) -> SSHPublicKey:
    """The key's public half as SSH writes it. Raises ``InputError`` for a kind that SSH, or we, do not take."""
    return parse_public_key(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


def sign_with_key(key: PrivateKey, namespace: str, message: bytes) -> str:
    """The armored signature of ``key`` over ``message``. Raises what the key's token raises."""
    signed = MAGIC + pack(namespace.encode(), b"", b"sha512", hashlib.sha512(message).digest())
    public = public_half(key)
    match key:
        case RSAPrivateKey():
            inner = pack(b"rsa-sha2-512", key.sign(signed, PKCS1v15(), SHA512()))
        case EllipticCurvePrivateKey():
            r, s = decode_dss_signature(key.sign(signed, ECDSA(EC_HASHES[key.curve.key_size])))
            inner = pack(public.kind.encode(), pack(_mpint(r), _mpint(s)))
        case _:
            inner = pack(public.kind.encode(), key.sign(signed))
    blob = MAGIC + (1).to_bytes(4, "big") + pack(public.blob, namespace.encode(), b"", b"sha512", inner)
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def _mpint(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")
