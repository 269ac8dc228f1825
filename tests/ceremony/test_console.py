"""The room as people meet it: through a real pseudo-terminal, with slips of the hand, wrong answers and Ctrl-C."""

import io
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ceremonies import Domain, read_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.console import RoomConsole
from sealwright.ceremony.people import TerminalPeople
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import Question, Scene
from sealwright.ceremony.script import Kind, Role
from sealwright.errors import NotReady
from terminal import Terminal

pytestmark = pytest.mark.xdist_group("ceremony")

ENTER, ASKS = "[Enter", "\n> "
NAMES = {"administrator": "adele", "operator": "omar", "witness": "wanda"}


@pytest.fixture
def crl(domain: Domain, tmp_path: Path) -> Path:
    folder = tmp_path / "crl"
    records = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ISSUING_CA)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now())
    return folder


def room(crl: Path, *, columns: int = 80, environment: Mapping[str, str] | None = None) -> Terminal:
    command = [sys.executable, "-m", "sealwright.cli.ceremony", "rehearse", "crl", "--record", "record"]
    return Terminal(command, folder=crl.parent, columns=columns, environment=environment)


def right_answer(shown: str) -> str:
    """What a person who reads the screen types."""
    plain = " ".join(shown.split())
    if found := re.findall(r"type exactly: (.+?)\.(?: |$)", plain):
        return str(found[-1])
    if "first 2 and last 2 words" in plain:
        rows = re.findall(r"(?m)^  [18]  [0-9a-f]{8}  (\w+)  (\w+)  (\w+)  (\w+)", shown)
        return " ".join((*rows[-2][:2], *rows[-1][2:]))
    if "Which officers are here?" in plain:
        return "ada, grace"
    return NAMES[re.findall(r"Who is the (\w+)\?", plain)[-1]]


def go_on(terminal: Terminal, until: str) -> None:
    """Answer rightly until this is shown."""
    shown = ""
    while True:
        before, found = terminal.expect(until, ENTER, ASKS)
        shown += before
        if found == until:
            return
        terminal.line(right_answer(shown) if found == ASKS else "")
        shown = "" if found == ASKS else shown


def answers(crl: Path) -> list[tuple[str, bool]]:
    entries = read_entries(crl.parent / "record")
    return [(str(each["answer"]), bool(each["accepted"])) for each in entries if each["entry"] == "answer"]


def test_on_a_serial_line_with_wrong_answers_to_the_end(crl: Path) -> None:
    """TERM=vt100, 80 columns: no colour, no line that is too long, each try recorded, and the record replays."""
    with room(crl) as terminal:
        terminal.expect(ASKS)
        terminal.line("A Bad Name!")
        assert "Two tries are left." in terminal.expect(ASKS)[0]
        terminal.line("")
        assert "One try is left; after it the ceremony stops." in " ".join(terminal.expect(ASKS)[0].split())
        terminal.line("adele")
        go_on(terminal, "step 4 of 16")
        before, _ = terminal.expect(ASKS)
        assert "OFFICER: consent" in before
        assert "(next: operator, open-token)" in before
        terminal.line("open the rot")
        go_on(terminal, "done and replayed")
        assert terminal.end() == 0
    assert [answer for answer, accepted in answers(crl) if not accepted] == ["... ... ...", "", "open the ..."]
    assert verify_folder(crl.parent / "record").attended
    assert b"\x1b" not in terminal.raw
    assert max(len(line) for line in terminal.text.splitlines() if "/" not in line) <= 80
    headers = re.findall(r"step (\d+) of 16\n\d+ min gone; planned (\d+) of (\d+) +this step: \d+ min", terminal.text)
    assert [int(number) for number, _, _ in headers] == list(range(1, 17))
    planned = [int(minutes) for _, minutes, _ in headers]
    assert planned == sorted(planned)
    assert planned[-1] < int(headers[0][2])


def test_the_third_wrong_answer_ends_it(crl: Path) -> None:
    with room(crl) as terminal:
        go_on(terminal, "step 4 of 16")
        for _ in range(3):
            terminal.expect(ASKS)
            terminal.line("no")
        assert terminal.end() == 4
    assert "CER-ANSWER" in terminal.text
    assert [accepted for _, accepted in answers(crl)[-4:]] == [True, False, False, False]
    last = read_entries(crl.parent / "record")[-1]
    assert (last["entry"], last["error"], last["step"]) == ("stopped", "PolicyViolation", 4)
    with pytest.raises(NotReady, match="stopped at step 4"):
        verify_folder(crl.parent / "record")


def test_ctrl_c_stops_it_says_where_it_stands_and_is_recorded(crl: Path) -> None:
    with room(crl) as terminal:
        go_on(terminal, "step 4 of 16")
        terminal.expect(ASKS)
        terminal.interrupt()
        assert terminal.end() == 130
    assert "resume" in terminal.text
    assert "Traceback" not in terminal.text
    last = read_entries(crl.parent / "record")[-1]
    assert (last["entry"], last["error"], last["step"]) == ("stopped", "KeyboardInterrupt", 4)


def test_slips_of_the_hand_cost_no_try(crl: Path) -> None:
    """Keys hit before the question is there, Ctrl-D, an arrow key."""
    with room(crl) as terminal:
        terminal.type("\n\n\n\n\n")
        terminal.expect(ASKS)
        terminal.type("\x04")
        terminal.expect("to stop the ceremony, press Ctrl-C")
        terminal.expect(ASKS)
        terminal.line("\x1b[Aadele")
        terminal.expect("does not count as a try")
        terminal.expect(ASKS)
        terminal.line("adele")
        terminal.expect(ASKS)
        terminal.line("omar")
        terminal.expect(ASKS)
        terminal.interrupt()
        terminal.end()
    assert answers(crl) == [("adele", True), ("omar", True)]


@pytest.mark.parametrize("columns", [24, pytest.param(45, marks=pytest.mark.slow)])
def test_on_a_narrow_terminal_and_after_it_was_pulled_nothing_is_lost(crl: Path, columns: int) -> None:
    with room(crl, environment={"TERM": "dumb", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}) as terminal:
        terminal.expect(ASKS)
        terminal.resize(columns, 24)
        place = len(terminal.raw)
        terminal.line("adele")
        terminal.expect(ASKS)
        terminal.line("omar")
        shown, _ = terminal.expect(ASKS)
        assert "Which officers are here? 2 or more of ada, grace, lin" in " ".join(shown.split())
        terminal.line("ada, grace")
        terminal.expect(ASKS)
        terminal.line("wanda")
        go_on(terminal, "inspect-token")
        terminal.stop()
    assert terminal.raw.isascii()
    later = terminal.raw[place:].decode().replace("\r", "").split("STOPPED")[0]
    assert max(len(line) for line in later.splitlines()) <= columns


def test_colour_is_for_terminals_that_are_known_to_have_it(crl: Path) -> None:
    for environment, coloured in (({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        with room(crl, environment=environment) as terminal:
            terminal.expect(ASKS)
            terminal.interrupt()
            terminal.end()
        assert (b"\x1b[1m" in terminal.raw) is coloured
        (crl.parent / "record").rename(crl.parent / f"record-{coloured}")


SCENE = Scene(
    mode="PRODUCTION",
    title="Root CRL",
    number=2,
    total=9,
    action="announce",
    who=Role.WITNESS,
    say="I read aloud.",
    planned_before=5,
    planned_here=4,
    planned_all=40,
    next_action=None,
    next_who=None,
)


def test_the_time_that_is_gone_is_shown_beside_the_time_that_was_planned() -> None:
    now, out = [0.0], io.StringIO()
    console = RoomConsole(out, lambda: "", clock=lambda: now[0], term="dumb")
    console.begin_step(SCENE)
    now[0] = 754.0
    console.begin_step(SCENE)
    assert re.findall(r"(\d+) min gone; planned 5 of 40 +this step: 4 min", out.getvalue()) == ["0", "12"]
    assert "(the last step)" in out.getvalue()


def test_nothing_that_is_shown_steers_the_terminal() -> None:
    out = io.StringIO()
    RoomConsole(out, lambda: "", term="xterm").tell("label \x1b[2J\x07 [bold]x[/bold]\nnext")
    assert "label ?[2J? [bold]x[/bold]" in out.getvalue()


PIN, SHARE = "12345678user", "duckling enlarge academic academic agency result length"
SAID = "the wrong slot was read aloud"


@pytest.mark.parametrize("make", [TerminalPeople, RoomConsole])
@pytest.mark.parametrize("secret", [PIN, f"pin {PIN}", f"i typed {SHARE}", SHARE.upper()])
def test_a_pin_or_a_share_that_is_typed_for_a_sentence_is_not_kept(make: type[TerminalPeople], secret: str) -> None:
    """Nobody could filter it out of somebody's own words later: it is asked for again, and nothing is recorded."""
    out, typed = io.StringIO(), iter([secret] * 4 + [SAID])
    prompt = "A deviation is written down: what happened"
    question = Question(Role.ADMINISTRATOR, prompt, lambda _: True, "none", "one line of text", free=True)
    assert make(out, lambda: next(typed)).ask(question) == SAID
    assert "is not kept" in out.getvalue()
    assert "does not count as a try" in " ".join(out.getvalue().split())


@pytest.mark.parametrize("make", [TerminalPeople, RoomConsole])
def test_other_answers_are_taken_as_they_are(make: type[TerminalPeople]) -> None:
    question = Question(Role.ADMINISTRATOR, "Who", lambda _: True, "", "a name")
    assert make(io.StringIO(), lambda: "adele").ask(question) == "adele"


def test_a_terminal_that_is_gone_does_not_ask_for_ever() -> None:
    from sealwright.errors import InputError

    def gone() -> str:
        raise EOFError

    question = Question(Role.WITNESS, "Who", lambda _: True, "", "a name")
    with pytest.raises(InputError, match="nobody answers"):
        RoomConsole(io.StringIO(), gone, term="dumb").ask(question)
