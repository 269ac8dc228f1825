"""Three people: two officers, who also lead and handle the token where the script lets them, and a witness."""

from pathlib import Path

import pytest

from ceremonies import Cast, Domain, read_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.check import check
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import load_record
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse
from sealwright.errors import PolicyViolation

pytestmark = pytest.mark.xdist_group("ceremony")


def folder_with(domain: Domain, folder: Path, *roles: str) -> Path:
    before = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ROOT_CRL)]
    records = [before[0], domain.record(Kind.ISSUING_CA), before[1]]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    script = folder / "script.toml"
    text = script.read_text()
    for role in roles:
        text = text.replace(f'role = "{role}"\ndoes', f'role = "{role}"\nmay_be_officer = true\ndoes')
    script.write_text(text)
    prepare(folder, at=utc_now(), previous=before[1])
    return folder


THREE = (("Who is the administrator", ["ada"]), ("Who is the operator", ["ben"]))


def test_two_officers_and_a_witness_are_enough_where_the_script_says_so(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "crl", "administrator", "operator")
    people = Cast(*THREE)
    record = rehearse(folder, people=people)
    assert load_record(record.path).kind == Kind.ROOT_CRL
    assert {"ada", "ben"} <= {str(entry.get("answer")) for entry in read_entries(record.path)}


def test_elsewhere_nobody_is_two_of_them(domain: Domain, tmp_path: Path) -> None:
    folder = folder_with(domain, tmp_path / "crl", "administrator")
    with pytest.raises(PolicyViolation) as refused:
        rehearse(folder, people=Cast(THREE[0], ("Who is the operator", ["ada"] * 3)))
    assert refused.value.rule == "CER-ANSWER"


def test_the_witness_is_never_an_officer(domain: Domain, tmp_path: Path) -> None:
    with pytest.raises(PolicyViolation, match="witness may not be an officer") as refused:
        check(folder_with(domain, tmp_path / "crl", "witness"))
    assert refused.value.rule == "CER-ROLES"
