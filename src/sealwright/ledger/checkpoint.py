"""The checkpoint: size and root of the ledger, signed by its key, as a C2SP signed note.

Formats: c2sp.org/tlog-checkpoint (origin, size, root) in c2sp.org/signed-note (Ed25519, type 0x01). The key's name is
the origin. Other signatures (of witnesses) may stand beside the ledger's; they are ignored.
"""

import base64
import hashlib
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sealwright.errors import IntegrityError
from sealwright.ledger.tree import HASH_SIZE
from sealwright.statements.wire import decode_base64

NOTE_LIMIT: Final = 8192
_ED25519: Final = b"\x01"
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN = re.compile(r"[!-*,-~]+")  # no space and no plus, as a key name has to be


def key_id(origin: str, public: Ed25519PublicKey) -> bytes:
    """The four octets by which a signature names its key."""
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public.public_bytes_raw()).digest()[:4]


def verifier_key(origin: str, public: Ed25519PublicKey) -> str:
    """The key as other tools of the transparency world take it ("vkey")."""
    key = base64.b64encode(_ED25519 + public.public_bytes_raw()).decode()
    return f"{origin}+{key_id(origin, public).hex()}+{key}"


def sign_checkpoint(origin: str, size: int, root: bytes, key: Ed25519PrivateKey) -> str:
    """The signed note. Its signature is verified before it is returned."""
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(f"origin {origin!r} cannot name a key")
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    public = key.public_key()
    signature = base64.b64encode(key_id(origin, public) + key.sign(text.encode())).decode()
    note = f"{text}\n— {origin} {signature}\n"
    verify_checkpoint(note, origin, public)
    return note


def verify_checkpoint(note: str, origin: str, public: Ed25519PublicKey) -> tuple[int, bytes]:
    """Size and root. Raises ``IntegrityError`` unless the ledger's key signed this note for this origin."""
    if len(note) > NOTE_LIMIT or "\n\n" not in note or not note.endswith("\n"):
        raise IntegrityError("checkpoint is not a signed note")
    text, _, signatures = note.rpartition("\n\n")
    text += "\n"
    lines = text.split("\n")
    if len(lines) != 4 or lines[0] != origin:
        raise IntegrityError(
            f"checkpoint is of {lines[0][:100]!r}; wanted {origin!r}", hint="is this the ledger of another PKI?"
        )
    _check_signature(text, signatures, origin, public)
    root = _hash(lines[2])
    if not _SIZE.fullmatch(lines[1]) or root is None:
        raise IntegrityError("checkpoint has no size or root that can be read")
    return int(lines[1]), root


def _check_signature(text: str, signatures: str, origin: str, public: Ed25519PublicKey) -> None:
    ours = key_id(origin, public)
    for line in signatures.removesuffix("\n").split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        try:
            value = decode_base64(encoded)
        except ValueError:
            raise IntegrityError("checkpoint has a signature line that cannot be read") from None
        if dash != "—" or not name or len(value) < 5:
            raise IntegrityError("checkpoint has a signature line that cannot be read")
        if name == origin and value[:4] == ours:
            try:
                public.verify(value[4:], text.encode())
            except InvalidSignature:
                raise IntegrityError(
                    "checkpoint was forged or changed: the ledger key did not sign it",
                    hint="restore the ledger directory from a copy; nothing is signed meanwhile",
                ) from None
            return
    raise IntegrityError(
        "checkpoint is not signed by the ledger key", hint="is the ledger's token the one of this PKI?"
    )


def _hash(text: str) -> bytes | None:
    try:
        value = decode_base64(text)
    except ValueError:
        return None
    return value if len(value) == HASH_SIZE else None
