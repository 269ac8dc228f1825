"""The bench of issuance runs: a real signer answers its requesters, and every step has a row."""

import json
import subprocess
from pathlib import Path

from world import CHECKOUT


def test_measures_issuances_and_each_step(tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.json"
    command = [CHECKOUT / "scripts/bench", "issuance", "--count", "20", "--keys", "p-256", "--without-peer"]
    done = subprocess.run([*command, "--json", rows_file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {(row["what"], row["note"]): row for row in json.loads(rows_file.read_text())["rows"]}
    for requesters in ("1 requester", "16 requesters"):
        for reference in ("C_Sign, one thread", "fsyncs"):
            assert rows[f"P-256: issuances, {requesters}", reference]["ratio"] > 0
    parts = {what.rpartition(": ")[2]: row["ours"] for (what, _), row in rows.items() if "processor time" in what}
    assert {"signer", "linters"} < set(parts)
    assert parts["signer"] > 0
    steps = " ".join(what for what, note in rows if note == "all steps, alone")
    for number in range(1, 10):
        assert f"({number})" in steps
