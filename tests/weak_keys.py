"""RSA keys that are weak in a known way, made as the faulty programs make them. Once per process."""

import functools
import math
import random

from cryptography.hazmat.primitives.asymmetric import rsa

_DICE = random.Random(15361)  # the same keys in every run


def is_prime(number: int) -> bool:
    """Miller-Rabin, sixteen rounds."""
    if number < 4:
        return number in (2, 3)
    if any(number % small == 0 for small in range(2, 1000) if number > small):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for _ in range(16):
        x = pow(_DICE.randrange(2, number - 1), odd, number)
        if x in (1, number - 1):
            continue
        for _ in range(twos - 1):
            x = x * x % number
            if x == number - 1:
                break
        else:
            return False
    return True


def _key(p: int, q: int) -> rsa.RSAPrivateKey:
    e = 65537
    d = pow(e, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q))
    return numbers.private_key()


@functools.cache
def roca_key() -> rsa.RSAPrivateKey:
    """RSA-3072 as Infineon's library made it (CVE-2017-15361): primes k*M + (65537^a mod M), M of 126 primes."""
    primes = [n for n in range(2, 702) if all(n % d for d in range(2, math.isqrt(n) + 1))]
    primorial = math.prod(primes[:126])

    def prime() -> int:
        while True:
            k = _DICE.randrange(3 * 2**1534 // primorial, 2**1536 // primorial)
            number = k * primorial + pow(65537, _DICE.randrange(2**64), primorial)
            if is_prime(number):
                return number

    return _key(prime(), prime())


@functools.cache
def close_primes_key() -> rsa.RSAPrivateKey:
    """RSA-3072 of a prime and the next one (CVE-2022-26320)."""
    found: list[int] = []
    candidate = _DICE.getrandbits(1536) | 3 << 1534 | 1
    while len(found) < 2:
        if is_prime(candidate):
            found.append(candidate)
        candidate += 2
    return _key(*found)


@functools.cache
def small_rsa_key() -> rsa.RSAPrivateKey:
    """RSA-2048."""
    return rsa.generate_private_key(65537, 2048)
