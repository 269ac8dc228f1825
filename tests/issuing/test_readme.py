"""What the room's README says proves something is there, and so is where it says that things are."""

import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "src/sealwright/issuing/README.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", README)))


@pytest.mark.parametrize(("file", "test"), NAMED, ids=[test for _, test in NAMED])
def test_a_test_that_is_named_exists(file: str, test: str) -> None:
    places = list((CHECKOUT / "tests").rglob(file))
    assert places
    assert any(re.search(rf"^def {test}\(", path.read_text(), re.MULTILINE) for path in places)


def test_every_step_of_an_issuance_names_its_proof() -> None:
    issuance = README.split("# One revocation")[0]
    steps = [line for line in issuance.splitlines() if re.match(r"\| \d ", line)]
    assert [line[2] for line in steps] == [*"012345689"]  # 6 and 7 are one line
    assert all("::test_" in line for line in steps)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", README))))
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (CHECKOUT / path).exists()
