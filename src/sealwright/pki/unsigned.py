"""Keys that sign nothing: what gives a draft's copy the place of a signature, with zeros in it.

pyca writes a certificate only together with a signature. The copy's is nobody's (ADR 0001), so it costs nothing, and
the copy cannot be mistaken for a certificate. The classes are there for pyca to tell the AlgorithmIdentifier by.
"""

from typing import Final, NoReturn, Self

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sealwright.pki.keys import PublicKey

NO_SIGNATURE: Final = bytes(8)


class _Nobody:
    def sign(self, *_: object, **__: object) -> bytes:
        return NO_SIGNATURE

    @property
    def key_size(self) -> int:
        return 0

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def public_key(self) -> NoReturn:
        raise TypeError("nobody has no key")

    def private_numbers(self) -> NoReturn:
        raise TypeError("nobody has no key")

    def private_bytes(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("nobody has no key")


class NobodyRSA(_Nobody, rsa.RSAPrivateKey):
    def decrypt(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("nobody has no key")


class NobodyEC(_Nobody, ec.EllipticCurvePrivateKey):
    @property
    def curve(self) -> NoReturn:
        raise TypeError("nobody has no key")

    def exchange(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("nobody has no key")


def nobody_like(public: PublicKey) -> NobodyRSA | NobodyEC:
    """Nobody, in the family of the issuer's key. Issuers are RSA or EC: no scheme exists for others."""
    return NobodyRSA() if isinstance(public, rsa.RSAPublicKey) else NobodyEC()
