"""Making a key pair on a token, with exactly the attributes of ``attributes``, and reading them back.

A key that is not as it was ordered is destroyed at once: nothing has used it yet, and nobody should find it later.
Which kinds a certificate may have is its profile's, when a key is made the ceremony's.
"""

from contextlib import suppress
from typing import Any, Final

import pkcs11
from asn1crypto import core
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PKCS11Error

from sealwright.errors import Conflict, InputError, KeyAttributeError
from sealwright.hsm.attributes import CAPABILITIES, PRIVATE_TEMPLATE, PUBLIC_TEMPLATE, check_private_attributes
from sealwright.hsm.keys import check_key_id, private_key
from sealwright.hsm.objects import find_objects, read_public_key
from sealwright.hsm.pool import Worker
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind, PrivateKey, PublicKey, describe_key, describe_kinds

_RSA_BITS: Final = {KeyKind.RSA_3072: 3072, KeyKind.RSA_4096: 4096}
_EC_PARAMETERS: Final = {
    KeyKind.P256: core.ObjectIdentifier("1.2.840.10045.3.1.7").dump(),
    KeyKind.P384: core.ObjectIdentifier("1.3.132.0.34").dump(),
    KeyKind.P521: core.ObjectIdentifier("1.3.132.0.35").dump(),
    KeyKind.ED25519: core.ObjectIdentifier("1.3.101.112").dump(),  # RFC 8410
}
_LONGEST_LABEL = 64


def generate_key(session: TokenSession, kind: KeyKind, *, key_id: bytes, label: str) -> PrivateKey:
    """A new key pair on the token, opened as ``keys.private_key`` opens it. ``label`` is for people only.

    Raises Conflict when an object with this CKA_ID is there already (nothing is made), KeyAttributeError when the
    token made something else than was ordered (it is destroyed again), TokenError. A generation is never repeated by
    itself: after a TokenError look for the CKA_ID before the next try.
    """
    check_key_id(key_id)
    if not 0 < len(label) <= _LONGEST_LABEL or not label.isprintable():
        raise InputError(f"label {label!r} of a key: wanted 1 to {_LONGEST_LABEL} printable characters")
    session.call_once(
        lambda worker: _generate(worker, session, kind, key_id, label),
        doing=f"generating a {kind} key with CKA_ID {key_id.hex()}",
    )
    return private_key(session, key_id)


def _generate(worker: Worker, session: TokenSession, kind: KeyKind, key_id: bytes, label: str) -> None:
    for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        if find_objects(worker.native, object_class, key_id):
            raise Conflict(
                f"token {session.serial} already holds a {object_class.name} with CKA_ID {key_id.hex()}",
                hint="choose a new id: keys are never overwritten",
            )
    public, private = _make_pair(worker.native, kind, key_id, label)
    subject = f"new key {key_id.hex()} on token {session.serial}"
    try:
        check_private_attributes(private, subject=subject)
        _check_kind(read_public_key(public, subject=subject), kind, subject)
    except KeyAttributeError as error:
        for half in (private, public):
            with suppress(PKCS11Error):
                half.destroy()
        error.hint = "the pair was destroyed again; this token cannot make keys that are safe for this PKI"
        raise


def _check_kind(made: PublicKey, kind: KeyKind, subject: str) -> None:
    if describe_key(made) != describe_kinds((kind,)):
        raise KeyAttributeError(f"{subject} is {describe_key(made)}; ordered was {describe_kinds((kind,))}")


def _make_pair(session: pkcs11.Session, kind: KeyKind, key_id: bytes, label: str) -> tuple[Any, Any]:
    ordered: dict[str, Any] = {
        "id": key_id,
        "label": label,
        "store": True,
        "capabilities": CAPABILITIES,  # the defaults would let it decrypt, unwrap and derive
        "public_template": PUBLIC_TEMPLATE,
        "private_template": PRIVATE_TEMPLATE,
    }
    if kind in _RSA_BITS:
        mechanism = Mechanism.RSA_PKCS_KEY_PAIR_GEN
        return session.generate_keypair(KeyType.RSA, _RSA_BITS[kind], mechanism=mechanism, **ordered)
    edwards = kind is KeyKind.ED25519
    mechanism = Mechanism.EC_EDWARDS_KEY_PAIR_GEN if edwards else Mechanism.EC_KEY_PAIR_GEN
    domain = session.create_domain_parameters(
        KeyType.EC_EDWARDS if edwards else KeyType.EC, {Attribute.EC_PARAMS: _EC_PARAMETERS[kind]}, local=True
    )
    return domain.generate_keypair(mechanism=mechanism, **ordered)
