"""Opening a private key that lives on a token: found by CKA_ID, unambiguous, its attributes read back, proven.

Making one is ``generation``'s, using one ``private_keys``'s.
"""

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pkcs11 import ObjectClass

from sealwright.errors import InputError
from sealwright.hsm.objects import find_one, read_public_key
from sealwright.hsm.pool import Worker
from sealwright.hsm.private_keys import TokenECPrivateKey, TokenEd25519PrivateKey, TokenRSAPrivateKey
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token_key import TokenKey
from sealwright.pki.keys import PrivateKey, PublicKey

LONGEST_KEY_ID = 64


def private_key(session: TokenSession, key_id: bytes) -> PrivateKey:
    """The key as a pyca private key that signs on its token; usable until ``session`` is closed, from any thread.

    Raises TokenNotFound (no such key, or half of one), TokenError (two with this id, halves that do not belong
    together, token failed), KeyAttributeError (it could have left the token, or may do more than sign).
    """
    check_key_id(key_id)
    # The private half first: of a lone public key it is the missing private one that people should hear of.
    public = session.call(lambda worker: _read_halves(worker, session, key_id), doing=f"opening key {key_id.hex()}")
    key = TokenKey(session, key_id, public)
    key.check()
    match public:
        case rsa.RSAPublicKey():
            return TokenRSAPrivateKey(key)
        case ec.EllipticCurvePublicKey():
            return TokenECPrivateKey(key)
        case _:
            return TokenEd25519PrivateKey(key)


def check_key_id(key_id: bytes) -> None:
    """An empty CKA_ID would match any object that has none."""
    if not 0 < len(key_id) <= LONGEST_KEY_ID:
        raise InputError(f"CKA_ID has {len(key_id)} octets; wanted 1 to {LONGEST_KEY_ID}, and 16 random ones by habit")


def _read_halves(worker: Worker, session: TokenSession, key_id: bytes) -> PublicKey:
    find_one(worker.native, ObjectClass.PRIVATE_KEY, key_id, token=session.serial)
    public = find_one(worker.native, ObjectClass.PUBLIC_KEY, key_id, token=session.serial)
    return read_public_key(public, subject=f"key {key_id.hex()} on token {session.serial}")
