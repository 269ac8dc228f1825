"""ca/policy.md names every rule of this room, every rule is tried by a test, and the two know no other ones."""

import re
from pathlib import Path

from cast import CA_FOLDER
from sealwright import statements

OURS = r"(?:(?:STMT|LOGIN|ROSTER|REQ|DEC|ORDER|REV|SUSPEND|EXC|POLICY|RENEW)-[A-Z-]+|SUSPENDED)"
ELSEWHERE = {
    "ORDER-LIVE",
    "ORDER-USED",
    "REV-ALREADY",
    "REV-KEY-LIVE",
    "REV-NOT-REVOKED",
    "REV-USED",
    "REV-STALE",
    "ROSTER-AUTHORITY",
}
"""What only the ledger or the installation knows: rules of ``issuing``."""

RAISED = {
    rule for path in Path(statements.__path__[0]).glob("*.py") for rule in re.findall(rf'"({OURS})"', path.read_text())
}


def test_every_rule_is_in_the_policy() -> None:
    rows = set(re.findall(rf"^\| ({OURS}) \|", (CA_FOLDER / "policy.md").read_text(), re.MULTILINE))
    assert len(RAISED) > 40
    assert rows - ELSEWHERE == RAISED


def test_every_rule_is_tried_by_a_test() -> None:
    folders = (Path(__file__).parent, Path(__file__).parents[1] / "attacks")  # there the signer is asked
    tried = "".join(path.read_text() for folder in folders for path in folder.glob("test_*.py"))
    assert {rule for rule in RAISED if f'"{rule}"' not in tried} == set()
