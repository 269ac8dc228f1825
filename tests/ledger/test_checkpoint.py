"""Checkpoints are C2SP signed notes: published keys give their published ids, and every change is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sealwright.errors import IntegrityError
from sealwright.ledger.checkpoint import key_id, sign_checkpoint, verifier_key, verify_checkpoint

ORIGIN = "sealwright/" + "ab" * 32
KEY = Ed25519PrivateKey.generate()
ROOT = bytes(range(32))
NOTE = sign_checkpoint(ORIGIN, 42, ROOT, KEY)


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # golang.org/x/mod/sumdb/note, example
        "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",  # the Go checksum database
    ],
)
def test_key_ids_are_those_of_published_keys(vkey: str) -> None:
    name, identifier, encoded = vkey.split("+", 2)
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])
    assert key_id(name, public).hex() == identifier
    assert verifier_key(name, public) == vkey


def test_a_checkpoint_is_origin_size_and_root() -> None:
    assert NOTE.startswith(f"{ORIGIN}\n42\n{base64.b64encode(ROOT).decode()}\n\n— {ORIGIN} ")
    assert verify_checkpoint(NOTE, ORIGIN, KEY.public_key()) == (42, ROOT)


def test_signatures_of_witnesses_may_stand_beside_the_ledgers() -> None:
    witness = "— witness.example/w " + base64.b64encode(bytes(68)).decode() + "\n"
    text, signature = NOTE.split("\n\n")
    assert verify_checkpoint(f"{text}\n\n{witness}{signature}", ORIGIN, KEY.public_key()) == (42, ROOT)
    assert verify_checkpoint(NOTE + witness, ORIGIN, KEY.public_key()) == (42, ROOT)
    with pytest.raises(IntegrityError, match="not signed by the ledger key"):
        verify_checkpoint(f"{text}\n\n{witness}", ORIGIN, KEY.public_key())


def test_refuses_any_character_changed() -> None:
    for place, character in enumerate(NOTE):
        for other in {"A", "1", "\n", " "} - {character}:
            changed = NOTE[:place] + other + NOTE[place + 1 :]
            with pytest.raises(IntegrityError):
                verify_checkpoint(changed, ORIGIN, KEY.public_key())


def test_a_signature_has_one_spelling() -> None:
    """The last character's unused bits: of 68 octets there are two."""
    signature = NOTE.rstrip("\n").rpartition(" ")[2]
    assert signature.endswith("=")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet.index(signature[-2])
    for bits in (1, 2, 3):
        changed = NOTE.replace(signature, f"{signature[:-2]}{alphabet[last + bits]}=")
        with pytest.raises(IntegrityError, match="cannot be read"):
            verify_checkpoint(changed, ORIGIN, KEY.public_key())


def test_refuses_another_origin_and_another_key() -> None:
    with pytest.raises(IntegrityError, match="checkpoint is of"):
        verify_checkpoint(NOTE, "sealwright/" + "cd" * 32, KEY.public_key())
    with pytest.raises(IntegrityError, match="not signed by the ledger key"):
        verify_checkpoint(NOTE, ORIGIN, Ed25519PrivateKey.generate().public_key())


@pytest.mark.parametrize(
    ("size", "root"), [("-1", ROOT), ("042", ROOT), ("4.2", ROOT), ("", ROOT), ("42", ROOT[:-1]), ("9" * 30, ROOT)]
)
def test_refuses_a_signed_note_that_is_no_checkpoint(size: str, root: bytes) -> None:
    text = f"{ORIGIN}\n{size}\n{base64.b64encode(root).decode()}\n"
    signature = base64.b64encode(key_id(ORIGIN, KEY.public_key()) + KEY.sign(text.encode())).decode()
    with pytest.raises(IntegrityError, match="size or root"):
        verify_checkpoint(f"{text}\n— {ORIGIN} {signature}\n", ORIGIN, KEY.public_key())


@pytest.mark.parametrize(
    "note",
    ["", "\n\n", "x", ORIGIN, NOTE[:-1], NOTE * 100, NOTE.replace("—", "-")],
    ids=[
        "empty",
        "blank",
        "a letter",
        "an origin",
        "cut",
        "many",
        "another dash",
    ],
)
def test_refuses_what_is_no_note(note: str) -> None:
    with pytest.raises(IntegrityError):
        verify_checkpoint(note, ORIGIN, KEY.public_key())


def test_an_origin_that_cannot_name_a_key_is_an_error() -> None:
    for origin in ("", "two words", "plus+sign", "line\nbreak"):
        with pytest.raises(ValueError, match="cannot name"):
            sign_checkpoint(origin, 0, ROOT, KEY)
