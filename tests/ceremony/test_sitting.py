"""A ceremony that takes place: people who err, tokens that are not there, files that were changed; and production."""

import base64
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ceremonies import Cast, Domain, read_entries, write_entries
from sealwright.ceremony import sitting
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.check import check
from sealwright.ceremony.clock import format_time, parse_time, utc_now
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.officers import Officers
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import load_record
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import Question
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse, run
from sealwright.errors import (
    Conflict,
    InputError,
    IntegrityError,
    NotFound,
    NotReady,
    PolicyViolation,
    TokenNotFound,
    WrongPin,
)
from sealwright.hsm.module import Module
from sealwright.hsm.pin import Pin
from sealwright.statements.anchor import load_anchor
from sealwright.statements.ssh_wire import pack
from softhsm import TokenFactory

pytestmark = pytest.mark.xdist_group("ceremony")


@pytest.fixture
def crl(domain: Domain, tmp_path: Path) -> Path:
    """A prepared root-crl ceremony of the domain: its token is there, so it can be performed again and again."""
    folder = tmp_path / "crl"
    before = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ROOT_CRL)]
    new_folder(
        Kind.ROOT_CRL,
        folder,
        ca=domain.ca,
        records=[before[0], domain.record(Kind.ISSUING_CA), before[1]],
        site=domain.site,
    )
    prepare(folder, at=utc_now(), previous=before[1])
    return folder


def last(record: Path) -> dict[str, object]:
    return read_entries(record)[-1]


def test_people_are_asked_and_everything_they_need_is_shown(crl: Path) -> None:
    people = Cast()
    record = rehearse(crl, people=people)
    told = "\n".join(people.told)
    assert "REHEARSAL · step 1 of 16 · attendance" in told
    rows = re.search(r"to-be-signed bytes of root\.crl, SHA-256:\n((?:  [1-8]  [0-9a-f]{8}(?:  \w+){4}\n?){8})", told)
    assert rows is not None
    assert max(len(row) for row in rows[1].splitlines()) < 80
    assert any("ada: to use the token root, type exactly: open the root" in asked for asked in people.asked)
    assert record.read("root.crl")


def test_two_wrong_answers_are_recorded_and_the_third_counts(crl: Path) -> None:
    record = rehearse(crl, people=Cast(("ada: to sign", ["sign the root", "yes"])))
    answers = [entry for entry in read_entries(record.path) if "ada: to sign" in str(entry.get("question"))]
    assert [(entry["try"], entry["accepted"]) for entry in answers] == [(1, False), (2, False), (3, True)]
    assert answers[0]["answer"] == "sign the root"
    load_record(record.path)


def test_three_wrong_answers_end_the_ceremony_with_nothing_promoted(crl: Path) -> None:
    with pytest.raises(PolicyViolation, match="3 answers") as refused:
        rehearse(crl, people=Cast(("ada: to sign", ["no"] * 3)))
    assert refused.value.rule == "CER-ANSWER"
    record = crl / "rehearsal-1"
    assert last(record)["entry"] == "stopped"
    assert not (record / "outputs").exists()
    with pytest.raises(NotReady, match="stopped at step"):
        load_record(record)


def test_a_pin_that_was_typed_in_the_wrong_place_does_not_reach_the_transcript(crl: Path) -> None:
    record = rehearse(crl, people=Cast(("type exactly: open the root", ["open hunter2! the 4711-secret root"])))
    text = (record.path / "transcript.jsonl").read_text()
    assert "hunter2" not in text
    assert "4711-secret" not in text
    assert '"answer":"open ... the ... root"' in text
    assert "hunter2" not in (record.path / "record.html").read_text()


@pytest.mark.parametrize(
    ("prompt", "wrong"),
    [
        ("Which officers", "ada"),
        ("Which officers", "ada, ada"),
        ("Which officers", "ada, mallory"),
        ("Which officers", "ada grace"),
        ("Who is the witness", "rehearsal-operator"),
        ("Who is the witness", "ada"),
        ("Who is the witness", ""),
        ("first 2 and last 2 words", "topmost Istanbul Pluto vagabond"),
    ],
)
def test_an_answer_that_is_not_what_was_wanted_is_not_accepted(crl: Path, prompt: str, wrong: str) -> None:
    record = rehearse(crl, people=Cast((prompt, [wrong])))
    first = next(entry for entry in read_entries(record.path) if prompt in str(entry.get("question")))
    assert (first["try"], first["accepted"]) == (1, False)


def test_a_csr_that_is_not_the_one_on_the_paper_is_never_signed(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "issuing"
    records = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ISSUING_KEY)]
    new_folder(Kind.ISSUING_CA, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now())
    with pytest.raises(PolicyViolation, match="if the paper has others, it is another file"):
        rehearse(
            folder, people=Cast(("PAPER", ["topmost Istanbul Pluto vagabond afflict bravado chatter revolver"] * 3))
        )
    assert not [entry for entry in read_entries(folder / "rehearsal-1") if entry["entry"] == "intent"]


def test_a_wrong_pin_is_tried_once_and_ends_the_ceremony(domain: Domain, crl: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pin"
    wrong.write_text("not-the-pin\n")
    wrong.chmod(0o600)
    site = (crl / "site.toml").read_text().replace(str(domain.pin_file("root")), str(wrong))
    (crl / "site.toml").write_text(site)
    with pytest.raises(WrongPin) as refused:
        rehearse(crl, unattended=True)
    record = crl / "rehearsal-1"
    assert f"(the record of what was done is {record})" in refused.value.hint
    assert [entry["operation"] for entry in read_entries(record) if entry["entry"] == "intent"][-1] == "open-token"
    assert last(record)["error"] == "WrongPin"
    assert "not-the-pin" not in (record / "transcript.jsonl").read_text()
    assert rehearse_again(domain, crl, wrong)


def rehearse_again(domain: Domain, crl: Path, wrong: Path) -> Path:
    """With the right PIN it goes well, in a record of its own."""
    site = (crl / "site.toml").read_text().replace(str(wrong), str(domain.pin_file("root")))
    (crl / "site.toml").write_text(site)
    return rehearse(crl, unattended=True).path


def test_a_pin_file_that_others_can_read_is_refused(domain: Domain, crl: Path, tmp_path: Path) -> None:
    loose = tmp_path / "loose.pin"
    shutil.copyfile(domain.pin_file("root"), loose)
    loose.chmod(0o644)
    (crl / "site.toml").write_text((crl / "site.toml").read_text().replace(str(domain.pin_file("root")), str(loose)))
    with pytest.raises(InputError, match="0644"):
        rehearse(crl, unattended=True)


def test_a_token_that_is_not_there_is_said_before_anything_is_recorded(crl: Path) -> None:
    site = (crl / "site.toml").read_text().replace("[tokens.root]\n", '[tokens.root]\nserial = "0123456789abcdef"\n')
    (crl / "site.toml").write_text(site)
    with pytest.raises(TokenNotFound, match="0123456789abcdef") as refused:
        rehearse(crl, unattended=True)
    assert "rehearse the ceremony that makes its key first" in refused.value.hint
    assert not list(crl.glob("rehearsal-*"))


def test_a_second_root_is_not_made_on_the_token_of_the_first(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers, site=domain.site)
    prepare(folder, at=utc_now())
    with pytest.raises(PolicyViolation, match="the token root holds 1 private key; wanted 0") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-TOKEN-KEYS"


@pytest.mark.parametrize("name", ["pki.toml", "anchor.json", "root.pem", "root.crl", "register.json"])
def test_an_input_that_was_changed_after_preparation_stops_it_before_the_token(crl: Path, name: str) -> None:
    path = crl / "inputs" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=f"input {re.escape(name)} was changed after preparation"):
        rehearse(crl, unattended=True)
    assert not list(crl.glob("rehearsal-*"))


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, rule in KINDS.items() for name in rule.inputs])
def test_one_byte_of_any_input_after_prepare_stops_it_before_the_token(
    domain: Domain, tmp_path: Path, kind: Kind, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is reviewed is what is signed: for each input of each kind."""
    folder = tmp_path / kind
    ready = domain.record(kind).parent
    shutil.copytree(ready, folder, ignore=shutil.ignore_patterns("rehearsal-*", "production-*"))
    path = folder / "inputs" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr(Module, "calling", lambda *_: pytest.fail("the token was touched"))
    monkeypatch.setattr(sitting, "find_rehearsal", lambda *_: "0" * 64)
    perform = (
        lambda: rehearse(folder, unattended=True),
        lambda: run(folder, people=Cast(), pin_of=lambda _: Pin("1234")),
    )
    for act in perform:
        with pytest.raises(IntegrityError, match=f"input {re.escape(name)} was changed after preparation"):
            act()
    assert not list(folder.glob("*-1"))


def test_a_script_that_was_changed_after_preparation_stops_it(crl: Path) -> None:
    path = crl / "script.toml"
    path.write_text(path.read_text() + "# one word more\n")
    with pytest.raises(IntegrityError, match=r"script\.toml was changed after preparation"):
        rehearse(crl, unattended=True)


def test_a_tool_that_is_not_installed_is_said_with_the_step_that_needs_it(
    crl: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match=r"step 14 \(verify-with-second-implementation\) needs openssl"):
        check(crl)


def test_stopping_it_by_hand_is_recorded_and_promotes_nothing(crl: Path) -> None:
    class Stops(Cast):
        def ask(self, question: Question) -> str:
            if "to sign root.crl" in question.prompt:
                raise KeyboardInterrupt
            return super().ask(question)

    with pytest.raises(KeyboardInterrupt):
        rehearse(crl, people=Stops())
    assert (last(crl / "rehearsal-1")["entry"], last(crl / "rehearsal-1")["error"]) == ("stopped", "KeyboardInterrupt")
    assert not (crl / "rehearsal-1/outputs").exists()


def test_a_record_that_exists_is_never_overwritten(crl: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    rehearse(crl, unattended=True, record=record)
    before = {path: path.read_bytes() for path in record.rglob("*") if path.is_file()}
    with pytest.raises(Conflict, match="exists already"):
        rehearse(crl, unattended=True, record=record)
    assert {path: path.read_bytes() for path in record.rglob("*") if path.is_file()} == before


def test_what_is_not_prepared_or_lacks_an_input_is_not_ready(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "genesis"
    assert new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca) == ("officers.toml",)
    with pytest.raises(NotFound, match=r"lacks officers\.toml"):
        prepare(folder, at=utc_now())
    shutil.copyfile(domain.officers["officers.toml"], folder / "inputs/officers.toml")
    with pytest.raises(NotReady, match="not prepared"):
        check(folder)
    (folder / "inputs/notes.txt").write_text("strange")
    with pytest.raises(InputError, match=r"notes\.txt"):
        prepare(folder, at=utc_now())


def test_without_a_store_the_tokens_are_thrown_away(domain: Domain, tmp_path: Path) -> None:
    """In a process of its own, because a process has one SoftHSM store."""
    import subprocess
    import sys

    folder = tmp_path / "genesis"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers)
    prepare(folder, at=utc_now())
    command = [sys.executable, "-m", "sealwright.cli.ceremony", "rehearse", str(folder), "--unattended"]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        command, env={"TMPDIR": str(scratch), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(scratch.iterdir()) == []


@pytest.fixture
def production(domain: Domain, tmp_path: Path, softhsm: TokenFactory) -> tuple[Path, Pin]:
    """A prepared root genesis with a real token, which here is SoftHSM's too, and nothing of a rehearsal's."""
    serial, pin = softhsm.new_token("vault root")
    site = tmp_path / "site.toml"
    site.write_text(f'module = "{softhsm.module_path}"\n[tokens.root]\nserial = "{serial}"\n')
    folder = tmp_path / "genesis"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers, site=site)
    prepare(folder, at=utc_now())
    return folder, pin


def test_the_folder_that_is_run_is_the_one_that_was_rehearsed(production: tuple[Path, Pin]) -> None:
    """In the room, with its site.toml: serial number and PIN file there are the real token's, and are left alone."""
    folder, pin = production
    site = folder / "site.toml"
    site.write_text(site.read_text() + 'pin_file = "not-for-rehearsals.pin"\n')
    command = [sys.executable, "-m", "sealwright.cli.ceremony", "rehearse", str(folder), "--unattended"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not (folder / "not-for-rehearsals.pin").exists()
    (folder / "not-for-rehearsals.pin").write_bytes(pin.reveal())
    (folder / "not-for-rehearsals.pin").chmod(0o400)
    record = run(folder, people=Cast())
    assert record.mode == "PRODUCTION"
    rehearsed, run_on = (
        next(entry["serial"] for entry in read_entries(each) if "serial" in entry)
        for each in (folder / "rehearsal-1", record.path)
    )
    assert f'serial = "{run_on}"' in site.read_text()
    assert rehearsed != run_on


def test_production_needs_a_rehearsal_of_the_very_same_script(
    domain: Domain, production: tuple[Path, Pin], tmp_path: Path
) -> None:
    folder, pin = production
    with pytest.raises(NotReady, match="no rehearsal of this script"):
        run(folder, people=Cast(), pin_of=lambda _: pin)
    rehearsal = domain.record(Kind.ROOT_GENESIS)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "script.toml").write_text((other / "script.toml").read_text() + "# one word more\n")
    prepare(other, at=utc_now())
    with pytest.raises(NotReady, match="of another script"):
        run(other, people=Cast(), rehearsals=(rehearsal,), pin_of=lambda _: pin)
    broken = tmp_path / "broken"
    shutil.copytree(rehearsal, broken)
    (broken / "outputs/root.pem").unlink()
    with pytest.raises(NotReady, match="broken: "):
        run(folder, people=Cast(), rehearsals=(broken,), pin_of=lambda _: pin)

    people = Cast()
    record = run(folder, people=people, rehearsals=(rehearsal,), pin_of=lambda _: pin)
    assert record.mode == "PRODUCTION"
    assert b"REHEARSAL" not in record.read("anchor.json")
    pinned = next(text for text in people.told if text.startswith("PKI id "))
    anchor = load_anchor(record.read("anchor.json"))
    assert anchor.pki_id in pinned
    assert all(f"{each.name}  ssh-ed25519 {each.key.fingerprint}" in pinned for each in anchor.people)
    header = read_entries(record.path)[0]
    assert header["rehearsal"] == domain.records[Kind.ROOT_GENESIS].head
    with pytest.raises(Conflict, match="the outputs exist"):
        run(folder, people=Cast(), rehearsals=(rehearsal,), pin_of=lambda _: pin)
    with pytest.raises(Conflict, match="performed already"):
        prepare(folder, at=utc_now())


def test_production_never_touches_a_rehearsal_s_token_and_a_rehearsal_never_a_real_one(
    domain: Domain, production: tuple[Path, Pin]
) -> None:
    folder, pin = production
    from sealwright.ceremony.register import parse_register

    serial = parse_register(domain.records[Kind.ROOT_GENESIS].read("register.json")).root.token_serial
    site = re.sub('serial = ".*"', f'serial = "{serial}"', (folder / "site.toml").read_text())
    (folder / "site.toml").write_text(site)
    with pytest.raises(PolicyViolation, match="labelled 'REHEARSAL root', and this is PRODUCTION") as refused:
        run(folder, people=Cast(), rehearsals=(domain.record(Kind.ROOT_GENESIS),), pin_of=lambda _: pin)
    assert refused.value.rule == "CER-MODE"


def test_what_came_out_of_a_rehearsal_is_never_run_in_production(crl: Path) -> None:
    with pytest.raises(IntegrityError, match="prepared for REHEARSAL, and this is PRODUCTION"):
        run(crl, people=Cast(), pin_of=lambda _: Pin("1234"))


def test_production_keeps_to_the_day_it_was_prepared_for(domain: Domain, production: tuple[Path, Pin]) -> None:
    folder, pin = production
    for at in (utc_now() - timedelta(days=31), utc_now() + timedelta(days=2)):
        prepare(folder, at=at)
        with pytest.raises(PolicyViolation) as refused:
            run(folder, people=Cast(), rehearsals=(domain.record(Kind.ROOT_GENESIS),), pin_of=lambda _: pin)
        assert refused.value.rule == "CER-WHEN"


def test_a_production_record_of_another_day_does_not_verify(domain: Domain, production: tuple[Path, Pin]) -> None:
    folder, pin = production
    rehearsal = domain.record(Kind.ROOT_GENESIS)
    record = run(folder, people=Cast(), rehearsals=(rehearsal,), pin_of=lambda _: pin).path
    entries = read_entries(record)
    for days, gone_on in ((31, False), (-2, False), (31, True)):
        moved = [{**each, "at": format_time(parse_time(each["at"], "at") + timedelta(days=days))} for each in entries]
        if gone_on:
            moved[:20] = [*entries[:20], {"entry": "resumed", "step": entries[19]["step"], "at": moved[19]["at"]}]
        write_entries(record, moved)
        with pytest.raises(IntegrityError, match="CER-WHEN"):
            verify_folder(record)


def test_production_takes_tokens_by_serial_number_only(domain: Domain, production: tuple[Path, Pin]) -> None:
    folder, pin = production
    (folder / "site.toml").write_text(re.sub("serial = .*", "", (folder / "site.toml").read_text()))
    with pytest.raises(InputError, match=r"does not say \[tokens\.root\] serial"):
        run(folder, people=Cast(), rehearsals=(domain.record(Kind.ROOT_GENESIS),), pin_of=lambda _: pin)


def test_one_fido_key_under_two_applications_is_not_two_officers() -> None:
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    lines = [
        f"sk-ssh-ed25519@openssh.com {base64.b64encode(pack(b'sk-ssh-ed25519@openssh.com', raw, name)).decode()}"
        for name in (b"ssh:", b"ssh:other")
    ]
    with pytest.raises(PolicyViolation, match="CER-QUORUM"):
        Officers.of(zip(("ada", "ben"), lines, strict=True), 2)
