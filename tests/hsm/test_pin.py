"""A PIN hides itself, and comes from a file that nobody else reads."""

import copy
import os
import pickle

import pytest

from sealwright.errors import InputError
from sealwright.hsm.pin import Pin

SECRET = "correct horse"


def test_a_pin_shows_itself_nowhere():
    pin = Pin(SECRET)
    for shown in (repr(pin), str(pin), f"{pin}", f"{pin!r:>30}", "%s" % pin, repr({"pin": [pin]})):  # noqa: UP031
        assert SECRET not in shown
    assert pin.reveal() == SECRET.encode()
    assert not hasattr(pin, "__dict__")


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy, hash])
def test_a_pin_is_neither_pickled_nor_copied_nor_hashed(take):
    with pytest.raises(TypeError) as caught:
        take(Pin(SECRET))
    assert SECRET not in str(caught.value)


def test_two_pins_are_compared():
    assert Pin(SECRET) == Pin(SECRET)
    assert Pin(SECRET) != Pin("another")
    assert Pin(SECRET) != SECRET


@pytest.mark.parametrize("value", ["", "x" * 256, "two\nlines", "nul\0", "tab\t"])
def test_a_pin_is_one_short_line_of_text(value):
    with pytest.raises(InputError) as caught:
        Pin(value)
    assert not value or value not in caught.value.message


@pytest.mark.parametrize("content", [b"1234", b"1234\n", b"1234\r\n"])
@pytest.mark.parametrize("mode", [0o400, 0o600])
def test_a_pin_file_is_one_line(tmp_path, content, mode):
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(mode)
    assert Pin.from_file(path) == Pin("1234")


@pytest.mark.parametrize("content", [b"", b"\n", b"1234\n5678\n", b"1234\n\n", b"\xff\xfe", b"x" * 300])
def test_a_pin_file_that_holds_something_else_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / "pin"
    path.write_bytes(content)
    path.chmod(0o400)
    with pytest.raises(InputError, match=f"PIN file {path}") as caught:
        Pin.from_file(path)
    assert "1234" not in caught.value.message.replace(str(path), "")


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o620, 0o601])
def test_a_pin_file_that_others_may_read_is_refused(tmp_path, mode):
    path = tmp_path / "pin"
    path.write_bytes(b"1234\n")
    path.chmod(mode)
    with pytest.raises(InputError, match=f"has mode {mode:04o}; wanted 0400 or 0600") as caught:
        Pin.from_file(path)
    assert f"chmod 0400 {path}" in caught.value.hint


def test_a_pin_file_of_somebody_else_is_refused(tmp_path):
    if os.geteuid() != 0:
        path = next(p for p in map(tmp_path.__class__, ("/etc/shadow", "/etc/gshadow")) if p.exists())
        with pytest.raises(InputError):
            Pin.from_file(path)
        return
    path = tmp_path / "pin"
    path.write_bytes(b"1234\n")
    path.chmod(0o400)
    os.chown(path, 65534, 65534)
    with pytest.raises(InputError, match="belongs to uid 65534"):
        Pin.from_file(path)


def test_a_pin_file_that_is_no_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        Pin.from_file(tmp_path / "absent")
    with pytest.raises(InputError, match="not a regular file"):
        Pin.from_file(tmp_path)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    with pytest.raises(InputError, match="not a regular file"):
        Pin.from_file(fifo)
