"""Serial numbers: always 20 octets, always positive, one way to write one."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwright.errors import InputError
from sealwright.pki.serials import LARGEST_SERIAL, format_serial, new_serial, parse_serial


@given(st.binary(min_size=20, max_size=20))
def test_every_draw_of_the_dice_makes_a_positive_serial_of_20_octets(dice: bytes) -> None:
    serial = new_serial(lambda count: dice[:count])
    assert 2**158 <= serial <= LARGEST_SERIAL
    assert parse_serial(format_serial(serial)) == serial


def test_serials_differ() -> None:
    assert len({new_serial() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("serial", [1, 255, LARGEST_SERIAL])
def test_reads_what_it_writes(serial: int) -> None:
    assert parse_serial(format_serial(serial)) == serial


@pytest.mark.parametrize(
    "text", ["", "0", "00", "01", "-1", "0x1f", "1F", "g", " 1", "1 ", "1\n", "8" + "0" * 39, "1" * 41, "١"]
)
def test_refuses_any_other_way_to_write_one(text: str) -> None:
    with pytest.raises(InputError, match="wanted"):
        parse_serial(text)


@given(st.text())
def test_raises_only_our_error_for_any_text(text: str) -> None:
    with suppress(InputError):
        assert format_serial(parse_serial(text)) == text
