"""The census of tokens: what is there is told, what is strange is said, and nothing is changed."""

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, ObjectClass

from sealwright.ceremony.inventory import Census, CountedToken, take_census
from sealwright.errors import TokenNotFound, WrongPin
from sealwright.hsm.generation import generate_key
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind
from softhsm import TokenFactory

pytestmark = pytest.mark.xdist_group("ceremony")

AT = datetime(2026, 12, 1, 9, tzinfo=UTC)
KEY = bytes(range(16))


def census(softhsm: TokenFactory, serial: str, pin: Pin | None) -> CountedToken:
    opened = {serial: lambda: pin} if pin is not None else {}
    made = take_census(softhsm.module_path, opened, AT)
    return next(each for each in made.tokens if each.token.serial == serial)


def octets(folder: Path) -> dict[str, str]:
    """All but ``token.object``, in which SoftHSM itself counts logins."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "token.object")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_token_is_described_without_its_pin_and_listed_with_it(softhsm: TokenFactory) -> None:
    serial, pin = softhsm.new_token("inventory")
    closed = census(softhsm, serial, None)
    assert (closed.token.label, closed.objects, closed.findings) == ("inventory", None, ())
    assert closed.to_json()["user_pin"] == "set"
    with TokenSession.open(softhsm.module, serial, pin) as session:
        generate_key(session, KeyKind.P256, key_id=KEY, label="root")
    before = octets(softhsm.token_directory(serial))
    opened = census(softhsm, serial, pin)
    assert opened.findings == ()
    assert [(one.object_class, one.key_id, one.label, one.key_type) for one in opened.objects or ()] == [
        ("private-key", KEY, "root", "ec"),
        ("public-key", KEY, "root", "ec"),
    ]
    assert octets(softhsm.token_directory(serial)) == before


def test_one_census_has_one_digest(softhsm: TokenFactory) -> None:
    softhsm.new_token("digest")
    made = take_census(softhsm.module_path, {}, AT)
    assert made.to_bytes() == Census(AT, softhsm.module_path, made.tokens).to_bytes()
    assert [each.token.serial for each in made.tokens] == sorted(each.token.serial for each in made.tokens)


def test_what_must_not_be_used_is_said_by_name(softhsm: TokenFactory) -> None:
    serial, pin = softhsm.new_token("strange")
    weak, twice, half = b"w" * 16, b"t" * 16, b"h" * 16
    with TokenSession.open(softhsm.module, serial, pin) as session:

        def spoil(worker: object) -> None:
            native = worker.native  # type: ignore[attr-defined]  # hsm.pool.Worker
            make(native, weak, extractable=True)
            make(native, twice)
            make(native, twice)
            public, _ = make(native, half)
            public.destroy()
            native.generate_key(KeyType.AES, 256, store=True, label="wrapping")

        session.call_once(spoil, doing="spoiling the token")
    said = census(softhsm, serial, pin).findings
    assert f"2 private keys have the CKA_ID {twice.hex()}: ambiguous, and never used" in said
    assert f"half a key pair: {half.hex()} has its private half and no public one" in said
    assert any(line.startswith(f"the private key {weak.hex()} must not be used: CKA_") for line in said)
    assert any("CKA_EXTRACTABLE is True" in line for line in said)
    assert any("a secret key 'wrapping'" in line for line in said)


def make(native: pkcs11.Session, key_id: bytes, *, extractable: bool = False) -> tuple[pkcs11.Object, pkcs11.Object]:
    from asn1crypto import core

    curve = core.ObjectIdentifier("1.2.840.10045.3.1.7").dump()
    parameters = native.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
    private = {
        Attribute.SENSITIVE: not extractable,
        Attribute.EXTRACTABLE: extractable,
        Attribute.MODIFIABLE: False,
        Attribute.PRIVATE: True,
    }
    public, secret = parameters.generate_keypair(
        store=True,
        id=key_id,
        label="same label",
        capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        private_template=private,
    )
    assert public.object_class is ObjectClass.PUBLIC_KEY
    return public, secret


def test_no_pin_is_used_when_a_token_is_not_there(softhsm: TokenFactory) -> None:
    asked: list[str] = []

    def pin() -> Pin:
        asked.append("asked")
        return Pin("0000")

    serial, _ = softhsm.new_token("present")
    with pytest.raises(TokenNotFound, match="no token with serial number absent"):
        take_census(softhsm.module_path, {serial: pin, "absent": pin}, AT)
    assert asked == []


def test_a_wrong_pin_ends_it(softhsm: TokenFactory) -> None:
    serial, _ = softhsm.new_token("wrong")
    with pytest.raises(WrongPin, match="refused the PIN"):
        census(softhsm, serial, Pin(os.urandom(6).hex()))
