"""Records of older forms go on verifying, by the rules of their form; one of a form to come is said to be that."""

from pathlib import Path

import pytest

from ceremonies import Entries, copy_record, forge
from sealwright.ceremony.replay import verify_folder
from sealwright.errors import IntegrityError, NotReady

VECTORS = Path(__file__).parents[1] / "vectors/ceremony-v1"


@pytest.mark.parametrize("kind", ["root-genesis", "root-crl"])
def test_a_record_of_the_first_form_verifies(kind: str) -> None:
    findings = verify_folder(VECTORS / kind)
    assert (findings.kind, findings.mode, findings.version) == (kind, "REHEARSAL", 1)
    assert any("form 1" in line for line in findings.cannot_know)


def test_a_record_of_the_first_form_was_never_gone_on_with(tmp_path: Path) -> None:
    record = copy_record(VECTORS / "root-crl", tmp_path / "crl")

    def change(entries: Entries) -> None:
        entries.insert(20, {"entry": "resumed", "step": 6, "at": entries[19]["at"]})

    forge(record, change)
    with pytest.raises(IntegrityError, match="never continued"):
        verify_folder(record)


def test_a_record_is_not_made_one_of_another_form(tmp_path: Path) -> None:
    record = copy_record(VECTORS / "root-genesis", tmp_path / "genesis")
    forge(record, lambda entries: entries[0].update(version=2))
    with pytest.raises(IntegrityError):
        verify_folder(record)
    forge(record, lambda entries: entries[0].update(version=99))
    with pytest.raises(NotReady, match="has form 99"):
        verify_folder(record)
