"""Whatever moment the writer is killed at: every acknowledged entry is there, and the ledger opens."""

import random
import re
import subprocess
import sys
from pathlib import Path

import pytest


def killed_again_and_again(folder: Path, seconds: float) -> tuple[int, int]:
    seed = random.SystemRandom().randrange(2**32)
    program = Path(__file__).with_name("crash.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder), str(seconds), str(seed)],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds * 5 + 60,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    found = re.match(r"(\d+) kills, (\d+) entries", done.stdout)
    assert found, done.stdout
    print(done.stdout)
    return int(found[1]), int(found[2])


def test_every_acknowledged_entry_survives_a_kill(folder: Path) -> None:
    kills, entries = killed_again_and_again(folder, 5)
    assert kills >= 10
    assert entries > 100


@pytest.mark.slow
def test_every_acknowledged_entry_survives_a_kill_for_a_minute(folder: Path) -> None:
    kills, entries = killed_again_and_again(folder, 60)
    assert kills >= 100
    assert entries > 1000
