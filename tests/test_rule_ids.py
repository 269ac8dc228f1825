"""Every rule id of the whole program is tried by some test. That it stands in the documents, ``pki/test_cps.py`` sees.

The rooms' own tests go further (which test, in which words); this one sees that no room forgets to have one.
"""

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
RULE = r"[A-Z]+(?:-[A-Z0-9]+)+"


def test_every_rule_is_tried_by_a_test() -> None:
    raised = {
        rule
        for path in (CHECKOUT / "src").rglob("*.py")
        for rule in re.findall(rf'(?:rule=|_refuse\(\s*)"({RULE})"', path.read_text())
    }
    tests = "".join(path.read_text() for path in (CHECKOUT / "tests").rglob("test_*.py"))
    assert len(raised) > 180
    assert raised - set(re.findall(rf"\b{RULE}\b", tests)) == set()
