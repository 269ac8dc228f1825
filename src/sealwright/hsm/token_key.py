"""One private key on one token, as every thread and every new login finds it again: by CKA_ID, checked, proven.

Each worker session finds the object for itself, reads its attributes back, and lets it sign a challenge which the
public key that was opened must verify: so the key that signs is the one that was asked for, also after the token was
away.
Paddings, digests and encodings are ``private_keys``'s.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import Mechanism, ObjectClass
from pkcs11.exceptions import NoSuchKey

from sealwright.errors import TokenError, TokenNotFound
from sealwright.hsm.attributes import check_private_attributes
from sealwright.hsm.objects import find_one
from sealwright.hsm.pool import Worker
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import PublicKey, spki_der

VISIT: Final = 64
"""Signatures in one call to the session: few enough that a slow token is not taken for one that hangs."""
LANES: Final = 2
"""Sessions that sign at once when there is more than a visit's work: while one is told its signature, the token, or
another processor, is at the other's."""
_CHALLENGE: Final = b"sealwright: proof that this private key belongs to its public key\0"
"""Not the beginning of any DER structure, so the proof can never be mistaken for something that was issued."""


class TokenKey:
    """Where a private key is, and the public key it must match. Signs what a mechanism takes."""

    def __init__(self, session: TokenSession, key_id: bytes, public: PublicKey) -> None:
        self.session = session
        self.key_id = key_id
        self.public = public
        self._proven_as = (key_id, spki_der(public))
        self._lanes = ThreadPoolExecutor(LANES, "sign")  # a thread of it starts when there is work for it

    @property
    def subject(self) -> str:
        return f"key {self.key_id.hex()} on token {self.session.serial}"

    def sign(self, mechanism: Mechanism, data: bytes, parameter: tuple[Any, ...] | None = None) -> bytes:
        """The token's raw answer. May be computed twice (see ``TokenSession.call``), is given once."""
        return self.session.call(
            lambda worker: _raw_sign(self._find(worker), mechanism, data, parameter),
            doing=f"signing with key {self.key_id.hex()}",
        )

    def sign_each(self, mechanism: Mechanism, messages: Sequence[bytes], octets: int) -> list[bytes]:
        """As ``sign`` for each, with signatures of ``octets``, the shortest way: ``VISIT`` of them to a call of the
        session, ``LANES`` calls at once. When one fails none is given."""
        visit = partial(self._visit, mechanism, octets)
        parts = [messages[start : start + VISIT] for start in range(0, len(messages), VISIT)]
        made = map(visit, parts) if len(parts) < LANES else self._lanes.map(visit, parts)
        return [signature for part in made for signature in part]

    def _visit(self, mechanism: Mechanism, octets: int, messages: Sequence[bytes]) -> list[bytes]:
        def sign(worker: Worker) -> list[bytes]:
            key: Any = self._find(worker)
            native: Any = worker.native
            return self.session.module.cryptoki.sign_each(native.handle, mechanism.value, key.handle, messages, octets)

        return self.session.call(sign, doing=f"signing with key {self.key_id.hex()}")

    def check(self) -> None:
        """Find, read back and prove the key now. Raises TokenNotFound, TokenError or KeyAttributeError."""

        def find_again(worker: Worker) -> None:
            worker.keys.pop(self._proven_as, None)
            self._find(worker)

        self.session.call(find_again, doing=f"opening key {self.key_id.hex()}")

    def _find(self, worker: Worker) -> pkcs11.PrivateKey:
        known = worker.keys.get(self._proven_as)
        if known is not None:
            return known
        try:
            native = find_one(worker.native, ObjectClass.PRIVATE_KEY, self.key_id, token=self.session.serial)
        except TokenNotFound:
            raise NoSuchKey from None  # it was there when it was opened: worth a rebuild
        check_private_attributes(native, subject=self.subject)
        self._prove(native)
        worker.keys[self._proven_as] = native
        return native  # type: ignore[no-any-return]  # objects come untyped from a search

    def _prove(self, native: pkcs11.PrivateKey) -> None:
        challenge = _CHALLENGE + os.urandom(32)
        digest = hashlib.sha256(challenge).digest()
        try:
            match self.public:
                case rsa.RSAPublicKey():
                    signature = _raw_sign(native, Mechanism.SHA256_RSA_PKCS, challenge)
                    self.public.verify(signature, challenge, padding.PKCS1v15(), hashes.SHA256())
                case ec.EllipticCurvePublicKey():
                    signature = _raw_sign(native, Mechanism.ECDSA, digest)
                    self.public.verify(ecdsa_der(signature, self.public.curve), challenge, ec.ECDSA(hashes.SHA256()))
                case _:
                    self.public.verify(_raw_sign(native, Mechanism.EDDSA, challenge), challenge)
        except InvalidSignature:
            raise TokenError(
                f"{self.subject}: the private key does not belong to the public key beside it",
                hint="somebody put another key under this id: use neither, and find out who",
            ) from None


def _raw_sign(  # Any: the types of python-pkcs11 do not say that a private key can sign
    native: Any, mechanism: Mechanism, data: bytes, parameter: tuple[Any, ...] | None = None
) -> bytes:
    signature: bytes = native.sign(data, mechanism=mechanism, mechanism_param=parameter)  # never the defaults
    return signature


def ecdsa_der(raw: bytes, curve: ec.EllipticCurve) -> bytes:
    """CKM_ECDSA answers r and s side by side, as long as the order; X.509 wants a SEQUENCE (RFC 3279 2.2.3)."""
    octets = (curve.key_size + 7) // 8
    if len(raw) != 2 * octets:
        raise TokenError(f"ECDSA signature of {len(raw)} octets; wanted {2 * octets} on {curve.name}")
    return encode_dss_signature(int.from_bytes(raw[:octets]), int.from_bytes(raw[octets:]))
