"""Canonical JSON (RFC 8785): one document has one sequence of bytes, so that a signature over bytes is over meaning.

``parse_canonical`` parses, writes again and compares, or refuses. Bounded in size and depth. Numbers are whole and
below 2^53; serials are strings. What the fields mean is not known here.
"""

import json
from collections import Counter
from typing import Any, Final, NoReturn

import rfc8785

from sealwright.errors import InputError

STATEMENT_LIMIT: Final = 64 * 1024
"""Octets. Also what one ledger entry can hold."""

DEPTH_LIMIT: Final = 16


def canonical_bytes(value: Any) -> bytes:
    """RFC 8785 bytes of a JSON value. Raises ``InputError`` for what JSON, or a 53-bit integer, cannot hold."""
    try:
        if _is_plain(value):
            return _PLAIN.encode(value).encode()
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, TypeError) as error:
        raise InputError(
            f"this value has no canonical JSON: {error}", hint="integers over 2^53 and serials are strings"
        ) from None


_PLAIN: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))
"""RFC 8785 for plain values: it escapes as 3.2.2.2 wants it, and sorts ASCII names as 3.2.3 does."""
_LARGEST: Final = 2**53 - 1


def _is_plain(value: Any) -> bool:
    """Is it of objects with names in ASCII, arrays, strings, whole numbers below 2^53, true, false and null, and of
    exactly these types? Whatever is not is for ``rfc8785`` to judge. Raises ``InputError`` as ``check_depth`` does."""
    level = [value]
    for _ in range(DEPTH_LIMIT + 1):
        inner: list[Any] = []
        for each in level:
            kind = type(each)
            if kind is str or kind is bool or each is None:
                continue
            if kind is dict:
                if not ({*map(type, each)} <= {str} and all(map(str.isascii, each))):
                    check_depth(value)
                    return False
                inner += each.values()
            elif kind is list or kind is tuple:
                inner += each
            elif kind is not int or not -_LARGEST <= each <= _LARGEST:
                check_depth(value)
                return False
        if not inner:
            return True
        level = inner
    raise _too_deep(DEPTH_LIMIT)


def parse_canonical(data: bytes, limit: int = STATEMENT_LIMIT) -> dict[str, Any]:
    """The JSON object whose canonical form is exactly ``data``. Raises ``InputError`` for anything else."""
    value = parse_json(data, limit)
    if canonical_bytes(value) != data:
        raise InputError(
            "this JSON is not in canonical form (RFC 8785)",
            hint="it was edited or written by another program: make it again with the tool that made it",
        )
    return value


def parse_json(data: bytes, limit: int = STATEMENT_LIMIT) -> dict[str, Any]:
    """A JSON object, in any form, with the same bounds: for a document that some other program laid out."""
    if len(data) > limit:
        raise InputError(f"JSON document is {len(data)} octets; at most {limit} are read")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_float,
            parse_int=_integer,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise InputError(f"this is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"JSON document is a {type(value).__name__}; wanted an object")
    check_depth(value)
    return value


def check_depth(value: Any, limit: int = DEPTH_LIMIT) -> None:
    """Raises ``InputError`` when objects and arrays are nested deeper than ``limit``."""
    level = [value]
    for _ in range(limit + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list | tuple)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise _too_deep(limit)


def _too_deep(limit: int) -> InputError:
    return InputError(f"JSON document is nested deeper than {limit} levels")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise InputError(f"JSON field {twice[:64]!r} stands twice in one object")
    return result


def _integer(text: str) -> int:
    if len(text) > 17:  # before int(), whose cost grows with the square of the length
        raise InputError(f"JSON number {text[:20]}… is too large", hint="large numbers are strings here")
    return int(text)


def _no_float(text: str) -> NoReturn:
    raise InputError(f"JSON number {text[:20]} is not a whole number")
