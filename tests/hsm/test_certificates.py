"""A certificate beside its key: stored for the right key only, replaced at renewal, read by another program."""

import secrets
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import KeyAttributeError, TokenNotFound
from sealwright.hsm.certificates import store_certificate
from sealwright.hsm.generation import generate_key
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind
from softhsm import TokenFactory
from softpki import soft_pki


def read_by_opensc(softhsm: TokenFactory, session: TokenSession, key_id: bytes) -> bytes:
    command = ("pkcs11-tool", "--module", str(softhsm.module_path), "--token-label", session.label, "--read-object")
    return subprocess.run([*command, "--type", "cert", "--id", key_id.hex()], capture_output=True, check=True).stdout


def test_is_found_by_another_program_and_replaced_when_it_was_renewed(softhsm: TokenFactory) -> None:
    key_id = secrets.token_bytes(16)
    with softhsm.open_token(f"cert {key_id.hex()[:8]}") as session:
        key = generate_key(session, KeyKind.P256, key_id=key_id, label="signing")
        for _ in range(2):
            certificate = soft_pki().issue(key)
            store_certificate(session, certificate, key_id=key_id, label="signing")
            assert read_by_opensc(softhsm, session, key_id) == certificate.public_bytes(Encoding.DER)


def test_refuses_the_certificate_of_another_key(softhsm: TokenFactory) -> None:
    key_id, other_id = secrets.token_bytes(16), secrets.token_bytes(16)
    with softhsm.open_token("other cert") as session:
        generate_key(session, KeyKind.P256, key_id=key_id, label="signing")
        other: x509.Certificate = soft_pki().issue(
            generate_key(session, KeyKind.P256, key_id=other_id, label="another")
        )
        with pytest.raises(KeyAttributeError, match="is not the key of this certificate"):
            store_certificate(session, other, key_id=key_id, label="signing")
        with pytest.raises(TokenNotFound):
            store_certificate(session, other, key_id=b"nothing", label="signing")
