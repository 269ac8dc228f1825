"""SSH signatures (SSHSIG) verified here, on pyca: OpenSSH's PROTOCOL.sshsig, and PROTOCOL.u2f for FIDO keys.

A signature is taken apart completely before anything of it is believed: magic, version, namespace, empty reserved
field, hash, embedded key, signature kind, no octet left over. Who the key belongs to is not known here.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sealwright.errors import IntegrityError
from sealwright.statements.ssh_keys import SSHPublicKey, parse_key_blob, parse_public_key
from sealwright.statements.ssh_wire import Reader, pack

__all__ = ["SSHPublicKey", "SSHSignature", "parse_public_key", "parse_signature", "verify_signature"]

MAGIC: Final = b"SSHSIG"
ARMOR_LIMIT: Final = 8192
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_HASHES: Final = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}
_RSA_HASHES: Final = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
EC_HASHES: Final = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}  # RFC 5656 6.2.1

USER_PRESENT: Final = 0x01
USER_VERIFIED: Final = 0x04


@dataclass(frozen=True, slots=True)
class SSHSignature:
    """What a signature says of itself. Nothing in it is true before ``verify``."""

    key: SSHPublicKey
    namespace: str
    hash_name: str
    kind: str
    value: bytes
    flags: int
    counter: int
    """``flags`` and ``counter`` are those of a FIDO token; 0 for the software kinds."""

    def verify(self, message: bytes) -> None:
        """Raises ``IntegrityError`` unless ``key`` signed ``message`` for ``namespace``."""
        digest = _HASHES[self.hash_name](message).digest()
        signed = MAGIC + pack(self.namespace.encode(), b"", self.hash_name.encode(), digest)
        if self.key.application is not None:
            if not self.flags & USER_PRESENT:
                raise IntegrityError("FIDO signature was made without a touch (user presence)")
            # PROTOCOL.u2f: SHA256(application) || flags || counter || SHA256(message)
            signed = (
                hashlib.sha256(self.key.application.encode()).digest()
                + bytes([self.flags])
                + self.counter.to_bytes(4, "big")
                + hashlib.sha256(signed).digest()
            )
        try:
            self._verify(signed)
        except InvalidSignature:
            raise IntegrityError(
                f"the signature by {self.key.fingerprint} does not verify",
                hint="what was signed was changed afterwards, or somebody else signed it",
            ) from None

    def _verify(self, signed: bytes) -> None:
        public = self.key.public
        match public:
            case Ed25519PublicKey():
                public.verify(self.value, signed)
            case RSAPublicKey():
                public.verify(self.value, signed, PKCS1v15(), _RSA_HASHES[self.kind])
            case EllipticCurvePublicKey():
                reader = Reader(self.value, "ECDSA signature")
                r, s = reader.mpint(), reader.mpint()
                reader.end()
                public.verify(encode_dss_signature(r, s), signed, ECDSA(EC_HASHES[public.key_size]))


def parse_signature(armored: str) -> SSHSignature:
    """Take a signature apart. Raises ``IntegrityError`` saying what is wrong with it."""
    reader = Reader(_unarmor(armored), "SSH signature")
    if reader.take(len(MAGIC)) != MAGIC or reader.uint32() != 1:
        raise IntegrityError("this is not an SSH signature of version 1")
    key = parse_key_blob(reader.string())
    namespace = reader.text()
    reserved = reader.string()
    hash_name = reader.text()
    inner = Reader(reader.string(), "SSH signature")
    reader.end()
    if not namespace or reserved:
        raise IntegrityError("SSH signature has an empty namespace or a reserved field that is not empty")
    if hash_name not in _HASHES:
        raise IntegrityError(f"SSH signature is over a {hash_name[:32]!r} hash; wanted sha256 or sha512")
    kind = inner.text()
    # An RSA key signs with SHA-2, never as "ssh-rsa" (SHA-1); every other key as what it is.
    if kind not in (_RSA_HASHES if key.kind == "ssh-rsa" else {key.kind}):
        raise IntegrityError(f"SSH signature is of kind {kind[:64]!r} by a key of kind {key.kind!r}")
    value = inner.string()
    flags, counter = (inner.take(1)[0], inner.uint32()) if key.application is not None else (0, 0)
    inner.end()
    return SSHSignature(key, namespace, hash_name, kind, value, flags, counter)


def verify_signature(armored: str, message: bytes, namespace: str, key: SSHPublicKey) -> None:
    """Raises ``IntegrityError`` unless ``armored`` is ``key``'s signature over ``message`` for ``namespace``."""
    signature = parse_signature(armored)
    if signature.namespace != namespace:
        raise IntegrityError(f"the signature was made for {signature.namespace!r}, not for {namespace!r}")
    if signature.key != key:
        raise IntegrityError(f"the signature was made by {signature.key}; wanted {key}")
    signature.verify(message)


def _unarmor(armored: str) -> bytes:
    lines = armored.strip().split("\n")
    if len(armored) > ARMOR_LIMIT or len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise IntegrityError("this is not an armored SSH signature", hint="`ssh-keygen -Y sign` makes one")
    text = "".join(lines[1:-1])
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise IntegrityError("the SSH signature's armor is not base64") from None
    if base64.b64encode(data).decode() != text:
        raise IntegrityError("the SSH signature's armor is not the one base64 spelling of its octets")
    return data
