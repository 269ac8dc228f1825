"""The quickstart is killed at a random moment, again and again, and the next run goes on to the end."""

import random
import subprocess
import time
from pathlib import Path

import pytest

from rehearsal import CHECKOUT


@pytest.mark.slow
def test_a_killed_quickstart_goes_on_and_ends_with_one_pki(tmp_path: Path) -> None:
    folder, chance = tmp_path / "pki", random.Random(20261123)
    command = [CHECKOUT / "scripts/quickstart", "--dir", folder, "--once"]
    for _ in range(6):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        time.sleep(chance.uniform(3, 15))
        process.kill()  # this process only: what it started has to follow by itself, or its ports stay taken
        process.communicate(timeout=30)  # every process that could still write has ended
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "evidence/evidence.json").exists()
    assert len(list((folder / "tokens").iterdir())) == 5
