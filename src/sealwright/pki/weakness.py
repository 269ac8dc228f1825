"""Keys that are of an allowed kind and still worth nothing: one check per known way to make a bad key.

Every check takes plain numbers and raises. Debian's predictable keys, and any other key that somebody knows, are
refused by the compromised-key list (``check_not_compromised``), which the caller keeps: this module has no data.
"""

import functools
import hashlib
import math
from collections.abc import Container
from itertools import combinations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from sealwright.errors import PolicyViolation

_NEW_KEY = "this key cannot be repaired: make a new one, on the token or with a current OpenSSL"
_USUAL_EXPONENT = 65537
_FERMAT_ROUNDS = 100  # CSBR 6.1.6 refers to TLS BR 6.1.1.3: a hundred rounds of Fermat's method


def check_key_strength(public: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey) -> None:
    """Raise PolicyViolation CS-KEY-... when the key is known to be weak (CSBR 6.1.6). Its kind is not judged here."""
    match public:
        case RSAPublicKey():
            numbers = public.public_numbers()
            check_rsa_exponent(numbers.e)
            check_rsa_modulus(numbers.n)
            check_roca(numbers.n)
        case EllipticCurvePublicKey():
            point = public.public_numbers()
            check_point(point.curve.name, point.x, point.y)
        case _:
            pass  # Ed25519: every 32 octets that pyca loads are a usable key (RFC 8032 5.1.7)


def check_not_compromised(
    public: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey, compromised: Container[str]
) -> None:
    """Raise CS-KEY-COMPROMISED when the key's ``secret_sha256`` is on the list (CSBR 4.9.1.1)."""
    digest = secret_sha256(public)
    if digest in compromised:
        raise PolicyViolation(
            f"key {digest} is on the list of compromised keys; it is never certified again",
            rule="CS-KEY-COMPROMISED",
            hint=_NEW_KEY,
        )


def secret_sha256(public: RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey) -> str:
    """How the secret behind a key is named wherever keys are compared: whoever can sign for one can sign for the other.

    Lower-case hex SHA-256 of the SubjectPublicKeyInfo; of an RSA key, as if its exponent were 65537. The secret is the
    factors of the modulus: who has them makes a private key for every exponent, and each has other octets.
    """
    if isinstance(public, RSAPublicKey) and (numbers := public.public_numbers()).e != _USUAL_EXPONENT:
        public = RSAPublicNumbers(_USUAL_EXPONENT, numbers.n).public_key()
    spki = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def check_rsa_exponent(e: int) -> None:
    """NIST SP 800-89 5.3.3, CSBR 6.1.6: odd, from 2^16+1 to 2^256-1."""
    if e % 2 == 0 or not 2**16 + 1 <= e < 2**256:
        raise PolicyViolation(
            f"RSA exponent is {e if e < 2**64 else f'a number of {e.bit_length()} bits'}; "
            "wanted an odd one from 65537 to 2^256-1",
            rule="CS-KEY-RSA-EXPONENT",
            hint=_NEW_KEY,
        )


def check_rsa_modulus(n: int) -> None:
    """Odd, no factor below 752, no power, not the product of two primes that stand close together."""
    if n % 2 == 0:
        raise PolicyViolation("RSA modulus is even", rule="CS-KEY-RSA-EVEN", hint=_NEW_KEY)
    common = math.gcd(n, _small_primorial())
    if common != 1:
        factor = next(p for p in _primes_below(752) if common % p == 0)
        raise PolicyViolation(
            f"RSA modulus has the factor {factor}; wanted none below 752",
            rule="CS-KEY-RSA-SMALL-FACTOR",
            hint=_NEW_KEY,
        )
    # Fermat: n = a^2 - b^2 with a just above sqrt(n) whenever the primes are close (CVE-2022-26320). A square is b = 0.
    a = math.isqrt(n - 1) + 1
    for _ in range(_FERMAT_ROUNDS):
        remainder = a * a - n
        if math.isqrt(remainder) ** 2 == remainder:
            raise PolicyViolation(
                "RSA modulus falls to Fermat's method: its primes are too close together",
                rule="CS-KEY-RSA-FERMAT",
                hint=_NEW_KEY,
            )
        a += 1


# --- ROCA, CVE-2017-15361 (Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack, section 5) ---------
# Infineon's library made primes k*M + (65537^a mod M), M a primorial of at least the first 39 primes. So the modulus is
# a power of 65537 modulo every one of them, and with one common exponent. A random modulus passes for all of them
# with a probability far below 2^-100, because the exponents must agree as well.


def check_roca(n: int) -> None:
    """Raise CS-KEY-ROCA when the modulus carries the fingerprint of Infineon's key generation."""
    logarithms = []
    for prime, powers in _roca_tables():
        exponent = powers.get(n % prime)
        if exponent is None:
            return
        logarithms.append((exponent, len(powers)))
    for (first, first_order), (second, second_order) in combinations(logarithms, 2):
        if (first - second) % math.gcd(first_order, second_order):
            return
    raise PolicyViolation(
        "RSA modulus has the ROCA fingerprint (CVE-2017-15361): it can be factored",
        rule="CS-KEY-ROCA",
        hint="the device that made it has Infineon's faulty library: update its firmware or make an EC key",
    )


@functools.cache
def _roca_tables() -> tuple[tuple[int, dict[int, int]], ...]:
    """Per prime, the discrete logarithms to the base 65537 of the subgroup it generates."""
    tables = []
    for prime in _primes_below(168)[1:]:  # 3 ... 167
        powers: dict[int, int] = {}
        value, exponent = 1, 0
        while value not in powers:
            powers[value] = exponent
            value, exponent = value * 65537 % prime, exponent + 1
        tables.append((prime, powers))
    return tuple(tables)


@functools.cache
def _primes_below(limit: int) -> tuple[int, ...]:
    return tuple(n for n in range(2, limit) if all(n % d for d in range(2, math.isqrt(n) + 1)))


@functools.cache
def _small_primorial() -> int:
    return math.prod(_primes_below(752)[1:])


# --- EC: full public-key validation, NIST SP 800-56A 5.6.2.3.3 (CSBR 6.1.6). The cofactor is 1 on all three curves, so
# a point on the curve that is not infinity is in the right group. pyca checks when it loads; this is our own look.
_PRIMES_AND_B = {  # y^2 = x^3 - 3x + b modulo p (NIST SP 800-186 3.2.1)
    "secp256r1": (
        2**256 - 2**224 + 2**192 + 2**96 - 1,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    ),
    "secp384r1": (
        2**384 - 2**128 - 2**96 + 2**32 - 1,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
    ),
    "secp521r1": (
        2**521 - 1,
        0x0051953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E156193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
    ),
}


def check_point(curve: str, x: int, y: int) -> None:
    """Raise CS-KEY-EC-POINT unless (x, y) is a point of one of the three curves."""
    p, b = _PRIMES_AND_B.get(curve, (0, 0))
    if not (p and 0 <= x < p and 0 <= y < p and (y * y - (x * x * x - 3 * x + b)) % p == 0):
        raise PolicyViolation(f"EC point is not on {curve}", rule="CS-KEY-EC-POINT", hint=_NEW_KEY)
