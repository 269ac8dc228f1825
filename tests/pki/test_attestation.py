"""Attestations: for every rule one chain that passes it and one that it refuses."""

from datetime import UTC, datetime

import pytest

from sealwright.errors import PolicyViolation
from sealwright.pki.attestation import check_attestation
from yubikey import Maker, certify, der, new_key

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MAKER, KEY = Maker(), new_key()
LEAF, TOKEN, ROOT = MAKER.attest(KEY.public_key())


def refused(rule: str, *chain: bytes, roots: tuple[str, ...] = (MAKER.root_sha256,)) -> None:
    with pytest.raises(PolicyViolation) as caught:
        check_attestation(chain, KEY.public_key(), roots=roots, now=NOW)
    assert caught.value.rule == rule, caught.value


def test_reads_what_the_token_says() -> None:
    found = check_attestation((LEAF, TOKEN, ROOT), KEY.public_key(), roots=(MAKER.root_sha256,), now=NOW)
    assert str(found) == "YubiKey 12345678, firmware 5.4.3, PIN once, touch never"


def test_takes_a_longer_chain_of_authorities() -> None:
    middle = new_key()
    above = certify("Middle", middle.public_key(), "Yubico PIV Root CA", MAKER.root_key, ca=True)
    token = certify("Yubico PIV Attestation", MAKER.token_key.public_key(), "Middle", middle, ca=True)
    chain = (LEAF, der(token), der(above), ROOT)
    check_attestation(chain, KEY.public_key(), roots=("0" * 64, MAKER.root_sha256), now=NOW)


def test_attest_root() -> None:
    refused("ATTEST-ROOT", LEAF, TOKEN, ROOT, roots=())
    refused("ATTEST-ROOT", LEAF, TOKEN, ROOT, roots=("0" * 64,))
    refused("ATTEST-ROOT", LEAF, TOKEN)
    refused("ATTEST-ROOT", *Maker().attest(KEY.public_key()))


def test_attest_key() -> None:
    refused("ATTEST-KEY", *MAKER.attest(new_key().public_key()))


def test_attest_pin() -> None:
    refused("ATTEST-PIN", *MAKER.attest(KEY.public_key(), policies=b"\x01\x02"))
    chain = MAKER.attest(KEY.public_key(), policies=b"\x03\x03")
    found = check_attestation(chain, KEY.public_key(), roots=(MAKER.root_sha256,), now=NOW)
    assert (found.pin_policy, found.touch_policy) == ("always", "cached")


@pytest.mark.parametrize(
    "chain",
    [
        (),
        (ROOT,),
        (b"\x30\x00", TOKEN, ROOT),
        (LEAF, ROOT),
        (TOKEN, LEAF, ROOT),
        (LEAF, *[TOKEN] * 6, ROOT),
        MAKER.attest(KEY.public_key(), until=2025),
        MAKER.attest(KEY.public_key(), extensions=()),
        MAKER.attest(KEY.public_key(), firmware=b"\x05"),
        MAKER.attest(KEY.public_key(), policies=b"\x09\x01"),
    ],
    ids=["none", "root", "no DER", "gap", "order", "long", "expired", "says nothing", "firmware", "policy"],
)
def test_attest_chain(chain: tuple[bytes, ...]) -> None:
    refused("ATTEST-CHAIN", *chain)


def test_a_key_that_is_attested_attests_no_other() -> None:
    """Whoever has a real token signs a certificate with its slot key: the name is right, the CA flag is not."""
    slot = new_key()
    attested = MAKER.leaf(slot.public_key())
    extensions = (("3", b"\x05\x04\x03"), ("8", b"\x02\x01"))
    forged = certify("x", KEY.public_key(), "YubiKey PIV Attestation 9c", slot, ca=False, extensions=extensions)
    refused("ATTEST-CHAIN", der(forged), der(attested), TOKEN, ROOT)


def test_a_forged_signature_is_none() -> None:
    other = Maker()
    forged = der(other.leaf(KEY.public_key()))
    refused("ATTEST-CHAIN", forged, TOKEN, ROOT)
