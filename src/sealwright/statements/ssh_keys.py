"""SSH public keys: which kinds are taken, how a line is read, and when two lines are one key.

A comment, and for security keys the application, do not make another key of it: ``identity`` is of the key itself.
Sources: RFC 4253 6.6 (RSA), RFC 5656 3.1 (ECDSA), RFC 8709 4 (Ed25519), OpenSSH PROTOCOL.u2f (sk-).
"""

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.pki.keys import PublicKey, check_key_strength, secret_sha256
from sealwright.statements.ssh_wire import Reader
from sealwright.statements.wire import decode_base64

LINE_LIMIT: Final = 4096
RSA_BITS: Final = range(3072, 8193)

_CURVES: Final[dict[str, EllipticCurve]] = {
    "nistp256": SECP256R1(),
    "nistp384": SECP384R1(),
    "nistp521": SECP521R1(),
}
SK_ED25519: Final = "sk-ssh-ed25519@openssh.com"
SK_ECDSA: Final = "sk-ecdsa-sha2-nistp256@openssh.com"
SOFTWARE_KINDS: Final = ("ssh-ed25519", *(f"ecdsa-sha2-{curve}" for curve in _CURVES), "ssh-rsa")
KINDS: Final = (*SOFTWARE_KINDS, SK_ED25519, SK_ECDSA)

_FIELD: Final = 2**255 - 19
_EIGHTH: Final = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER: Final = frozenset({0, 1, _FIELD - 1, _EIGHTH, _FIELD - _EIGHTH})
"""The y of the eight points of edwards25519 whose order divides the cofactor."""


@dataclass(frozen=True, slots=True)
class SSHPublicKey:
    """A public key. Equal when the octets are; the same *key* when ``identity`` is equal."""

    kind: str
    blob: bytes
    public: PublicKey = field(compare=False, repr=False)
    application: str | None = field(default=None, compare=False)
    """Of security keys (``sk-`` kinds) only."""

    @property
    def line(self) -> str:
        """The line without comment: "ssh-ed25519 AAAA..."."""
        return f"{self.kind} {base64.b64encode(self.blob).decode()}"

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def identity(self) -> str:
        """Of the secret behind it: the same under every comment, application, encoding and RSA exponent."""
        return _identity_of(self)

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@lru_cache(maxsize=1024)
def _identity_of(key: SSHPublicKey) -> str:
    return secret_sha256(key.public)


def parse_public_key(line: str) -> SSHPublicKey:
    """Read one line of a ``.pub`` file; its comment is dropped. Raises ``InputError``."""
    parts = line.strip().split(None, 2)
    if len(line) > LINE_LIMIT or len(parts) < 2 or "\n" in line.strip():
        raise InputError(
            "this is not an SSH public key line (kind, base64, comment)",
            hint="give the content of the .pub file, such as ~/.ssh/id_ed25519.pub",
        )
    try:
        key = parse_key_blob(decode_base64(parts[1]))
    except (ValueError, IntegrityError) as error:
        raise InputError(f"this SSH public key cannot be used: {error}", hint=_KINDS_HINT) from None
    if key.kind != parts[0]:
        raise InputError(f"this SSH public key line says {parts[0][:64]!r}, and holds a key of kind {key.kind!r}")
    return key


_KINDS_HINT = "taken are Ed25519, ECDSA, RSA of 3072 bits or more, and FIDO (sk-) keys: `ssh-keygen -t ed25519`"


@lru_cache(maxsize=1024)
def parse_key_blob(blob: bytes) -> SSHPublicKey:
    """Read the key inside a line or a signature. Raises ``IntegrityError``."""
    reader = Reader(blob, "SSH public key")
    kind = reader.text()
    public: PublicKey
    if kind in {"ssh-ed25519", SK_ED25519}:
        public = _ed25519(reader.string())
    elif kind == "ssh-rsa":
        public = _rsa(exponent=reader.mpint(), modulus=reader.mpint())
    elif kind in KINDS:
        public = _ecdsa(kind, curve=reader.text(), point=reader.string())
    else:
        raise IntegrityError(f"SSH key is of kind {kind[:64]!r}; wanted one of {', '.join(KINDS)}")
    application = reader.text() if kind.startswith("sk-") else None
    reader.end()
    if application is not None and not application.startswith("ssh:"):
        raise IntegrityError(f"FIDO key is for the application {application!r}; wanted one that starts with 'ssh:'")
    return SSHPublicKey(kind, blob, public, application)


def _ed25519(octets: bytes) -> Ed25519PublicKey:
    """Refuses the points of small order, under which a signature over anything can be made by anybody.

    OpenSSL takes them (RFC 8032 8.4 leaves it to the application), and every encoding of y from 2^255 - 19 on.
    """
    y = int.from_bytes(octets, "little") & (1 << 255) - 1
    if y >= _FIELD or y in _SMALL_ORDER:
        raise IntegrityError("Ed25519 key is a point that none should have")
    try:
        return Ed25519PublicKey.from_public_bytes(octets)
    except ValueError as error:
        raise IntegrityError(f"Ed25519 key: {error}") from None


def _rsa(*, exponent: int, modulus: int) -> RSAPublicKey:
    if modulus.bit_length() not in RSA_BITS:
        raise IntegrityError(f"RSA key has {modulus.bit_length()} bits; wanted {RSA_BITS[0]} to {RSA_BITS[-1]}")
    try:
        public = RSAPublicNumbers(exponent, modulus).public_key()
        check_key_strength(public)  # as for the keys we certify: exponent, factors, Fermat, ROCA
    except (PolicyViolation, ValueError) as error:
        raise IntegrityError(f"RSA key: {error}") from None
    return public


def _ecdsa(kind: str, *, curve: str, point: bytes) -> EllipticCurvePublicKey:
    if kind not in {f"ecdsa-sha2-{curve}", SK_ECDSA} or (kind == SK_ECDSA and curve != "nistp256"):
        raise IntegrityError(f"SSH key of kind {kind!r} is on the curve {curve[:32]!r}")
    if point[:1] != b"\x04":
        raise IntegrityError("ECDSA key is not an uncompressed point")
    try:
        return EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], point)
    except ValueError as error:
        raise IntegrityError(f"ECDSA key: {error}") from None
