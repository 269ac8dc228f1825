"""The benches of CRLs and of presign run, small, and have a row for each thing that they promise to measure."""

import json
import subprocess
from pathlib import Path

import pytest

from world import CHECKOUT


def run(tmp_path: Path, *words: str) -> dict[str, list[dict[str, object]]]:
    file = tmp_path / "rows.json"
    command = [CHECKOUT / "scripts/bench", *words, "--dir", tmp_path, "--json", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows: dict[str, list[dict[str, object]]] = {}
    for row in json.loads(file.read_text())["rows"]:
        rows.setdefault(row["what"], []).append(row)
    return rows


@pytest.mark.slow
def test_presign_is_measured_beside_the_token(tmp_path: Path) -> None:
    rows = run(tmp_path, "presign", "--certificates", "2000", "--known", "500")
    for what in ("first", "refreshed"):
        (row,) = rows[f"answers signed and stored, {what}"]
        assert row["unit"] == "/s"
        assert row["ratio"]


@pytest.mark.slow
def test_crls_are_measured_beside_openssl(tmp_path: Path) -> None:
    rows = run(tmp_path, "crl", "--entries", "2000")
    (row,) = rows["CRL of 2,000 entries, one more revocation"]
    assert row["note"] == "openssl ca -gencrl"
    assert len(rows["CRL of 2,000 entries, peak memory"]) == 2
