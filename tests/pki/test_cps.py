"""ca/policy.md has RFC 3647's sections, each with words of its own or a mark that says who has to find them."""

import re

import pytest

from ceremonies import CHECKOUT
from softpki import CA_FOLDER

POLICY = (CA_FOLDER / "policy.md").read_text()
SECTIONS = (  # RFC 3647 section 6
    "Introduction",
    "Publication and repository responsibilities",
    "Identification and authentication",
    "Certificate life-cycle operational requirements",
    "Facility, management and operational controls",
    "Technical security controls",
    "Certificate, CRL and OCSP profiles",
    "Compliance audit and other assessment",
    "Other business and legal matters",
)


def test_the_sections_are_those_of_rfc_3647_in_its_order() -> None:
    found = re.findall(r"^## (\d)\. (.*)$", POLICY, re.MULTILINE)
    assert found == [(str(number), name) for number, name in enumerate(SECTIONS, 1)]


@pytest.mark.parametrize("heading", re.findall(r"^#{2,3} .*$", POLICY, re.MULTILINE))
def test_no_section_is_empty(heading: str) -> None:
    after = POLICY.split(f"{heading}\n", 1)[1].strip()
    below = heading.startswith("## ") and after.startswith("### ")
    assert below or (after and not after.startswith("#"))


def test_what_only_the_organisation_knows_is_marked_and_says_what() -> None:
    asked = [
        after.split("\n\n")[0].strip() for after in POLICY.split("**[organisation]**")[2:]
    ]  # the first explains it
    assert len(asked) > 15
    assert all(len(each) > 10 for each in asked)


def test_every_rule_that_the_text_names_is_in_a_table() -> None:
    rows = set(re.findall(r"^\| ([A-Z][A-Z0-9-]+) \|", POLICY, re.MULTILINE))
    prose = re.sub(r"^\|.*$", "", POLICY, flags=re.MULTILINE)
    named = set(re.findall(r"\b((?:CS|CA|PKI|ORDER|REQ|REV|ROSTER|STMT|CLOCK|STANDING)-[A-Z][A-Z-]+)\b", prose))
    assert len(named) >= 4
    assert named - {"CSR-FORMAT"} <= rows


def test_every_rule_of_the_code_stands_in_the_policy_or_with_the_ceremonies() -> None:
    """Else a refusal's hint, that this document says what the rule wants, would be a lie."""
    written = POLICY + (CHECKOUT / "ceremonies/README.md").read_text()
    families = "|".join(sorted({rule.split("-")[0] for rule in re.findall(r"\b[A-Z]{2,}-[A-Z]+[A-Z-]*\b", written)}))
    lacking = {
        rule
        for path in (CHECKOUT / "src/sealwright").rglob("*.py")
        for rule in re.findall(rf'"((?:{families})(?:-[A-Z0-9]+)+)"', path.read_text())
        if not re.search(rf"(?<![A-Z-]){rule}(?![A-Z-])", written)
    }
    assert lacking == set()
