"""ca/policy.md says what the code enforces: every rule id of this room is in its tables, in the same words."""

import re
from pathlib import Path

from sealwright import pki
from sealwright.pki.rules import RULES
from sealwright.pki.table import TABLE
from softpki import CA_FOLDER

POLICY = (CA_FOLDER / "policy.md").read_text()
ROWS = dict(re.findall(r"^\| ([A-Z][A-Z0-9-]+) \| (.+) \|$", POLICY, re.MULTILINE))


def test_every_certificate_rule_is_in_the_policy_as_the_code_has_it() -> None:
    for rule in RULES:
        assert ROWS[rule.id] == f"{rule.what} | {rule.source}", rule.id


def test_every_rule_id_that_is_raised_is_in_the_policy() -> None:
    source = "".join(path.read_text() for path in Path(pki.__path__[0]).glob("*.py"))
    raised = set(re.findall(r'(?:rule=|_refuse\(\s*)"([A-Z][A-Z0-9-]+)"', source)) | {rule.id for rule in RULES}
    assert len(raised) > 80
    assert {"CRL-REASON", "CRL-INVALIDITY-DATE", "OCSP-REASON", "OCSP-STATUS"} <= raised
    assert raised <= set(ROWS)


def test_every_rule_id_in_the_comments_of_ca_exists() -> None:
    files = [CA_FOLDER / "pki.toml", *(CA_FOLDER / "profiles").glob("*.toml")]
    named = {each for path in files for each in re.findall(r"\[([A-Z]+-[A-Z-]+)\]", path.read_text())}
    assert len(named) > 15
    assert named <= set(ROWS)


def test_the_table_of_the_policy_is_the_table_of_the_code() -> None:
    columns = [cell.strip() for cell in next(re.finditer(r"^\| \|(.+)\|$", POLICY, re.MULTILINE))[1].split("|")]
    cells = {
        row[0].strip(): [cell.strip() for cell in row[1].split("|")]
        for row in re.findall(rf"^\| (\w[\w -]+) \|((?:[^|\n]+\|){{{len(TABLE) - 1}}}[^|\n]+)\|$", POLICY, re.MULTILINE)
    }
    assert columns == [kind.value for kind in TABLE]
    for index, table in enumerate(TABLE.values()):
        named = {_short(oid._name): critical for oid, critical in table.extensions.items()}
        written = {
            _short(name): cell[index].startswith("c")
            for name, cell in cells.items()
            if name not in ("keys", "validity") and cell[index] != "-"
        }
        assert written == named, table.kind
        keys = {each.strip().lower() for each in cells["keys"][index].split(",")}
        assert keys == {kind.value for kind in table.keys}


def _short(name: str) -> str:
    return name.lower().replace("ocspnocheck", "ocsp-nocheck")
