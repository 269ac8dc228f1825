"""Kinds of keys, their names, and every way to be weak that is known here."""

import functools
import math
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa

from sealwright.errors import PolicyViolation
from sealwright.pki import weakness
from sealwright.pki.keys import (
    KeyKind,
    check_key_strength,
    check_not_compromised,
    describe_key,
    key_identifier,
    key_kind,
    spki_der,
    spki_sha256,
    throwaway_key,
)
from softpki import software_key
from weak_keys import close_primes_key, is_prime, roca_key, small_rsa_key


def refused(rule: str, check: Callable[[], object]) -> None:
    with pytest.raises(PolicyViolation) as refusal:
        check()
    assert refusal.value.rule == rule
    assert refusal.value.hint


@pytest.mark.parametrize("kind", KeyKind)
def test_knows_each_kind_and_finds_a_fresh_key_good(kind: KeyKind) -> None:
    public = software_key(kind).public_key()
    assert key_kind(public) is kind
    assert describe_key(public).lower().replace("-", "") == kind.value.replace("-", "")
    check_key_strength(public)


@pytest.mark.parametrize(
    ("public", "said"),
    [
        (small_rsa_key().public_key(), "RSA-2048"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "EC on secp256k1"),
        (ed448.Ed448PrivateKey.generate().public_key(), "Ed448"),
        (dsa.generate_private_key(2048).public_key(), "DSA"),
    ],
)
def test_refuses_another_kind_and_says_which(public: object, said: str) -> None:
    refused("CS-KEY-KIND", lambda: key_kind(public))
    assert said in describe_key(public)


def test_describes_anything() -> None:
    assert describe_key(None) == "NoneType"


def test_identifies_a_key_as_openssl_and_rfc_5280_do() -> None:
    public = software_key().public_key()
    assert len(key_identifier(public)) == 20
    assert len(spki_sha256(public)) == 64
    assert spki_der(public).startswith(b"\x30")


def test_makes_one_throwaway_key_of_a_kind() -> None:
    for kind in (KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.RSA_3072, KeyKind.RSA_4096, KeyKind.ED25519):
        assert key_kind(throwaway_key(kind).public_key()) is kind
        assert throwaway_key(kind) is throwaway_key(kind)


@pytest.mark.parametrize("exponent", [1, 3, 17, 65535, 65536, 65538, 2**256 + 1])
def test_refuses_an_exponent_that_is_small_even_or_huge(exponent: int) -> None:
    refused("CS-KEY-RSA-EXPONENT", lambda: weakness.check_rsa_exponent(exponent))


@pytest.mark.parametrize("exponent", [65537, 2**256 - 1])
def test_accepts_the_edges_of_the_exponent(exponent: int) -> None:
    weakness.check_rsa_exponent(exponent)


def test_refuses_exponent_3_in_a_real_key() -> None:
    refused("CS-KEY-RSA-EXPONENT", lambda: check_key_strength(rsa.RSAPublicNumbers(3, modulus()).public_key()))


@functools.cache
def modulus() -> int:
    public = software_key(KeyKind.RSA_3072).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    return public.public_numbers().n


def test_refuses_an_even_modulus() -> None:
    refused("CS-KEY-RSA-EVEN", lambda: weakness.check_rsa_modulus(modulus() - 1))


@pytest.mark.parametrize("factor", [3, 5, 167, 751])
def test_refuses_a_factor_below_752(factor: int) -> None:
    with pytest.raises(PolicyViolation, match=f"factor {factor};") as refusal:
        weakness.check_rsa_modulus(factor * modulus())
    assert refusal.value.rule == "CS-KEY-RSA-SMALL-FACTOR"


def test_looks_for_factors_below_752_only() -> None:
    weakness.check_rsa_modulus(757 * modulus())


def test_refuses_close_primes_and_a_square() -> None:
    refused("CS-KEY-RSA-FERMAT", lambda: check_key_strength(close_primes_key().public_key()))
    refused("CS-KEY-RSA-FERMAT", lambda: weakness.check_rsa_modulus(modulus() ** 2))


def test_refuses_the_roca_fingerprint() -> None:
    refused("CS-KEY-ROCA", lambda: check_key_strength(roca_key().public_key()))


def test_does_not_take_the_subgroups_alone_for_roca() -> None:
    # In every subgroup, but with exponents that do not agree: not what Infineon's library makes.
    primes = [n for n in range(3, 168) if is_prime(n)]
    residues = [pow(65537, index * index + 1, prime) for index, prime in enumerate(primes)]
    product = math.prod(primes)
    number = sum(r * (product // p) * pow(product // p, -1, p) for r, p in zip(residues, primes, strict=True)) % product
    weakness.check_roca(number)


def test_accepts_the_generator_s_powers_nowhere_else() -> None:
    refused("CS-KEY-ROCA", lambda: weakness.check_roca(pow(65537, 12345)))


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_knows_the_three_curves_by_its_own_arithmetic(curve: ec.EllipticCurve) -> None:
    point = ec.generate_private_key(curve).public_key().public_numbers()
    weakness.check_point(curve.name, point.x, point.y)
    refused("CS-KEY-EC-POINT", lambda: weakness.check_point(curve.name, point.x, point.y + 1))
    refused("CS-KEY-EC-POINT", lambda: weakness.check_point(curve.name, 0, 0))
    refused("CS-KEY-EC-POINT", lambda: weakness.check_point(curve.name, point.x, -point.y))


def test_refuses_a_point_on_no_curve_of_ours() -> None:
    refused("CS-KEY-EC-POINT", lambda: weakness.check_point("secp256k1", 1, 2))


def test_refuses_a_key_on_the_compromised_list() -> None:
    public = software_key().public_key()
    check_not_compromised(public, frozenset())
    refused("CS-KEY-COMPROMISED", lambda: check_not_compromised(public, frozenset({spki_sha256(public)})))
