"""A hundred SIGKILLs at random moments, under concurrent load, on real tokens."""

from pathlib import Path

import pytest

from rehearsal import Rehearsal
from soak import Soak


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing_and_give_nothing_twice(rehearsal: Rehearsal, tmp_path: Path) -> None:
    soak = Soak(rehearsal.folder, tmp_path, seed=20261123)
    soak.run(kills=100)
    verdict = soak.judge()
    assert verdict["kills"] == 100
    assert verdict["given"] > 20
    assert verdict["lost_in_crashes_and_revoked"] > 0  # else no kill came between intent and record
