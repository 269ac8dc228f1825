"""The bench of the ledger runs, and its rows say what was measured."""

import json
import subprocess
from pathlib import Path

from world import CHECKOUT


def test_measures_append_and_start_and_writes_its_rows(tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.json"
    done = subprocess.run(
        [CHECKOUT / "scripts/bench", "ledger", "--sizes", "300,600", "--dir", tmp_path, "--json", rows_file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(rows_file.read_text())["rows"]
    assert len(rows) == 20
    assert {row["unit"] for row in rows} == {"ms", "MiB", "s"}
    assert rows[0]["what"] == "append and index at 300 entries"
    assert rows[0]["ratio"] > 0
    assert done.stdout.count("\n") == 1 + len(rows)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
