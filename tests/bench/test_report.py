"""What all benches share: the subjects that are listed are there, and a report is complete."""

import json
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from sealwright.bench.__main__ import SUBJECTS
from sealwright.bench.load import Load, Loads
from sealwright.bench.report import Row, line, markdown, write_json
from world import CHECKOUT


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_subject_can_be_run(name: str) -> None:
    module = import_module(f"sealwright.bench.{name}")
    assert callable(module.measure)
    assert callable(module.add_arguments)


def test_help_lists_every_subject() -> None:
    done = subprocess.run([CHECKOUT / "scripts/bench"], capture_output=True, text=True, check=True)
    for name, what in SUBJECTS.items():
        assert f"{name:10} {what}" in done.stdout


def test_an_unknown_subject_is_named() -> None:
    done = subprocess.run([CHECKOUT / "scripts/bench", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing" in done.stderr


def test_rates_that_were_taken_in_turns_are_compared_turn_by_turn() -> None:
    """The machine was half as fast in the second minute, for both."""
    ours, theirs = (Loads([Load(rate, 1.0) for rate in rates]) for rates in ((90, 45, 91), (100, 50, 90)))
    assert (ours.rate, theirs.rate, ours.ratio(theirs)) == (90, 90, 0.9)


def test_a_row_has_a_ratio_where_it_has_a_reference() -> None:
    assert Row("a", 50, "/s", 200).ratio == 0.25
    assert Row("a", 50, "/s").ratio is None
    assert "0.25" in line(Row("a", 50, "/s", 200))
    assert Row("a", 50, "/s", 200, paired=0.5).to_json()["ratio"] == 0.5
    assert markdown([Row("a", 1234.5, "/s", 200, "of b")]).endswith("| a | 1,234 /s | 200 /s | 6.17 | of b |")


def test_a_report_names_machine_versions_and_date(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, "ledger", [Row("a", 50, "/s", 200, "b")])
    report = json.loads(path.read_text())
    assert report["bench"] == "ledger"
    assert report["rows"] == [{"what": "a", "ours": 50, "unit": "/s", "reference": 200, "note": "b", "ratio": 0.25}]
    assert report["machine"]["cores"] > 0
    assert report["machine"]["versions"].keys() >= {"sealwright", "cryptography"}
    assert report["machine"]["date"].endswith("Z")
