"""Private keys that stay on their token, as subclasses of pyca's abstract classes.

pyca's certificate, CSR, CRL and OCSP builders take them as they take software keys. They sign and give their public
key; whatever would take the key out, decrypt or derive raises UnsupportedAlgorithm. Every mechanism is named and every
length checked: the defaults are SHA-512 and, for PSS, SHA-1, and SoftHSM signs an empty "digest" without a word.
Any number of threads may use one key at once. Opening them is ``keys``'s.
"""

from collections.abc import Sequence
from typing import Any, Final, NoReturn, Self, cast

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed
from cryptography.utils import Buffer
from pkcs11 import MGF, Mechanism

from sealwright.hsm.token_key import TokenKey, ecdsa_der

_PKCS1: Final = {
    "sha256": Mechanism.SHA256_RSA_PKCS,
    "sha384": Mechanism.SHA384_RSA_PKCS,
    "sha512": Mechanism.SHA512_RSA_PKCS,
}
_DIGEST_INFO: Final = {  # RFC 8017 9.2, note 1
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
_PSS: Final = {
    "sha256": (Mechanism.SHA256_RSA_PKCS_PSS, Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384_RSA_PKCS_PSS, Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512_RSA_PKCS_PSS, Mechanism.SHA512, MGF.SHA512),
}


class _StaysOnToken:
    """What the three have in common: where the key is, and that it stays there."""

    def __init__(self, key: TokenKey) -> None:
        self._key = key

    @property
    def key_id(self) -> bytes:
        return self._key.key_id

    def check_ready(self) -> None:
        """See ``TokenSession.check_ready``."""
        self._key.session.check_ready()

    def prove(self) -> None:
        """Find the key on its token, read its attributes back and let it sign a challenge, now. Raises TokenError."""
        self._key.check()

    @property
    def token_serial(self) -> str:
        return self._key.session.serial

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        self._refuse("its private half leaves the token never")

    def private_numbers(self) -> NoReturn:
        self._refuse("its private half leaves the token never")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[Any, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self._key.subject} is not pickled: open it in the process that uses it")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._key.key_id.hex()} on token {self._key.session.serial}>"

    def _refuse(self, reason: str) -> NoReturn:
        raise UnsupportedAlgorithm(f"{self._key.subject}: {reason}")


class TokenRSAPrivateKey(_StaysOnToken, rsa.RSAPrivateKey):
    """PKCS #1 v1.5 and PSS, with SHA-256, SHA-384 or SHA-512 computed by the token."""

    def public_key(self) -> rsa.RSAPublicKey:
        return cast("rsa.RSAPublicKey", self._key.public)

    @property
    def key_size(self) -> int:
        return self.public_key().key_size

    def sign(
        self,
        data: bytes,
        padding: padding.AsymmetricPadding,
        algorithm: Prehashed | hashes.HashAlgorithm | NoDigestInfo,
    ) -> bytes:
        """UnsupportedAlgorithm for another hash, or MGF1 with a hash of its own.

        ``Prehashed`` is taken as pyca takes it: what is too long to be held is digested while it is written.
        """
        if isinstance(algorithm, Prehashed):
            return self._sign_digest(data, padding, algorithm)
        if not isinstance(algorithm, hashes.HashAlgorithm) or algorithm.name not in _PKCS1:
            name = algorithm.name if isinstance(algorithm, hashes.HashAlgorithm) else type(algorithm).__name__
            self._refuse(f"signs whole messages with SHA-256, SHA-384 or SHA-512, not {name}")
        mechanism, parameter = self._mechanism(padding, algorithm)
        return self._key.sign(mechanism, bytes(data), parameter)

    def _sign_digest(self, digest: bytes, padded: padding.AsymmetricPadding, algorithm: Prehashed) -> bytes:
        hasher = algorithm._algorithm
        if hasher.name not in _PKCS1:
            self._refuse(f"signs with SHA-256, SHA-384 or SHA-512, not {hasher.name}")
        if len(digest) != hasher.digest_size:
            raise ValueError(f"digest of {len(digest)} octets; {hasher.digest_size} wanted")
        _, parameter = self._mechanism(padded, hasher)
        if parameter is None:
            return self._key.sign(Mechanism.RSA_PKCS, _DIGEST_INFO[hasher.name] + digest)
        return self._key.sign(Mechanism.RSA_PKCS_PSS, bytes(digest), parameter)

    def _mechanism(
        self, padded: padding.AsymmetricPadding, algorithm: hashes.HashAlgorithm
    ) -> tuple[Mechanism, tuple[Any, ...] | None]:
        if isinstance(padded, padding.PKCS1v15):
            return _PKCS1[algorithm.name], None
        if not isinstance(padded, padding.PSS):
            self._refuse(f"signs with PKCS #1 v1.5 or PSS, not {type(padded).__name__}")
        mgf = padded._mgf
        mgf_hash = getattr(mgf, "_algorithm", None)
        if not isinstance(mgf, padding.MGF1) or mgf_hash is None or mgf_hash.name != algorithm.name:
            self._refuse(f"PSS wants MGF1 with {algorithm.name}, the hash of the message")
        mechanism, token_hash, token_mgf = _PSS[algorithm.name]
        return mechanism, (token_hash, token_mgf, self._salt_length(padded, algorithm))

    def _salt_length(self, padded: padding.PSS, algorithm: hashes.HashAlgorithm) -> int:
        longest = padding.calculate_max_pss_salt_length(self.public_key(), algorithm)
        wanted = padded._salt_length
        if isinstance(wanted, int):
            if wanted > longest:
                raise ValueError(f"PSS salt of {wanted} octets; {self._key.subject} takes {longest} at most")
            return wanted
        if wanted is padding.PSS.DIGEST_LENGTH:
            return algorithm.digest_size
        if wanted is padding.PSS.MAX_LENGTH:
            return longest
        raise ValueError("PSS.AUTO is for verifying: a signature needs a salt length")

    def decrypt(self, ciphertext: bytes, padding: padding.AsymmetricPadding) -> NoReturn:
        self._refuse("signs and does nothing else")


class TokenECPrivateKey(_StaysOnToken, ec.EllipticCurvePrivateKey):
    """ECDSA. The token only does raw ECDSA, so the hash is computed here; ``Prehashed`` is taken as pyca takes it."""

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return cast("ec.EllipticCurvePublicKey", self._key.public)

    @property
    def curve(self) -> ec.EllipticCurve:
        return self.public_key().curve

    @property
    def key_size(self) -> int:
        return self.curve.key_size

    def sign(self, data: Buffer, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """DER of ECDSA-Sig-Value. ValueError when a ready digest has not its hash's length."""
        if not isinstance(signature_algorithm, ec.ECDSA) or signature_algorithm.deterministic_signing:
            self._refuse("signs with ECDSA, its nonce drawn by the token")
        algorithm = signature_algorithm.algorithm
        if isinstance(algorithm, Prehashed):
            digest = bytes(data)
            wanted = algorithm.digest_size
            if len(digest) != wanted:  # SoftHSM would sign it, even empty
                raise ValueError(f"digest of {len(digest)} octets; {wanted} wanted")
        else:
            hasher = hashes.Hash(algorithm)
            hasher.update(data)
            digest = hasher.finalize()
        octets = (self.key_size + 7) // 8  # a longer digest is cut on the left here (FIPS 186-5 6.4.1), tokens differ
        return ecdsa_der(self._key.sign(Mechanism.ECDSA, digest[:octets]), self.curve)

    def sign_digests(self, digests: Sequence[bytes]) -> list[bytes]:
        """DER of ECDSA-Sig-Value for each digest of the curve's size, in few visits to the token."""
        octets = (self.key_size + 7) // 8
        for digest in digests:
            if len(digest) != octets:
                raise ValueError(f"digest of {len(digest)} octets; {octets} wanted")
        curve = self.curve
        return [ecdsa_der(raw, curve) for raw in self._key.sign_each(Mechanism.ECDSA, digests, 2 * octets)]

    def exchange(self, algorithm: ec.ECDH, peer_public_key: ec.EllipticCurvePublicKey) -> NoReturn:
        self._refuse("signs and does nothing else")


class TokenEd25519PrivateKey(_StaysOnToken, ed25519.Ed25519PrivateKey):
    """Pure Ed25519 (RFC 8032), the whole message to the token."""

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return cast("ed25519.Ed25519PublicKey", self._key.public)

    def sign(self, data: Buffer) -> bytes:
        return self._key.sign(Mechanism.EDDSA, bytes(data))

    def private_bytes_raw(self) -> NoReturn:
        self._refuse("its private half leaves the token never")


def check_ready(key: object) -> None:
    """Raises ``Unavailable`` while a key's token is known to be away. Calls no token; a software key is ready."""
    if isinstance(key, _StaysOnToken):
        key.check_ready()


def prove_key(key: object) -> None:
    """Find a key on its token, read its attributes back, and let it sign a challenge, now. Raises TokenError.

    A software key proves itself.
    """
    if isinstance(key, _StaysOnToken):
        key.prove()
