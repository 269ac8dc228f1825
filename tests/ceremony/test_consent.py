"""What officers agree to, they sign with their own keys, and so do officers and witness the whole record."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from ceremonies import Cast, Domain, Entries, copy_record, forge, own_key, public_line, read_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.consent import CONSENT
from sealwright.ceremony.people import TerminalPeople
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord, load_record
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.script import Kind
from sealwright.ceremony.signing import RECORD
from sealwright.ceremony.sitting import rehearse, resume, run, sign_record
from sealwright.errors import InputError, IntegrityError, NotFound, NotReady, PolicyViolation
from sealwright.statements.ssh_sign import sign_with_key

pytestmark = pytest.mark.xdist_group("ceremony")


def production(domain: Domain, folder: Path, people: Cast) -> CeremonyRecord:
    """A root genesis with a token of its own."""
    serial, pin = domain.softhsm.new_token("vault")
    site = folder.with_suffix(".toml")
    site.write_text(f'module = "{domain.softhsm.module_path}"\n[tokens.root]\nserial = "{serial}"\n')
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers, site=site)
    prepare(folder, at=utc_now())
    return run(folder, people=people, rehearsals=(domain.record(Kind.ROOT_GENESIS),), pin_of=lambda _: pin)


@pytest.fixture(scope="module")
def signed(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> tuple[CeremonyRecord, Cast]:
    people = Cast()
    return production(domain, tmp_path_factory.mktemp("signed") / "genesis", people), people


@pytest.fixture
def record(signed: tuple[CeremonyRecord, Cast], tmp_path: Path) -> Path:
    return copy_record(signed[0].path, tmp_path / "record")


def test_each_consent_is_signed_over_what_is_agreed_and_all_before_it(signed: tuple[CeremonyRecord, Cast]) -> None:
    done, people = signed
    entries = read_entries(done.path)
    messages = [json.loads(message) for _, namespace, message in people.signed if namespace == CONSENT]
    assert [(each["officer"], each["to"]) for each in messages] == [
        (name, to) for to in ("use-token", "sign", "sign") for name in ("ada", "grace")
    ]
    places = [n for n, entry in enumerate(entries) if entry["entry"] == "signature"]
    assert [entries[place]["prev"] for place in places] == [each["head"] for each in messages]
    assert messages[2]["tbs_sha256"] == next(e["sha256"] for e in entries if e["entry"] == "drafted")
    assert messages[0]["serial"] == next(e["serial"] for e in entries if "model" in e)
    heads = [(name, json.loads(message)["head"]) for name, namespace, message in people.signed if namespace == RECORD]
    assert heads == [(name, done.head) for name in ("ada", "grace", "rehearsal-witness")]


def test_verify_says_who_signed(record: Path) -> None:
    findings = verify_folder(record)
    assert [(each.name, each.role) for each in findings.signed] == [
        ("ada", "officer"),
        ("grace", "officer"),
        ("rehearsal-witness", "witness"),
    ]
    assert findings.unsigned == ""
    assert any("6 consents carry the officer's own signature" in claim for claim in findings.claims)
    assert any("the head is signed by ada (officer, SHA256:" in claim for claim in findings.claims)
    assert not any("nobody has signed" in line for line in findings.cannot_know)


def test_ssh_keygen_verifies_what_was_signed(signed: tuple[CeremonyRecord, Cast], tmp_path: Path) -> None:
    done, people = signed
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ada {public_line('ada')}\n")
    message = next(message for name, namespace, message in people.signed if (name, namespace) == ("ada", RECORD))
    signature = done.path / "signatures/ada.sig"
    subprocess.run(
        ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "ada", "-n", RECORD, "-s", signature],
        input=message,
        check=True,
        capture_output=True,
    )


def test_whoever_chains_the_lines_again_lacks_the_officers_keys(record: Path) -> None:
    """A change before a consent that no computation would find: the witness's name."""

    def rename(entries: Entries) -> None:
        for entry in entries:
            if entry.get("answer") == "rehearsal-witness":
                entry["answer"] = "mallory"
            if entry["entry"] == "present" and entry["role"] == "witness":
                entry["people"] = ["mallory"]

    forge(record, rename)
    with pytest.raises(IntegrityError, match=r"\(signature\) says accepted is True; done again it is False"):
        verify_folder(record)


def test_a_consent_of_another_ceremony_is_none_here(record: Path, domain: Domain, tmp_path: Path) -> None:
    other = read_entries(production(domain, tmp_path / "other", Cast()).path)

    def swap(entries: Entries) -> None:
        entry = next(entry for entry in entries if entry["entry"] == "signature")
        entry["signature"] = next(entry for entry in other if entry["entry"] == "signature")["signature"]

    forge(record, swap)
    with pytest.raises(IntegrityError, match="accepted"):
        verify_folder(record)


def test_somebody_else_s_key_is_refused_three_times_and_recorded(domain: Domain, tmp_path: Path) -> None:
    people = Cast()
    people.keys["grace"] = "mallory"
    with pytest.raises(PolicyViolation, match="3 signatures that were not by the key of grace") as refused:
        production(domain, tmp_path / "genesis", people)
    assert refused.value.rule == "CER-UNSIGNED"
    entries = read_entries(tmp_path / "genesis/production-1")
    assert [e["accepted"] for e in entries if e["entry"] == "signature" and e["by"] == "grace"] == [False] * 3
    assert not [entry for entry in entries if entry.get("operation") == "open-token"]


def test_the_witness_has_a_key_that_is_no_officer_s(domain: Domain, tmp_path: Path) -> None:
    people = Cast()
    people.keys["rehearsal-witness"] = "lin"
    with pytest.raises(PolicyViolation, match="has an officer's key"):
        production(domain, tmp_path / "genesis", people)


@pytest.mark.parametrize(("name", "lacking"), [("ada", "1 more of its officers"), ("rehearsal-witness", "its witness")])
def test_a_production_record_counts_when_quorum_and_witness_have_signed(record: Path, name: str, lacking: str) -> None:
    (record / f"signatures/{name}.sig").unlink()
    assert verify_folder(record).unsigned == lacking
    with pytest.raises(NotReady, match=f"is not signed yet by {lacking}"):
        load_record(record)
    sign_record(record, name, Cast())
    assert load_record(record)


@pytest.mark.parametrize(("name", "gives"), [("grace", "the anchor"), ("rehearsal-witness", "the transcript")])
def test_a_record_that_is_signed_with_somebody_else_s_key_is_a_slip_of_the_hand(
    record: Path, name: str, gives: str
) -> None:
    (record / f"signatures/{name}.sig").unlink()
    people = Cast()
    people.keys[name] = "ada"
    with pytest.raises(InputError, match="the signature was made by") as refused:
        sign_record(record, name, people)
    assert f"wants the key that {gives} gives to {name}" in refused.value.hint
    assert not (record / f"signatures/{name}.sig").exists()


def test_a_key_file_that_is_not_there_is_noticed_before_a_touch_is_asked_for(record: Path, tmp_path: Path) -> None:
    (record / "signatures/grace.sig").unlink()
    said = io.StringIO()
    with pytest.raises(NotFound, match="absent"):
        sign_record(record, "grace", TerminalPeople(said, key_files=lambda _: tmp_path / "absent"))
    assert said.getvalue() == ""


def test_resume_of_a_closed_record_asks_for_what_is_not_signed(record: Path) -> None:
    (record / "signatures/grace.sig").unlink()
    assert resume(record, people=Cast()).head == verify_folder(record).head
    assert (record / "signatures/grace.sig").is_file()


def test_a_signature_of_somebody_who_was_not_there_or_of_another_head_is_found(record: Path) -> None:
    with pytest.raises(NotFound, match="lin was not there"):
        sign_record(record, "lin", Cast())
    (record / "signatures/lin.sig").write_bytes((record / "signatures/ada.sig").read_bytes())
    with pytest.raises(IntegrityError, match=r"signatures/lin\.sig is of nobody"):
        verify_folder(record)
    (record / "signatures/lin.sig").unlink()
    (record / "signatures/grace.sig").write_bytes((record / "signatures/ada.sig").read_bytes())
    with pytest.raises(IntegrityError, match=r"signatures/grace\.sig"):
        verify_folder(record)
    message = b'{"head":"' + b"0" * 64 + b'","name":"grace","role":"officer"}'
    (record / "signatures/grace.sig").write_text(sign_with_key(own_key("grace"), RECORD, message))
    with pytest.raises(IntegrityError, match="does not verify"):
        verify_folder(record)


def test_a_consent_cannot_be_taken_out_of_a_production_record(record: Path) -> None:
    def unsign(entries: Entries) -> None:
        next(entry for entry in entries if entry["entry"] == "signature")["signature"] = None

    forge(record, unsign)
    with pytest.raises(IntegrityError, match="did not sign"):
        verify_folder(record)


def test_officers_sign_with_ssh_keygen_at_the_command_line(record: Path, tmp_path: Path) -> None:
    (record / "signatures/ada.sig").unlink()
    key = tmp_path / "id"
    key.touch(mode=0o600)
    form = serialization.PrivateFormat.OpenSSH
    key.write_bytes(own_key("ada").private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    key.with_suffix(".pub").write_text(public_line("ada") + "\n")

    def command(*arguments: str) -> tuple[int, str]:
        line = [sys.executable, "-m", "sealwright.cli.ceremony", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    code, said = command("verify", str(record))
    assert (code, "NOT SIGNED yet by 1 more of its officers: it does not count before" in said) == (10, True)
    code, said = command("sign", str(record), "--as", "ada", "--key", str(key))
    assert (code, "signed by ada" in said) == (0, True)
    assert command("verify", str(record), "--json")[0] == 0
    assert load_record(record)


def test_in_a_rehearsal_whoever_brought_a_key_signs(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "crl"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now(), previous=records[-1])

    class Brought(Cast):
        def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
            assert not required
            return super().sign(name, namespace, message, key, required=name == "ada")

    findings = verify_folder(rehearse(folder, people=Brought()).path)
    assert [each.name for each in findings.signed] == ["ada"]
    assert any("officers consented, 2 times: no key was brought" in line for line in findings.cannot_know)
