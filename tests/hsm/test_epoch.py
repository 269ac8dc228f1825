"""The epoch is on the token: another process sees it at once, and it outlives both."""

import subprocess
import sys

import pytest

from sealwright.errors import TokenError
from sealwright.hsm import epoch as module
from sealwright.hsm.epoch import TokenEpoch, read_epoch, write_epoch
from sealwright.hsm.session import TokenSession
from softhsm import TokenFactory

OLD, NEW = TokenEpoch(1, "a" * 32), TokenEpoch(2, "b" * 32)

OTHER_PROCESS = """
import sys
from pathlib import Path
from sealwright.hsm.epoch import TokenEpoch, read_epoch, write_epoch
from sealwright.hsm.module import find_softhsm, load_module
from sealwright.hsm.session import Pin, TokenSession
with TokenSession.open(load_module(find_softhsm()), sys.argv[1], Pin.from_file(Path(sys.argv[2]))) as session:
    print(read_epoch(session).epoch)
    write_epoch(session, TokenEpoch(2, "b" * 32))
"""


def test_what_another_process_wrote_is_seen_by_the_next_reading(softhsm: TokenFactory, tmp_path) -> None:  # type: ignore[no-untyped-def]
    serial, pin = softhsm.new_token("epoch")
    with TokenSession.open(softhsm.module, serial, pin) as session:
        assert read_epoch(session) is None
        write_epoch(session, OLD)
        assert read_epoch(session) == OLD
        done = subprocess.run(
            [sys.executable, "-c", OTHER_PROCESS, serial, softhsm.pin_file(tmp_path, pin)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout.strip(), done.stderr) == ("1", "")
        assert read_epoch(session) == NEW


def test_of_two_that_a_power_cut_left_the_higher_counts(softhsm: TokenFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    with softhsm.open_token("two epochs") as session:
        write_epoch(session, OLD)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_find", lambda _: [])  # nothing is destroyed
            with pytest.raises(TokenError):
                write_epoch(session, NEW)  # ... nor read back
        assert read_epoch(session) == NEW
        write_epoch(session, TokenEpoch(3, "c" * 32))
        assert len(session.call(module._find, doing="looking")) == 1


def test_an_object_that_is_none_of_ours_is_never_guessed_at(
    softhsm: TokenFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with softhsm.open_token("strange epoch") as session:
        with monkeypatch.context() as patch:
            patch.setattr(module, "_FORM", "sealwright epoch 9")
            write_epoch(session, OLD)
        with pytest.raises(TokenError, match="cannot be read"):
            read_epoch(session)
