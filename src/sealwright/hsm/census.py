"""What is on an open token: its private keys' CKA_IDs, which a ceremony looks at before it makes one, and everything
else that its user sees. Read-only. What is strange in it is for the ceremony room to say.
"""

from dataclasses import dataclass

import pkcs11
from pkcs11 import Attribute, ObjectClass

from sealwright.hsm.attributes import wrong_attributes
from sealwright.hsm.objects import find_objects
from sealwright.hsm.pool import Worker
from sealwright.hsm.session import TokenSession


def list_private_key_ids(session: TokenSession) -> tuple[bytes, ...]:
    """Sorted, one for each private key; a key without an id counts as the empty one. Raises TokenError."""
    return session.call(_read_ids, doing="listing its private keys")


def _read_ids(worker: Worker) -> tuple[bytes, ...]:
    # list(): a search that is not read to its end holds the session's lock.
    found: list[pkcs11.Object] = list(worker.native.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}))
    return tuple(sorted(bytes(key[Attribute.ID]) for key in found))


def count_objects(session: TokenSession) -> int:
    """How many objects of any class are on the token: none on a new one. Raises TokenError."""
    return session.call(lambda worker: len(list(worker.native.get_objects({}))), doing="counting its objects")


def count_halves(session: TokenSession, key_id: bytes) -> tuple[int, int]:
    """How many private and public keys have this CKA_ID: (1, 1) is a pair, (0, 0) none, all else is damage."""

    def count(worker: Worker) -> tuple[int, int]:
        private, public = (
            len(find_objects(worker.native, each, key_id)) for each in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY)
        )
        return private, public

    return session.call(count, doing=f"looking for key {key_id.hex()}")


@dataclass(frozen=True, slots=True)
class FoundObject:
    """One object as the token describes it; empty what it does not have. ``wrong``: of a private key, what is not as
    ``attributes`` wants it."""

    object_class: str
    key_id: bytes
    label: str
    key_type: str
    wrong: tuple[str, ...]


_CLASSES = (
    ObjectClass.PRIVATE_KEY,
    ObjectClass.PUBLIC_KEY,
    ObjectClass.SECRET_KEY,
    ObjectClass.CERTIFICATE,
    ObjectClass.DATA,
)


def list_objects(session: TokenSession) -> tuple[FoundObject, ...]:
    """Everything that the token's user sees, sorted: keys, certificates, data. Raises TokenError."""
    return session.call(_read_objects, doing="listing its objects")


def _read_objects(worker: Worker) -> tuple[FoundObject, ...]:
    found = []
    for each in _CLASSES:
        natives: list[pkcs11.Object] = list(worker.native.get_objects({Attribute.CLASS: each}))
        found += [_describe(native, each) for native in natives]
    return tuple(sorted(found, key=lambda one: (one.object_class, one.key_id, one.label)))


def _describe(native: pkcs11.Object, object_class: ObjectClass) -> FoundObject:
    """Attributes are asked for one class at a time: a certificate has no CKA_SIGN, and some modules fail on that."""
    is_key = object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY, ObjectClass.SECRET_KEY)
    asked = [Attribute.LABEL]
    if object_class is not ObjectClass.DATA:
        asked.append(Attribute.ID)
    if is_key:
        asked.append(Attribute.KEY_TYPE)
    read = native.get_attributes(asked)
    key_type = read.get(Attribute.KEY_TYPE)
    return FoundObject(
        object_class=object_class.name.lower().replace("_", "-"),
        key_id=bytes(read.get(Attribute.ID, b"")),
        label=str(read.get(Attribute.LABEL, "")),
        key_type=getattr(key_type, "name", str(key_type or "")).lower().replace("_", "-"),
        wrong=wrong_attributes(native) if object_class is ObjectClass.PRIVATE_KEY else (),  # type: ignore[arg-type]  # of its class
    )
