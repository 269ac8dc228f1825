"""Finding the two halves of a key on its token: by class and CKA_ID, exactly one of each.

Labels are for people, and tokens allow two objects with one label or one CKA_ID; ``get_key(label=...)`` would return
the public half as gladly as the private. A search is always read to its end: one that is not holds the session's lock.
"""

from typing import Any

import pkcs11
from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType, ObjectClass

from sealwright.errors import KeyAttributeError, TokenError, TokenNotFound
from sealwright.pki.keys import PublicKey

_CLASS_NAMES = {ObjectClass.PRIVATE_KEY: "private key", ObjectClass.PUBLIC_KEY: "public key"}
_ED25519_OCTETS = 32


def find_objects(session: pkcs11.Session, object_class: ObjectClass, key_id: bytes) -> list[Any]:
    """Every object of this class with this CKA_ID."""
    return list(session.get_objects({Attribute.CLASS: object_class, Attribute.ID: key_id}))


def find_one(session: pkcs11.Session, object_class: ObjectClass, key_id: bytes, *, token: str) -> Any:
    """The one object. Raises TokenNotFound (none) or TokenError (several)."""
    found = find_objects(session, object_class, key_id)
    name = _CLASS_NAMES[object_class]
    if not found:
        raise TokenNotFound(
            f"token {token} has no {name} with CKA_ID {key_id.hex()}",
            hint="is this the token on which the key was made, and is the key's id the recorded one?",
        )
    if len(found) > 1:
        raise TokenError(
            f"token {token} has {len(found)} objects of class {name} with CKA_ID {key_id.hex()}; wanted one",
            hint="an ambiguous key is never used: find out who made the other one, and remove the wrong one",
        )
    return found[0]


def read_public_key(public: pkcs11.PublicKey, *, subject: str) -> PublicKey:
    """The token's public-key object as a pyca key. Whether it belongs to the private half is ``keys``'s to prove."""
    key_type = public.key_type
    try:
        if key_type is KeyType.RSA:
            return rsa.RSAPublicNumbers(
                e=int.from_bytes(public[Attribute.PUBLIC_EXPONENT]), n=int.from_bytes(public[Attribute.MODULUS])
            ).public_key()
        if key_type is KeyType.EC:
            return _read_ec(public[Attribute.EC_PARAMS], public[Attribute.EC_POINT])
        if key_type is KeyType.EC_EDWARDS:
            return ed25519.Ed25519PublicKey.from_public_bytes(_unwrap(public[Attribute.EC_POINT], _ED25519_OCTETS))
    except (ValueError, TypeError, LookupError) as error:
        raise KeyAttributeError(f"{subject}: its public half cannot be read: {error}") from error
    raise KeyAttributeError(f"{subject}: key type {key_type!r} is not RSA, EC or Ed25519")


def _read_ec(parameters: bytes, point: bytes) -> ec.EllipticCurvePublicKey:
    oid = core.ObjectIdentifier.load(parameters, strict=True).dotted
    curve = ec.get_curve_for_oid(x509.ObjectIdentifier(oid))()
    octets = 1 + 2 * ((curve.key_size + 7) // 8)
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, _unwrap(point, octets))


def _unwrap(point: bytes, octets: int) -> bytes:
    """CKA_EC_POINT is an OCTET STRING on SoftHSM and raw on others; the length tells which (PKCS#11 3.0 2.3.3)."""
    if len(point) == octets:
        return point
    inner: bytes = core.OctetString.load(point, strict=True).native
    if len(inner) != octets:
        raise ValueError(f"EC point of {len(inner)} octets, wanted {octets}")
    return inner
