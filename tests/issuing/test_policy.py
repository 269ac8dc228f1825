"""ca/policy.md names every rule that the signer itself refuses by, and a test tries each."""

import re
from pathlib import Path

from sealwright import issuing
from world import CHECKOUT

RAISED = {
    rule
    for path in Path(issuing.__path__[0]).glob("*.py")
    for rule in re.findall(r'rule="([A-Z-]+)"', path.read_text())
}


def test_every_rule_is_in_the_policy() -> None:
    rows = set(re.findall(r"^\| ([A-Z-]+) \|", (CHECKOUT / "ca/policy.md").read_text(), re.MULTILINE))
    assert len(RAISED) >= 8
    assert RAISED - rows == set()


def test_every_rule_is_tried_by_a_test() -> None:
    folders = (Path(__file__).parent, Path(__file__).parents[1] / "attacks")
    tried = "".join(path.read_text() for folder in folders for path in folder.glob("test_*.py"))
    assert {rule for rule in RAISED if f'"{rule}"' not in tried} == set()
