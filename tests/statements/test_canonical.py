"""Canonical JSON: one spelling, bounded, no field twice."""

import json
import time
from enum import IntEnum, StrEnum

import pytest
import rfc8785
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sealwright.errors import InputError
from sealwright.statements.canonical import DEPTH_LIMIT, STATEMENT_LIMIT, canonical_bytes, parse_canonical, parse_json

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""How fast examples are drawn says how busy the machine is."""


class Name(StrEnum):
    A = "a"


class Number(IntEnum):
    ONE = 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(UNTIMED, max_examples=40)
@given(st.dictionaries(st.text(), JSON))
def test_what_is_written_is_read_back(value: dict[str, object]) -> None:
    assert parse_canonical(canonical_bytes(value)) == value


ASCII = st.text(st.characters(max_codepoint=0x7F))
NAMED_IN_ASCII = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(ASCII, inner),
    max_leaves=20,
)


@settings(UNTIMED, max_examples=100)
@given(NAMED_IN_ASCII | JSON)
def test_the_short_way_writes_what_rfc8785_writes(value: object) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # JSON, as drawn


def test_the_short_way_escapes_and_sorts_as_rfc8785_does() -> None:
    every = "".join(map(chr, (*range(0x180), 0x2028, 0x2029, 0xFFFF, 0x10000)))
    names = {chr(code): code for code in range(0x7F, -1, -1)}
    for value in ({"a": every}, names, {"b": names, "a": [every, (True, None)]}, Name.A, {"n": 2.5}, {"": Number.ONE}):
        assert canonical_bytes(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # as above


@settings(UNTIMED, max_examples=40)
@given(st.dictionaries(st.text(), JSON, min_size=1))
def test_refuses_every_other_layout_of_the_same_document(value: dict[str, object]) -> None:
    with pytest.raises(InputError, match="canonical"):
        parse_canonical(json.dumps(value, indent=1).encode())


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b'{"b":1,"a":2}', "canonical"),
        (b'{"a": 1}', "canonical"),
        (b'{"a":1}\n', "canonical"),
        (b'{"a":"\\u0041"}', "canonical"),
        (b'{"a":-0}', "canonical"),
        (b'{"a":1,"a":1}', "'a' stands twice"),
        (b'{"x":{"a":1,"b":1,"a":2}}', "'a' stands twice"),
        (b'{"a":1.0}', "not a whole number"),
        (b'{"a":1e3}', "not a whole number"),
        (b'{"a":NaN}', "not a whole number"),
        (b'{"a":' + b"9" * 5000 + b"}", "too large"),
        (b'{"a":9007199254740993}', "canonical JSON"),
        (b'{"a":"\\ud800"}', "canonical JSON"),
        (b"[]", "wanted an object"),
        (b'"a"', "wanted an object"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"{}{}", "not JSON"),
        (b'{"a":' + b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1) + b"}", "nested deeper"),
        (b"[" * 60000, "not JSON"),
        (b'{"a":"' + b"x" * STATEMENT_LIMIT + b'"}', "at most 65536"),
    ],
)
def test_refuses(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_canonical(data)


def test_the_limits_themselves_are_allowed() -> None:
    value: object = 1
    for _ in range(DEPTH_LIMIT - 1):
        value = [value]
    assert parse_canonical(canonical_bytes({"a": value}))
    filler = "x" * (STATEMENT_LIMIT - len('{"a":""}'))
    assert len(canonical_bytes(parse_canonical(canonical_bytes({"a": filler})))) == STATEMENT_LIMIT


def test_reads_the_example_of_rfc_8785() -> None:
    # RFC 8785 3.2.3: keys sort by UTF-16 code units.
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    written = canonical_bytes(dict.fromkeys(names, 0)).decode()
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(written)) == order


def test_parse_json_takes_any_layout_with_the_same_bounds() -> None:
    assert parse_json(b'{ "b": 1,\n "a": 2 }') == {"a": 2, "b": 1}
    with pytest.raises(InputError, match="stands twice"):
        parse_json(b'{"a":1, "a":2}')


def test_a_name_that_stands_twice_is_found_among_many_without_comparing_each_with_each() -> None:
    names = ",".join(f'"{number}":0' for number in range(60_000))
    data = f'{{{names},"59999":0}}'.encode()
    begun = time.thread_time()
    with pytest.raises(InputError, match="'59999' stands twice"):
        parse_json(data, len(data))
    assert time.thread_time() - begun < 3  # 0.1 s; each with each is a minute


def test_a_long_name_that_stands_twice_is_cut() -> None:
    with pytest.raises(InputError, match=f"'{'x' * 64}' stands twice"):
        parse_json(b'{"%b":1,"%b":2}' % (b"x" * 5000, b"x" * 5000))


def test_refuses_to_write_what_json_cannot_hold() -> None:
    for value in (2**53, float("nan"), "\ud800", {1: 2}, object()):
        with pytest.raises(InputError):
            canonical_bytes({"a": value})
