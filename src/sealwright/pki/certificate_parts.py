"""A certificate cut into the parts that change from one to the next and those that do not. No value is decoded.

For who remembers what was found of the same octets (``pkilint_parts``, ``rules_opinion``): all octets of a certificate
are in its parts but tags and lengths, which follow from them, because only DER in its shortest form is cut at all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sealwright.errors import InputError
from sealwright.pki.der import BIT_STRING, INTEGER, OCTET_STRING, OID, SEQUENCE, context, read

TBS: Final = "tbsCertificate"
EXTENSIONS: Final = "extensions"
SPKI: Final = "subjectPublicKeyInfo"
SIGNATURE: Final = "signatureValue"
"""As RFC 5280 calls it; the TBS has a ``signature`` that is an AlgorithmIdentifier."""
_BOOLEAN: Final = 0x01
_FIELDS: Final = (  # RFC 5280 4.1, without the unique identifiers that no certificate has any more
    ("version", context(0)),
    ("serialNumber", INTEGER),
    ("signature", SEQUENCE),
    ("issuer", SEQUENCE),
    ("validity", SEQUENCE),
    ("subject", SEQUENCE),
    (SPKI, SEQUENCE),
)


@dataclass(frozen=True, slots=True)
class Section:
    """A field of the certificate or its TBS, or one extension. ``way``: the names that lead to it from the top; none
    for the frame that holds the others. ``parts``: the names of its parts."""

    name: str
    way: tuple[str, ...]
    parts: frozenset[str]


FRAME: Final = Section("certificate", (), frozenset())


@dataclass(frozen=True, slots=True)
class CertificateParts:
    """``octets`` by name of the part, ``whole`` by name of the section; ``extensions``: how many there are."""

    octets: Mapping[str, bytes]
    whole: Mapping[str, bytes]
    extensions: int

    @property
    def sections(self) -> tuple[Section, ...]:
        return _sections(self.extensions)

    def octets_of(self, parts: Iterable[str]) -> tuple[bytes, ...]:
        """Those of several parts, in an order that is always the same."""
        return tuple(self.octets[part] for part in sorted(parts))


def head_of(extension: str) -> str:
    """The part of an extension that says which, and whether it is critical."""
    return f"{extension}.head"


def value_of(extension: str) -> str:
    """The part that has its value."""
    return f"{extension}.extnValue"


KEY_ALGORITHM: Final = f"{SPKI}.algorithm"
KEY_BITS: Final = f"{SPKI}.subjectPublicKey"


@lru_cache(maxsize=64)
def _sections(extensions: int) -> tuple[Section, ...]:
    plain = [name for name, _ in _FIELDS if name != SPKI]
    numbered = [f"{EXTENSIONS}.{number}" for number in range(extensions)]
    return (
        *(Section(name, (TBS, name), frozenset({name})) for name in plain),
        Section(SPKI, (TBS, SPKI), frozenset({KEY_ALGORITHM, KEY_BITS})),
        *(Section(each, (TBS, *each.split(".")), frozenset({head_of(each), value_of(each)})) for each in numbered),
        Section("signatureAlgorithm", ("signatureAlgorithm",), frozenset({"signatureAlgorithm"})),
        Section(SIGNATURE, ("signature",), frozenset({SIGNATURE})),
        FRAME,
    )


def cut_certificate(der: bytes) -> CertificateParts | None:
    """None for whatever is not built as our certificates are: v3, extensions, no unique identifiers, DER lengths."""
    try:
        return _cut(der)
    except InputError:
        return None


def _cut(der: bytes) -> CertificateParts:
    octets: dict[str, bytes] = {}
    whole: dict[str, bytes] = {}
    start, end = read(der, 0, len(der), SEQUENCE)
    _check_end(end, len(der))
    at, tbs_end = read(der, start, end, SEQUENCE)
    for name, tag in _FIELDS:
        _, after = read(der, at, tbs_end, tag)
        octets[name] = whole[name] = der[at:after]
        at = after
    del octets[SPKI]
    _cut_key(whole[SPKI], octets)
    at, after = read(der, at, tbs_end, context(3))
    _check_end(after, tbs_end)
    at, last = read(der, at, after, SEQUENCE)
    _check_end(last, after)
    count = 0
    while at < last:
        _, after = read(der, at, last, SEQUENCE)
        name = f"{EXTENSIONS}.{count}"
        whole[name] = der[at:after]
        _cut_extension(whole[name], name, octets)
        at, count = after, count + 1
    _, after = read(der, tbs_end, end, SEQUENCE)
    octets["signatureAlgorithm"] = whole["signatureAlgorithm"] = der[tbs_end:after]
    _, last = read(der, after, end, BIT_STRING)
    _check_end(last, end)
    octets[SIGNATURE] = whole[SIGNATURE] = der[after:end]
    return CertificateParts(octets, whole, count)


def _cut_key(spki: bytes, octets: dict[str, bytes]) -> None:
    start, end = read(spki, 0, len(spki), SEQUENCE)
    _, middle = read(spki, start, end, SEQUENCE)
    _, last = read(spki, middle, end, BIT_STRING)
    _check_end(last, end)
    octets[KEY_ALGORITHM], octets[KEY_BITS] = spki[start:middle], spki[middle:end]


def _cut_extension(extension: bytes, name: str, octets: dict[str, bytes]) -> None:
    start, end = read(extension, 0, len(extension), SEQUENCE)
    _, middle = read(extension, start, end, OID)
    if extension[middle : middle + 1] == bytes((_BOOLEAN,)):
        _, middle = read(extension, middle, end, _BOOLEAN)
    _, last = read(extension, middle, end, OCTET_STRING)
    _check_end(last, end)
    octets[head_of(name)], octets[value_of(name)] = extension[start:middle], extension[middle:end]


def _check_end(got: int, wanted: int) -> None:
    if got != wanted:
        raise InputError(f"at octet {got} is the end of a value; wanted it at {wanted}")
