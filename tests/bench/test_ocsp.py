"""The bench of OCSP runs: every row of the table is there, and wrk got nothing but answers."""

import json
import subprocess
from pathlib import Path

import pytest

from world import CHECKOUT


@pytest.mark.slow
def test_measures_both_methods_beside_nginx(tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.json"
    command = [CHECKOUT / "scripts/bench", "ocsp", "--certificates", "1500", "--rotation", "1200", "--seconds", "1"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--dir", tmp_path, "--json", rows_file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {(row["what"], row["note"]): row for row in json.loads(rows_file.read_text())["rows"]}
    for what in ("1,200 of 1,500", "1,000 of 1,000"):
        for method in ("GET", "POST"):
            for figure in ("", ", p99"):
                assert rows[f"{what}, {method}{figure}", "nginx at its best"]["ratio"] > 0
        assert rows[f"1,500 against 1,000 certificates, {method}", "turn by turn"]["ratio"] > 0
    assert rows["nginx cache in front, GET", "nginx at its best"]["ours"] > 0
    for name in ("OCSP", "CRL"):
        assert rows[f"revocation visible among 1,500 certificates, {name}", "by HTTP, the slowest of three"]["ours"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]
