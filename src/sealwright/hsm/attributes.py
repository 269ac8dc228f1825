"""What a key on a token must be: the attributes it is made with, and the same ones read back.

A fixed white list, because an attribute that python-pkcs11 cannot pack raises and can then crash the process. By itself
the library would let RSA keys decrypt and unwrap and EC keys derive. Its ``get_attributes`` silently leaves out what a
token does not have, so absent is a failure here, never a pass.
"""

from typing import Final

import pkcs11
from pkcs11 import Attribute, MechanismFlag

from sealwright.errors import KeyAttributeError

CAPABILITIES: Final = MechanismFlag.SIGN | MechanismFlag.VERIFY

PRIVATE_TEMPLATE: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
}
PUBLIC_TEMPLATE: Final = {
    Attribute.PRIVATE: False,
    Attribute.MODIFIABLE: False,
}
"""Not secret, and still not to be exchanged for another."""

WANTED: Final = {
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.ALWAYS_SENSITIVE: True,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.LOCAL: True,
    Attribute.SIGN: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
"""Of a private key, present and so. LOCAL: made on this token; ALWAYS_ and NEVER_: since it was made."""


def check_private_attributes(key: pkcs11.PrivateKey, *, subject: str) -> None:
    """KeyAttributeError that names every attribute which is absent or not as wanted."""
    if wrong := wrong_attributes(key):
        raise KeyAttributeError(
            f"{subject}: {'; '.join(wrong)}",
            hint="such a key may have left the token, or do more than sign: never use it, make a new one on the token",
        )


def wrong_attributes(key: pkcs11.PrivateKey) -> tuple[str, ...]:
    """Every attribute which is absent or not as wanted, said as a person is told."""
    present = key.get_attributes(list(WANTED))
    return tuple(
        f"CKA_{attribute.name} is {present.get(attribute, 'absent')}, wanted {wanted}"
        for attribute, wanted in WANTED.items()
        if present.get(attribute) is not wanted
    )
