"""Destroying a key on its token: ``C_DestroyObject`` of both halves, the private one first.

It may be cut off between the two, and called again. Erasing a token whole is its maker's, or ``softhsm``'s.
"""

from typing import Final

from pkcs11 import ObjectClass
from pkcs11.exceptions import PKCS11Error

from sealwright.hsm.cryptoki import error_name
from sealwright.hsm.keys import check_key_id
from sealwright.hsm.objects import find_objects
from sealwright.hsm.pool import Worker
from sealwright.hsm.session import TokenSession

_PROHIBITED: Final = frozenset({"CKR_ACTION_PROHIBITED", "CKR_FUNCTION_NOT_SUPPORTED", "CKR_ATTRIBUTE_READ_ONLY"})
"""PKCS#11 2.40 4.4: of an object whose CKA_DESTROYABLE is false. Older modules say the others."""


def destroy_key(session: TokenSession, key_id: bytes) -> bool:
    """Every object with this CKA_ID in either class. False when the token destroys no single key. Raises TokenError."""
    check_key_id(key_id)
    return session.call_once(lambda worker: _destroy(worker, key_id), doing=f"destroying the key {key_id.hex()}")


def _destroy(worker: Worker, key_id: bytes) -> bool:
    for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        for found in find_objects(worker.native, object_class, key_id):
            try:
                found.destroy()
            except PKCS11Error as error:
                if error_name(error) in _PROHIBITED:
                    return False
                raise
    return True
