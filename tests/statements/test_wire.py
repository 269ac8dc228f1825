"""The types of fields on the wire: each value has one spelling, and everything else is refused."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwright.statements.wire import decode_base64, encode_base64, format_time, parse_time

MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31, 23, 59, 59), timezones=st.just(UTC))  # noqa: DTZ001


@given(MOMENTS)
def test_a_time_is_read_as_it_was_written(moment: datetime) -> None:
    moment = moment.replace(microsecond=0)
    assert parse_time(format_time(moment)) == moment
    there = timezone(timedelta(hours=5, minutes=30))
    if moment.year not in (1000, 9999):
        assert format_time(moment.astimezone(there)) == format_time(moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-23",
        "2026-11-23T13:30:00",
        "2026-11-23T13:30:00+00:00",
        "2026-11-23T13:30:00.5Z",
        "2026-11-23T13:30:00Z\n",
        " 2026-11-23T13:30:00Z",
        "2026-11-23t13:30:00z",
        "2026-1-23T13:30:00Z",
        "2026-11-23T1:30:00Z",
        "2026-11-23T24:00:00Z",
        "2026-11-23T13:30:60Z",
        "2026-02-29T13:30:00Z",
        "2026-13-01T13:30:00Z",
        "0000-01-01T00:00:00Z",
        "0999-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
        "٢٠٢٦-١١-٢٣T١٣:٣٠:٠٠Z",
    ],
)
def test_no_other_spelling_is_a_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_time(text)


def test_a_moment_without_a_zone_is_not_written() -> None:
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2026, 11, 23))  # noqa: DTZ001  # that is what is refused


@given(st.binary(max_size=40))
def test_octets_have_one_base64(data: bytes) -> None:
    text = encode_base64(data)
    assert decode_base64(text) == data
    for other in (text + "=", text + "\n", " " + text, text.rstrip("=") if text.endswith("=") else text[:-1] + "\n"):
        with pytest.raises(ValueError, match=r"."):
            decode_base64(other)


@pytest.mark.parametrize("text", ["é", "AA", "AAA", "AB==", "A===", "====", "AAAA AAAA", "AA==AA==", "_-__"])
def test_no_other_spelling_is_base64(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_base64(text)
