"""The power goes, anywhere: resume ends with one key, one certificate, one chain, and a record that tells it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ceremonies import Cast, Domain, Entries, forge, read_entries
from powerloss import Cut, cut_power
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse, resume
from sealwright.errors import Conflict, InputError, IntegrityError, NotReady, PolicyViolation, TokenNotFound

pytestmark = pytest.mark.xdist_group("ceremony")

KINDS_CUT = [
    kind
    for kind in Kind
    if kind not in (Kind.TOKEN_INIT, Kind.OFFICERS_CHANGE) and not any(map(KINDS[kind].is_copy, KINDS[kind].tokens))
]
"""Whose tokens are opened by PIN, in one store. Those of token-init: ``test_quorum``; copies: ``test_copies``, and
``test_destruction``."""


class Rooms:
    """As many rooms for one kind of ceremony as there are cases: each with a token store of its own."""

    def __init__(self, domain: Domain, kind: Kind, folder: Path) -> None:
        self._domain, self._kind, self._folder = domain, kind, folder
        self._prepared = folder / "prepared"
        new_folder(
            kind,
            self._prepared,
            ca=domain.ca_of(kind),
            records=domain.before(kind),
            inputs=domain.inputs_of(kind, folder),
        )
        prepare(self._prepared, at=utc_now())

    def room(self, name: str) -> Path:
        place = self._folder / name
        shutil.copytree(self._prepared, place)
        site = f'[rehearsal]\nsofthsm_conf = "{place}/store/softhsm2.conf"\n'
        rule = KINDS[self._kind]
        known = [name for name in rule.tokens if name not in rule.new_keys or name in rule.once]
        if known:
            shutil.copytree(self._domain.softhsm.tokens, place / "store/tokens")
        for token in known:
            stored = {"new-root": "root-3"}.get(token, token)
            site += f'[tokens.{token}]\nrehearsed_as = "{stored}"\npin_file = "{self._domain.pin_file(stored)}"\n'
        (place / "site.toml").write_text(site)
        return place


def cuts(entries: Entries, room: Callable[[str], Path], *, everywhere: bool) -> Iterator[Cut]:
    """Both sides of every action: with its intent on the disk, and done but not recorded.

    ``everywhere``: between any two lines, too; each third of them, for the time that it takes. After the last line
    there is nothing left to do.
    """
    for place, entry in enumerate(entries):
        told = "-".join(str(entry.get(part, "")) for part in ("entry", "operation", "token", "output")).strip("-")
        if entry["entry"] == "intent" or (everywhere and place % 3 == 0 and entry is not entries[-1]):
            yield Cut(f"{place}-after-{told}", str(room(f"{place}-after")), place, "after")
        if entry["entry"] in ("result", "written", "verified", "closed"):
            yield Cut(f"{place}-before-{told}", str(room(f"{place}-before")), place, "before")


def check_told(folder: str, times: int = 1) -> Entries:
    record = Path(folder) / "rehearsal-1"
    assert verify_folder(record).interruptions == times
    assert not (record / "quarantine").exists()
    entries = read_entries(record)
    assert sum(entry["entry"] == "resumed" for entry in entries) == times
    return entries


def test_the_power_goes_at_either_side_of_every_token_operation_of_a_genesis(domain: Domain, tmp_path: Path) -> None:
    rooms = Rooms(domain, Kind.ROOT_GENESIS, tmp_path)
    table = [
        cut
        for cut in cuts(read_entries(domain.record(Kind.ROOT_GENESIS)), rooms.room, everywhere=False)
        if any(word in cut.name for word in ("generate", "sign-certificate", "promote", "open-token", "close-token"))
    ]
    assert len(table) >= 10
    assert cut_power(table) == {}
    told = {cut.name.partition("-")[2]: check_told(cut.folder) for cut in table}
    adopted = {
        name: [entry["adopted"] for entry in entries if "adopted" in entry and str(entry["operation"]) in name]
        for name, entries in told.items()
    }
    # Done before the power went: taken over. Not done: done now. Never twice.
    assert adopted["before-result-generate-key-root"] == [True]
    assert adopted["after-intent-generate-key-root"] == [False]
    assert adopted["before-result-sign-certificate--root.pem"] == [True]
    assert adopted["after-intent-sign-certificate-root-root.pem"] == [False]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS_CUT)
def test_the_power_goes_anywhere(domain: Domain, kind: Kind, tmp_path: Path) -> None:
    rooms = Rooms(domain, kind, tmp_path)
    table = list(cuts(read_entries(domain.record(kind)), rooms.room, everywhere=kind is Kind.ROOT_CRL))
    assert cut_power(table) == {}
    for cut in table:
        check_told(cut.folder)


@pytest.mark.slow
def test_the_power_goes_again_while_the_ceremony_is_taken_up(domain: Domain, tmp_path: Path) -> None:
    rooms = Rooms(domain, Kind.ROOT_GENESIS, tmp_path)
    entries = read_entries(domain.record(Kind.ROOT_GENESIS))
    place = next(n for n, entry in enumerate(entries) if entry.get("operation") == "sign-certificate")
    table = [Cut(f"again-{n}", str(rooms.room(f"again-{n}")), place, "after", again=n) for n in range(1, 14)]
    assert cut_power(table) == {}
    for cut in table:
        check_told(cut.folder, times=2)


@pytest.fixture
def stopped(domain: Domain, tmp_path: Path) -> Path:
    """A root CRL ceremony that was stopped by hand, with the root's token open: its record."""
    folder = tmp_path / "crl"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now(), previous=records[-1])

    class Stops(Cast):
        def ask(self, question: object) -> str:
            if "to sign root.crl" in question.prompt:  # type: ignore[attr-defined]
                raise KeyboardInterrupt
            return super().ask(question)  # type: ignore[arg-type]

    with pytest.raises(KeyboardInterrupt):
        rehearse(folder, people=Stops())
    return folder / "rehearsal-1"


def test_people_say_again_who_they_are_and_the_quorum_consents_to_go_on(stopped: Path) -> None:
    people = Cast()
    record = resume(stopped, people=people)
    entries = read_entries(record.path)
    place = next(n for n, entry in enumerate(entries) if entry["entry"] == "resumed")
    assert entries[place - 1]["entry"] == "stopped"
    after = [entry.get("question", "") for entry in entries[place:]]
    assert sum("Who is the" in question for question in after) == 3
    assert sum("type exactly: resume the ceremony" in question for question in after) == 2
    assert any(entry.get("operation") == "open-again" for entry in entries[place:])
    assert any("INTERRUPTED in step" in text for text in people.told)
    assert "ada: to sign root.crl, type exactly: sign the root CRL" in people.asked
    assert not any("open the root" in asked for asked in people.asked)  # that was consented to before


def test_nobody_goes_on_without_the_quorum(stopped: Path) -> None:
    with pytest.raises(PolicyViolation, match="CER-ANSWER"):
        resume(stopped, people=Cast(("resume the ceremony", ["no"] * 3)))
    assert not (stopped / "outputs").exists()
    with pytest.raises(NotReady, match="stopped for good"):  # a refusal is not waived by asking again
        resume(stopped, people=Cast())


def test_people_began_it_so_people_go_on_with_it(stopped: Path) -> None:
    with pytest.raises(InputError, match="people have to go on"):
        resume(stopped, unattended=True)


@pytest.mark.parametrize("line", [0, 10, -2])
def test_a_record_that_was_changed_is_not_gone_on_with(stopped: Path, line: int) -> None:
    forge(stopped, lambda entries: entries[line].update(more="x"))
    before = (stopped / "transcript.jsonl").read_bytes()
    with pytest.raises(IntegrityError):
        resume(stopped, people=Cast())
    assert (stopped / "transcript.jsonl").read_bytes() == before


def test_a_line_that_was_cut_never_counted(stopped: Path) -> None:
    path = stopped / "transcript.jsonl"
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:-1]) + whole[-1][:40])
    resume(stopped, people=Cast())
    assert verify_folder(stopped).interruptions == 1


def test_an_input_that_was_changed_in_between_stops_it(stopped: Path) -> None:
    (stopped / "inputs/pki.toml").write_bytes((stopped / "inputs/pki.toml").read_bytes() + b"\n")
    with pytest.raises(IntegrityError, match=r"input pki\.toml was changed"):
        resume(stopped, people=Cast())


def test_another_token_with_the_same_label_is_not_gone_on_with(stopped: Path, domain: Domain) -> None:
    site = stopped / "site.toml"
    text = site.read_text()
    site.write_text(text.replace("[tokens.root]\n", '[tokens.root]\nserial = "0123456789abcdef"\n'))
    with pytest.raises((TokenNotFound, IntegrityError)):
        resume(stopped, people=Cast())
    site.write_text(text)
    assert resume(stopped, people=Cast()).read("root.crl")


def test_a_check_that_failed_is_not_waived_by_going_on(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "again"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers, site=domain.site)
    prepare(folder, at=utc_now())
    with pytest.raises(PolicyViolation, match="holds 1 private key; wanted 0"):
        rehearse(folder, unattended=True)
    with pytest.raises(NotReady, match="stopped for good at step 7: the token root holds 1 private key; wanted 0"):
        resume(folder / "rehearsal-1")
    assert [entry["entry"] for entry in read_entries(folder / "rehearsal-1")][-1] == "stopped"


def test_a_stop_on_a_failed_check_that_goes_on_in_the_record_is_found(stopped: Path) -> None:
    record = resume(stopped, people=Cast()).path
    forge(record, lambda entries: next(e for e in entries if e["entry"] == "stopped").update(error="PolicyViolation"))
    with pytest.raises(IntegrityError, match="stopped on 'PolicyViolation' and went on"):
        verify_folder(record)


def test_what_is_closed_or_never_began_is_not_gone_on_with(domain: Domain, stopped: Path) -> None:
    closed = domain.record(Kind.ROOT_CRL)
    before = (closed / "transcript.jsonl").read_bytes()
    assert resume(closed).head == domain.records[Kind.ROOT_CRL].head
    assert (closed / "transcript.jsonl").read_bytes() == before
    (stopped / "transcript.jsonl").write_bytes(b'{"at":')
    with pytest.raises(NotReady, match="nothing was recorded"):
        resume(stopped, people=Cast())


def test_two_do_not_write_one_transcript(stopped: Path) -> None:
    class Other(Cast):
        def ask(self, question: object) -> str:
            with pytest.raises(Conflict, match=r"written by another|grown since"):
                resume(stopped, people=Cast())
            return super().ask(question)  # type: ignore[arg-type]

    resume(stopped, people=Other())


def test_half_a_key_pair_stops_it_with_instructions(domain: Domain, tmp_path: Path) -> None:
    """Cut after the key was made; then its public half goes, as if the token had died between the two."""
    rooms = Rooms(domain, Kind.ROOT_GENESIS, tmp_path)
    entries = read_entries(domain.record(Kind.ROOT_GENESIS))
    place = next(n for n, e in enumerate(entries) if e["entry"] == "result" and e.get("operation") == "generate-key")
    cases = [Cut(half, str(rooms.room(half)), place, "before", lose=half) for half in ("public", "private")]
    said = cut_power(cases)
    for case in cases:
        assert "its making was interrupted" in said[case.name]
        last = read_entries(Path(case.folder) / "rehearsal-1")[-1]
        assert (last["entry"], last["error"]) == ("stopped", "KeyAttributeError")
        assert not (Path(case.folder) / "rehearsal-1/outputs").exists()
