"""The wrong token, PIN or key: a ceremony stops, nothing is signed, and a person is told what to do."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from asn1crypto import core
from cryptography import x509
from pkcs11 import Attribute, KeyType

from ceremonies import Cast, Domain, read_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse
from sealwright.errors import (
    KeyAttributeError,
    NotReady,
    PolicyViolation,
    SealwrightError,
    TokenError,
    TokenNotFound,
    WrongPin,
)
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from softhsm import TokenFactory

pytestmark = pytest.mark.xdist_group("ceremony")

P384 = core.ObjectIdentifier("1.3.132.0.34").dump()


@pytest.fixture
def crl(domain: Domain, tmp_path: Path) -> Path:
    folder = tmp_path / "crl"
    records = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ISSUING_CA)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now())
    return folder


def stopped(folder: Path, error: type[SealwrightError], said: str, step: str) -> SealwrightError:
    """It stops at this step with these words, and nothing was signed."""
    with pytest.raises(error, match=said) as raised:
        rehearse(folder, people=Cast(), record=folder / "record")
    entries = read_entries(folder / "record")
    action = [entry["action"] for entry in entries if entry["entry"] == "step"][-1]
    assert (entries[-1]["entry"], action) == ("stopped", step)
    assert not any(str(entry.get("operation", "")).startswith("sign") for entry in entries)
    assert list((folder / "record/quarantine").iterdir()) == []
    with pytest.raises(NotReady, match="stopped at step"):  # what came before it comes out again
        verify_folder(folder / "record")
    assert raised.value.hint
    return raised.value


def another_token(folder: Path, softhsm: TokenFactory, fill: Callable[[Any], None] | None = None) -> tuple[str, Pin]:
    """A second token with the root's label, and site.toml saying that it is the root's."""
    serial, pin = softhsm.new_token("REHEARSAL root")
    if fill is not None:
        with TokenSession.open(softhsm.module, serial, pin) as session:
            session.call_once(lambda worker: fill(worker.native), doing="filling it")
    path = softhsm.pin_file(folder, pin)
    text = (folder / "site.toml").read_text()
    text = re.sub(r'\[tokens.root\]\npin_file = ".*"', f'[tokens.root]\nserial = "{serial}"\npin_file = "{path}"', text)
    (folder / "site.toml").write_text(text)
    return serial, pin


@pytest.fixture(autouse=True)
def tidy(softhsm: TokenFactory, domain: Domain) -> Any:
    """A second token with the root's label is in nobody's way afterwards."""
    before = set(softhsm.tokens.iterdir())
    yield
    for path in set(softhsm.tokens.iterdir()) - before:
        shutil.rmtree(path)
    softhsm.module.reinitialise(softhsm.module.generation)


def make_key(native: Any, key_id: bytes, *, extractable: bool = False) -> Any:
    parameters = native.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P384}, local=True)
    return parameters.generate_keypair(
        store=True,
        id=key_id,
        label="REHEARSAL root",
        capabilities=pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        private_template={
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: extractable,
            Attribute.MODIFIABLE: False,
        },
    )


def root_key_id(domain: Domain) -> bytes:
    return bytes.fromhex(parse_register(domain.records[Kind.ROOT_GENESIS].read("register.json")).root.key_id)


def test_a_wrong_pin_is_tried_once(crl: Path, tmp_path: Path, softhsm: TokenFactory, domain: Domain) -> None:
    path = softhsm.pin_file(tmp_path, Pin("not-the-pin"), "wrong")
    (crl / "site.toml").write_text((crl / "site.toml").read_text().replace(str(domain.pin_file("root")), str(path)))
    error = stopped(crl, WrongPin, "refused the PIN", "open-token")
    assert "tried once and not again" in error.hint


def test_two_tokens_with_the_root_s_label_are_not_guessed_between(crl: Path, softhsm: TokenFactory) -> None:
    softhsm.new_token("REHEARSAL root")
    with pytest.raises(TokenError, match="2 tokens labelled 'REHEARSAL root'; wanted one"):
        rehearse(crl, people=Cast(), record=crl / "record")
    assert not (crl / "record").exists()


def test_a_token_that_is_not_plugged_in_is_named_with_those_that_are(crl: Path, softhsm: TokenFactory) -> None:
    serial, _ = another_token(crl, softhsm)
    shutil.rmtree(softhsm.token_directory(serial))
    softhsm.module.reinitialise(softhsm.module.generation)
    with pytest.raises(TokenNotFound, match=f"'REHEARSAL root' with serial {serial}"):
        rehearse(crl, people=Cast(), record=crl / "record")


def test_an_empty_token_with_the_same_label_is_not_the_root_s(crl: Path, softhsm: TokenFactory) -> None:
    another_token(crl, softhsm)
    error = stopped(crl, PolicyViolation, "holds 0 private keys; wanted 1", "open-token")
    assert "is this the token on which the key was made?" in error.hint


def test_a_token_with_another_key_under_the_same_label_and_id(crl: Path, softhsm: TokenFactory, domain: Domain) -> None:
    another_token(crl, softhsm, lambda native: make_key(native, root_key_id(domain)))
    error = stopped(crl, TokenError, "is not the key of root.pem", "find-key")
    assert "another token, or another root" in error.hint


def test_a_key_with_the_right_label_and_another_id(crl: Path, softhsm: TokenFactory) -> None:
    another_token(crl, softhsm, lambda native: make_key(native, b"another id here!"))
    error = stopped(crl, TokenNotFound, "has no private key with CKA_ID", "find-key")
    assert "is this the token on which the key was made" in error.hint


def test_a_key_with_the_right_label_and_wrong_attributes(crl: Path, softhsm: TokenFactory, domain: Domain) -> None:
    another_token(crl, softhsm, lambda native: make_key(native, root_key_id(domain), extractable=True))
    error = stopped(crl, KeyAttributeError, "CKA_EXTRACTABLE is True, wanted False", "find-key")
    assert "never use it" in error.hint


def test_two_keys_with_one_id(crl: Path, softhsm: TokenFactory, domain: Domain) -> None:
    def twice(native: Any) -> None:
        make_key(native, root_key_id(domain))
        make_key(native, root_key_id(domain))

    another_token(crl, softhsm, twice)
    error = stopped(crl, PolicyViolation, "holds 2 private keys; wanted 1", "open-token")
    assert "a token has one key in its life" in error.hint


def test_one_private_key_and_two_public_ones_with_its_id(crl: Path, softhsm: TokenFactory, domain: Domain) -> None:
    def doubled(native: Any) -> None:
        make_key(native, root_key_id(domain))
        _, spare = make_key(native, root_key_id(domain))
        spare.destroy()

    another_token(crl, softhsm, doubled)
    error = stopped(crl, TokenError, "has 2 objects of class public key", "find-key")
    assert "an ambiguous key is never used" in error.hint


def test_a_token_that_is_exchanged_between_reading_its_serial_and_the_login(
    crl: Path, softhsm: TokenFactory, domain: Domain
) -> None:
    """The serial number that was read aloud is the one that is logged in to: another token is not."""
    real = parse_register(domain.records[Kind.ROOT_GENESIS].read("register.json")).root.token_serial
    place, away = softhsm.token_directory(real), crl / "away"

    class Hand(Cast):
        def ask(self, question: Any) -> str:
            if "open the root" in question.prompt and place.exists():
                softhsm.new_token("REHEARSAL root")
                place.rename(away)
                softhsm.module.reinitialise(softhsm.module.generation)
            return super().ask(question)

    try:
        with pytest.raises(TokenNotFound, match=f"no token with serial number {real}; found: ") as raised:
            rehearse(crl, people=Hand(), record=crl / "record")
        assert "plug it in" in raised.value.hint
    finally:
        away.rename(place)
        softhsm.module.reinitialise(softhsm.module.generation)
    assert x509.load_pem_x509_certificate((crl / "inputs/root.pem").read_bytes())
