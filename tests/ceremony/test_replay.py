"""A record is replayed without a token, and every change to it is found: also by somebody who can chain it again."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ceremonies import CHECKOUT, Cast, Domain, Entries, copy_record, forge, read_entries, write_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import load_record
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import Question
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse, resume
from sealwright.errors import IntegrityError, NotFound, NotReady, SealwrightError

pytestmark = pytest.mark.xdist_group("ceremony")


@pytest.fixture
def genesis(domain: Domain, tmp_path: Path) -> Path:
    return copy_record(domain.record(Kind.ROOT_GENESIS), tmp_path / "genesis")


@pytest.fixture
def issuing(domain: Domain, tmp_path: Path) -> Path:
    return copy_record(domain.record(Kind.ISSUING_CA), tmp_path / "issuing")


@pytest.mark.parametrize("kind", list(Kind))
def test_a_record_verifies_anywhere_with_no_token(
    domain: Domain, kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sealwright.hsm.module

    monkeypatch.delattr(sealwright.hsm.module, "Module")
    findings = verify_folder(copy_record(domain.record(kind), tmp_path / "elsewhere"))
    assert findings.kind is kind
    assert findings.head == domain.records[kind].head
    assert any("one unbroken chain" in claim for claim in findings.claims)
    assert findings.cannot_know


def drop(entries: Entries) -> None:
    del entries[len(entries) // 2]


def double(entries: Entries) -> None:
    entries.insert(10, entries[10])


def swap(entries: Entries) -> None:
    entries[20], entries[21] = entries[21], entries[20]


@pytest.mark.parametrize("change", [drop, double, swap])
def test_a_line_dropped_doubled_or_swapped_breaks_the_chain(genesis: Path, change: Callable[[Any], None]) -> None:
    lines = (genesis / "transcript.jsonl").read_bytes().splitlines(keepends=True)
    change(lines)
    (genesis / "transcript.jsonl").write_bytes(b"".join(lines))
    with pytest.raises(IntegrityError, match="transcript line"):
        verify_folder(genesis)


@pytest.mark.parametrize("change", [drop, double, swap])
def test_and_chained_again_it_is_not_what_the_script_gives(genesis: Path, change: Callable[[Entries], None]) -> None:
    forge(genesis, change)
    with pytest.raises(IntegrityError, match="transcript"):
        verify_folder(genesis)


def test_a_byte_flipped_in_any_line_is_found(genesis: Path) -> None:
    path = genesis / "transcript.jsonl"
    good = path.read_bytes()
    place = 0
    for line in good.splitlines(keepends=True):
        middle = place + len(line) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        with pytest.raises(IntegrityError):
            verify_folder(genesis)
        place += len(line)


# Observed on the day by people or tokens: no computation gives them again (``cannot_know``).
OBSERVED = {
    ("header", "software"),
    ("header", "rehearsal"),
    ("header", "attended"),
    ("answer", "answer"),
    ("result", "serial"),
    ("result", "label"),
    ("result", "model"),
    ("result", "manufacturer"),
    ("verified", "version"),
    ("path", "version"),
    ("present", "key"),
    ("share", "number"),
    ("share", "missing"),
    ("stopped", "message"),
    ("result", "shortest_pin"),
    ("result", "longest_pin"),
}


def other(value: Any) -> Any:
    """Another value of the same type."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return ("0" if value[:1] != "0" else "1") + value[1:]
        case list():
            return [*value, "more"]
        case dict():
            return {**value, "more": "0"}
        case _:
            return "something"


class Eventful(Cast):
    """A ceremony in which much happens: a wrong answer, a deviation, a stop; and ada brought her key."""

    def __init__(self) -> None:
        super().__init__(("ada: to use", ["deviation", "no"]), ("grace: to sign", ["deviation"]))
        self.stop = True

    def ask(self, question: Question) -> str:
        if "grace: to sign" in question.prompt and self.stop and not self.wrong["grace: to sign"]:
            self.stop = False
            raise KeyboardInterrupt
        return super().ask(question)

    def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
        return super().sign(name, namespace, message, key, required=name == "ada")

    def own_key(self, name: str, *, required: bool) -> str | None:
        return super().own_key(name, required=True)


@pytest.fixture(scope="module")
def eventful(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record with every kind of entry that a quiet ceremony has not."""
    folder = tmp_path_factory.mktemp("eventful") / "crl"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now(), previous=records[-1])
    people = Eventful()
    with pytest.raises(KeyboardInterrupt):
        rehearse(folder, people=people)
    return resume(folder / "rehearsal-1", people=people).path


def test_deviations_are_written_down_and_agreed_to_by_two_and_waive_nothing(eventful: Path) -> None:
    findings, entries = verify_folder(eventful), read_entries(eventful)
    assert any("2 deviations were written down" in claim for claim in findings.claims)
    place = next(n for n, entry in enumerate(entries) if entry["entry"] == "deviation")
    after = [(entry["role"], entry["accepted"]) for entry in entries[place + 1 : place + 8]]
    assert after == [
        *[("administrator", True)] * 4,
        ("witness", True),
        ("officer", False),  # the question is asked again, and a wrong answer is one
        ("officer", True),
    ]


NAMED = r"transcript line \d+|transcript's header|transcript has form|done again|prepared|output|production"


def all_records(domain: Domain, eventful: Path) -> list[Path]:
    return [*(domain.record(kind) for kind in Kind), eventful]


def fields(entries: Entries) -> Iterator[tuple[int, tuple[str, str, str]]]:
    for place, entry in enumerate(entries):
        for name in sorted(set(entry) - {"n", "prev", "at", "entry"}):
            yield place, (entry["entry"], entry.get("operation", ""), name)


def test_every_kind_of_entry_that_the_code_records_is_among_the_mutated_ones(domain: Domain, eventful: Path) -> None:
    """So that whoever adds one adds it to a record here."""
    code = "".join(path.read_text() for path in (CHECKOUT / "src/sealwright/ceremony").glob("*.py"))
    recorded = set(re.findall(r'\.record\(\s*"([a-z-]+)"', code))
    assert {entry["entry"] for record in all_records(domain, eventful) for entry in read_entries(record)} == recorded
    operations = {
        e["operation"] for record in all_records(domain, eventful) for e in read_entries(record) if "operation" in e
    }
    intended = set(re.findall(r'\.intend\(\s*"([a-z-]+)"', code)) | {"open-again"}
    assert operations - {"sign-certificate", "sign-crl", "sign-request", "sign-answers"} == intended


def test_one_change_for_every_field_of_every_kind_of_entry_is_found_and_named(
    domain: Domain, eventful: Path, tmp_path: Path
) -> None:
    seen: set[tuple[str, str, str]] = set()
    missed, vague = [], []
    for number, original in enumerate(all_records(domain, eventful)):
        record = copy_record(original, tmp_path / str(number))
        good = read_entries(record)
        for place, key in fields(good):
            name = key[2]
            if (key[0], name) in OBSERVED or key in seen:
                continue
            seen.add(key)
            entries = [dict(each) for each in good]
            entries[place][name] = other(entries[place][name])
            write_entries(record, entries)
            try:
                verify_folder(record)
            except (IntegrityError, NotReady) as error:  # NotReady: of a form that does not exist yet
                named = re.search(NAMED, error.message)
                vague += [] if named or name in error.message else [(key, error.message)]
            else:
                missed.append(key)
    assert (missed, vague) == ([], [])
    assert len(seen) > 100


@pytest.mark.slow
def test_a_value_of_another_type_is_found_and_never_a_crash(domain: Domain, tmp_path: Path) -> None:
    for kind in (Kind.TOKEN_INIT, Kind.ROOT_GENESIS, Kind.ISSUING_CA):
        record = copy_record(domain.record(kind), tmp_path / kind)
        good, seen = read_entries(record), set()
        for place, entry in enumerate(good):
            for name in sorted(set(entry) - {"n", "prev"}):
                key = (entry["entry"], entry.get("operation"), name)
                if key in seen:
                    continue
                seen.add(key)
                for value in (None, {"a": []}, ""):
                    entries = [dict(each) for each in good]
                    entries[place][name] = value
                    write_entries(record, entries)
                    if value == entry[name] or ((entry["entry"], name) in OBSERVED and value == ""):
                        continue  # it is null already; a label may be empty, for all that can be known
                    with pytest.raises(SealwrightError):
                        verify_folder(record)


def test_a_field_that_was_added_or_taken_away_is_found(genesis: Path) -> None:
    good = read_entries(genesis)
    for change in (lambda entry: entry.update(note="x"), lambda entry: entry.pop("step")):
        entries = [dict(each) for each in good]
        change(entries[12])
        write_entries(genesis, entries)
        with pytest.raises(IntegrityError, match="field"):
            verify_folder(genesis)


def test_an_accepted_answer_that_was_wrong_is_found(genesis: Path) -> None:
    def change(entries: Entries) -> None:
        consent = next(entry for entry in entries if "type exactly" in str(entry.get("question")))
        consent["answer"] = "no, never"

    forge(genesis, change)
    with pytest.raises(IntegrityError, match="accepted"):
        verify_folder(genesis)


def test_a_key_that_is_not_the_one_in_the_certificate_is_found(domain: Domain, genesis: Path) -> None:
    def change(entries: Entries) -> None:
        made = next(entry for entry in entries if "spki" in entry)
        others = read_entries(domain.record(Kind.ISSUING_KEY))
        made["spki"] = next(entry for entry in others if "spki" in entry)["spki"]

    forge(genesis, change)
    with pytest.raises(IntegrityError):
        verify_folder(genesis)


def test_a_rehearsal_cannot_be_made_production(genesis: Path) -> None:
    def change(entries: Entries) -> None:
        entries[0] |= {"mode": "PRODUCTION", "rehearsal": "0" * 64, "attended": True}

    forge(genesis, change)
    with pytest.raises(IntegrityError):
        verify_folder(genesis)


def test_time_that_runs_backwards_is_found(genesis: Path) -> None:
    forge(genesis, lambda entries: entries[5].update(at="2020-01-01T00:00:00Z"))
    with pytest.raises(IntegrityError, match="before the line before it"):
        verify_folder(genesis)


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, rule in KINDS.items() for name in rule.outputs])
def test_every_output_that_was_changed_is_named(domain: Domain, tmp_path: Path, kind: Kind, name: str) -> None:
    record = copy_record(domain.record(kind), tmp_path / "record")
    path = record / "outputs" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=re.escape(name)):
        verify_folder(record)


@pytest.mark.parametrize("name", ["root.pem", "register.json"])
def test_an_output_that_is_missing_or_strange_is_found(genesis: Path, name: str) -> None:
    (genesis / "outputs" / name).rename(genesis / "outputs" / f"other-{name}")
    with pytest.raises(IntegrityError):
        verify_folder(genesis)


def test_a_file_that_was_laid_beside_the_outputs_is_found(genesis: Path) -> None:
    (genesis / "outputs/second-root.pem").write_bytes((genesis / "outputs/root.pem").read_bytes())
    with pytest.raises(IntegrityError, match=r"second-root\.pem"):
        verify_folder(genesis)


@pytest.mark.parametrize(
    "name", ["transcript.jsonl", "script.toml", "inputs/root.toml", "outputs/root.pem", "outputs", "signatures"]
)
def test_a_link_leads_out_of_the_record_and_is_refused(genesis: Path, name: str) -> None:
    """Also where it leads to the very same file: a copy of the record would lack it, or have another."""
    place, elsewhere = genesis / name, genesis.parent / "elsewhere"
    if name == "signatures":
        elsewhere.mkdir()
    else:
        place.rename(elsewhere)
    place.symlink_to(elsewhere)
    with pytest.raises(IntegrityError, match=f"{re.escape(name)} is a link: a record holds its files itself"):
        verify_folder(genesis)


@pytest.mark.parametrize("name", ["transcript.jsonl", "script.toml", "outputs/root.pem", "signatures/ada.sig"])
def test_a_pipe_in_a_record_is_refused_and_not_waited_for(genesis: Path, name: str) -> None:
    (genesis / "signatures").mkdir()
    (genesis / name).unlink(missing_ok=True)
    os.mkfifo(genesis / name)
    with pytest.raises(IntegrityError, match=f"{re.escape(name)} is no file"):
        verify_folder(genesis)


@pytest.mark.parametrize("name", ["r\u043e\u043et.pem", "a\nb", "\x1b[2J", "a\u202eb", os.fsdecode(b"\xff")])
def test_a_name_that_looks_like_another_or_steers_the_terminal_is_refused_in_plain_letters(
    genesis: Path, name: str
) -> None:
    (genesis / "outputs" / name).write_bytes(b"")
    with pytest.raises(IntegrityError, match="whose name is not plain: outputs/") as refused:
        verify_folder(genesis)
    assert refused.value.message.isascii()
    assert refused.value.message.isprintable()


def test_the_software_s_name_in_a_header_is_a_plain_one(genesis: Path) -> None:
    forge(genesis, lambda entries: entries[0]["software"].update(version="1.0\x1b[2J"))
    with pytest.raises(IntegrityError, match="does not name the software"):
        verify_folder(genesis)


def test_another_crl_by_the_same_root_is_not_this_ceremony_s(domain: Domain, genesis: Path) -> None:
    shutil.copyfile(domain.record(Kind.ROOT_CRL) / "outputs/root.crl", genesis / "outputs/root.crl")
    with pytest.raises(IntegrityError, match=r"root\.crl"):
        verify_folder(genesis)


@pytest.mark.parametrize("name", ["script.toml", "site.toml", "prepared.json", "inputs/pki.toml", "inputs/root.toml"])
def test_what_the_header_pins_cannot_be_changed(genesis: Path, name: str) -> None:
    path = genesis / name
    if name == "prepared.json":
        path.write_bytes(path.read_bytes().replace(b'"kind":"root-genesis"', b'"kind":"root-crl"'))
    else:
        path.write_bytes(path.read_bytes() + b"\n# a word more\n")
    with pytest.raises(IntegrityError):
        verify_folder(genesis)


@pytest.mark.parametrize("name", ["issuing.csr", "root.pem", "register.json", "anchor.json"])
def test_inputs_of_the_issuing_ca_cannot_be_changed(issuing: Path, name: str) -> None:
    path = issuing / "inputs" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=name):
        verify_folder(issuing)


def test_a_transcript_cut_in_a_line_or_at_a_line_has_no_end(genesis: Path) -> None:
    path = genesis / "transcript.jsonl"
    good = path.read_bytes()
    path.write_bytes(good[:-20])
    with pytest.raises(IntegrityError, match="cut"):
        verify_folder(genesis)
    path.write_bytes(b"".join(good.splitlines(keepends=True)[:30]))
    with pytest.raises(NotReady, match="no end"):
        verify_folder(genesis)


def test_a_ceremony_that_stopped_has_no_outputs_to_load(genesis: Path) -> None:
    entries = cut_short(genesis, 20)
    with pytest.raises(IntegrityError, match="has outputs nevertheless"):
        load_record(genesis)
    shutil.rmtree(genesis / "outputs")
    with pytest.raises(NotReady, match=f"stopped at step {entries[-1]['step']}: refused"):
        load_record(genesis)


def cut_short(record: Path, after: int) -> Entries:
    """As if it had stopped after so many lines."""
    entries = read_entries(record)[:after]
    stop = {"at": entries[-1]["at"], "step": entries[-1]["step"], "error": "WrongPin", "message": "refused"}
    write_entries(record, [*entries, {**stop, "entry": "stopped"}])
    return read_entries(record)


def test_what_came_before_a_stop_is_done_again_too(genesis: Path) -> None:
    """Nobody loads such a record, and an auditor asks it why there were two."""
    shutil.rmtree(genesis / "outputs")
    cut_short(genesis, 30)
    good = read_entries(genesis)
    for place, name, value, said in (
        (next(n for n, each in enumerate(good) if each["entry"] == "answer"), "answer", "mallory", "done again"),
        (10, "step", 3, "line 11"),
        (len(good) - 1, "step", 2, "says step is 2"),
    ):
        entries = [dict(each) for each in good]
        entries[place][name] = value
        write_entries(genesis, entries)
        with pytest.raises(IntegrityError, match=said):
            verify_folder(genesis)


def test_a_folder_that_is_no_record_says_where_the_records_are(domain: Domain) -> None:
    with pytest.raises(NotFound) as refused:
        verify_folder(domain.record(Kind.ROOT_GENESIS).parent)
    assert "rehearsal-1" in refused.value.hint


@pytest.mark.parametrize("text", [b"", b"\n", b"{}\n", b"[]\n", b'{"n": 0}\n', b"\xff\n", b"{" * 70000 + b"\n"])
def test_garbage_for_a_transcript_is_an_error_and_not_a_crash(genesis: Path, text: bytes) -> None:
    (genesis / "transcript.jsonl").write_bytes(text)
    with pytest.raises(SealwrightError):
        verify_folder(genesis)
