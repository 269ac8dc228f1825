"""``sealwright-ceremony`` as a process: what it prints, how it ends, what it says when something is wrong."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ceremonies import CHECKOUT, OFFICERS, officer_line
from sealwright.hsm.module import find_softhsm


class Command:
    """The command in one folder. ``powers`` False: root, too, has to obey a folder's permissions."""

    def __init__(self, folder: Path, *, powers: bool = True) -> None:
        self.folder, self.before = folder, () if powers else POWERLESS

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.before, sys.executable, "-m", "sealwright.cli.ceremony", *arguments],
            cwd=self.folder,
            env={**os.environ, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def json(self, *arguments: str) -> dict[str, object]:
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        value: dict[str, object] = json.loads(done.stdout)
        return value


POWERLESS = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override") if os.geteuid() == 0 else ()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``ca/`` and officers, to call the command in."""
    folder = tmp_path_factory.mktemp("room")
    shutil.copytree(CHECKOUT / "ca", folder / "ca")
    for name in ("root", "issuing-ca"):
        profile = folder / "ca/profiles" / f"{name}.toml"
        profile.write_text(profile.read_text().replace('keys = ["rsa-4096"]', 'keys = ["p-384"]'))
    (folder / "officers.toml").write_text("threshold = 2\n" + "".join(map(officer_line, OFFICERS)))
    return folder


@pytest.fixture(scope="module")
def prepared(room: Path) -> Path:
    command = Command(room)
    assert command("new", "root-genesis", "g", "--ca", "ca", "--input", "officers.toml=officers.toml").returncode == 0
    assert command("prepare", "g").returncode == 0
    return room / "g"


def failed(done: subprocess.CompletedProcess[str], code: int) -> str:
    """One error, at most one hint, no trace, the documented code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: ")
    assert len([line for line in lines if line.startswith("error: ")]) == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_the_whole_way_from_new_to_verify(room: Path) -> None:
    command = Command(room)
    made = command.json("new", "root-genesis", "whole", "--ca", "ca")
    assert made["missing_inputs"] == ["officers.toml"]
    shutil.copyfile(room / "officers.toml", room / "whole/inputs/officers.toml")
    prepared = command.json("prepare", "whole", "--at", "2026-11-23T12:00:00Z")
    digests = prepared["digests"]
    assert isinstance(digests, dict)
    assert set(digests) == {"REHEARSAL", "PRODUCTION"}
    assert "2 of 3 officers are a quorum" in command("check", "whole").stdout
    assert command("print", "whole").stdout.strip() == "whole/script.html"
    record = command.json("rehearse", "whole", "--unattended")
    assert record["record"] == "whole/rehearsal-1"
    assert record["mode"] == "REHEARSAL"
    findings = command.json("verify", "whole/rehearsal-1")
    assert findings["head"] == record["head"]
    assert findings["cannot_know"]
    told = command("verify", "whole/rehearsal-1").stdout
    assert "What this record cannot show:" in told
    assert command("print", "whole/rehearsal-1", "--out", "record.html").returncode == 0
    assert (room / "record.html").read_bytes() == (room / "whole/rehearsal-1/record.html").read_bytes()


def test_what_there_is_and_what_is_due_and_the_way_to_another_room(room: Path) -> None:
    command = Command(room)
    command("new", "root-genesis", "kept", "--ca", "ca", "--input", "officers.toml=officers.toml")
    (room / "kept/site.toml").write_text('[rehearsal]\nsofthsm_conf = "../store/softhsm2.conf"\n')
    command("prepare", "kept")
    assert command("rehearse", "kept", "--unattended").returncode == 0
    transcript = (room / "kept/rehearsal-1/transcript.jsonl").read_text()
    (serial,) = set(re.findall(r'"serial":"([0-9a-f]{16})"', transcript))
    store = find_softhsm()
    site = f'module = "{store}"\n[tokens.root]\nserial = "{serial}"\npin_file = "store/pins/root.pin"\n'
    (room / "site.toml").write_text(site)
    environment = {"SOFTHSM2_CONF": str(room / "store/softhsm2.conf")}
    listed = command("inventory", "--site", "site.toml", "--open", serial, "--out", "census.json", **environment)
    assert listed.returncode == 0, listed.stderr
    assert "private-key  ec" in listed.stdout
    assert "!!" not in listed.stdout
    digest = hashlib.sha256((room / "census.json").read_bytes()).hexdigest()
    assert digest in listed.stdout

    told = command("calendar", "kept/rehearsal-1", "--ca", "ca", "--ics", "duties.ics", "--at", "2030-01-01T00:00:00Z")
    assert "LATE The root's CRL number 2" in told.stdout
    assert (room / "duties.ics").read_bytes().startswith(b"BEGIN:VCALENDAR\r\n")

    (room / "stick").mkdir()
    written = command.json("media", "write", "out", "stick", "kept/rehearsal-1")
    told = command("media", "read", "out", "stick", "received", "--sha256", str(written["sha256"]))
    assert told.returncode == 0, told.stderr
    assert command("verify", "received/rehearsal-1").returncode == 0


def test_people_at_a_terminal_are_asked_and_can_err(room: Path, prepared: Path) -> None:
    """Answers come on a pipe here; every third try is right only for the first question."""
    answers = ["A Bad Name!", "adele", "omar", "ada, grace", "wanda", "make the root kee", "no", "never"]
    done = Command(room)("rehearse", "g", "--record", "attended", stdin="\n".join(answers) + "\n")
    said = failed_after_talk(done, 4)
    assert "CER-ANSWER" in said
    assert "REHEARSAL · step 1 of 24 · attendance" in done.stderr
    stopped = failed(Command(room)("verify", "attended"), 10)
    assert "stopped at step 6" in stopped


def failed_after_talk(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return next(line for line in done.stderr.splitlines() if line.startswith("error: "))


def test_a_pin_is_not_read_where_it_would_be_seen() -> None:
    """Without a terminal echo cannot be turned off; then getpass would read it all the same, and show it."""
    code = "from sealwright.ceremony.people import ask_pin; ask_pin('root')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="1234\n",
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert "InputError: there is no terminal to ask for the PIN of root" in done.stderr
    assert "may be echoed" not in done.stderr


def test_nobody_at_the_terminal_ends_a_ceremony(room: Path, prepared: Path) -> None:
    done = Command(room)("rehearse", "g", "--record", "nobody", stdin="")
    assert "nobody answers" in failed_after_talk(done, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["new", "root-party", "x"], 2, "root-party"),
        (["new", "root-genesis", "g"], 12, "exists already"),
        (["new", "root-genesis", "x", "--input", "officers.toml"], 3, "wanted NAME=PATH"),
        (["new", "root-genesis", "x", "--input", "roster.toml=officers.toml"], 3, "has no input roster.toml"),
        (["new", "issuing-ca", "x", "--from", "g"], 11, "is not a record"),
        (["new", "root-genesis", "x", "--ca", "absent"], 11, "absent is not a folder"),
        (["prepare", "absent"], 11, "is not a folder"),
        (["prepare", "g", "--at", "tomorrow"], 3, "'tomorrow'"),
        (["check", "ca"], 11, "script.toml"),
        (["run", "g"], 10, "no rehearsal of this script"),
        (["run", "g", "--unattended"], 3, "rehearsals only"),
        (["verify", "g"], 11, "is not a record"),
        (["rehearse", "g", "--record", "ca"], 12, "exists already"),
        (["inventory", "--site", "g/site.toml"], 3, "g/site.toml names no module"),
        (["inventory"], 3, "no PKCS#11 module was named"),
        (["inventory", "--module", "absent.so"], 6, "absent.so is not there"),
        (["media", "read", "in", "ca", "x"], 11, "manifest.json is not there"),
        (["media", "write", "out", "absent", "ca"], 11, "is the medium mounted"),
        (["calendar", "g"], 11, "is not a record"),
        (["calendar", "g", "--ca", "absent"], 11, "absent/profiles is not a folder"),
    ],
)
def test_what_is_wrong_is_one_error_with_its_code(
    room: Path, prepared: Path, arguments: list[str], code: int, said: str
) -> None:
    unattended = ["--unattended"] if arguments[0] == "rehearse" else []
    assert said in failed(Command(room)(*arguments, *unattended), code)


def test_a_script_with_an_unknown_action_or_field_is_named(room: Path, prepared: Path) -> None:
    text = (prepared / "script.toml").read_text()
    for old, new, said in (
        ('action = "attendance"', 'action = "shell"', "shell"),
        ("[[steps]]\n", '[[steps]]\nrun = "true"\n', "run is unknown"),
    ):
        (room / "other.toml").write_text(text.replace(old, new, 1))
        done = Command(room)("new", "root-genesis", "x", "--script", "other.toml")
        assert said in failed(done, 3)
        assert not (room / "x").exists()


def test_a_script_without_a_safeguard_is_named_by_its_step(room: Path, prepared: Path) -> None:
    text = (prepared / "script.toml").read_text()
    without = re.sub(r'\[\[steps\]\]\naction = "announce"\noutput = "root.pem"\n.*\n.*\n', "", text)
    assert without != text
    (room / "weak.toml").write_text(without)
    command = Command(room)
    command(
        "new", "root-genesis", "weak", "--ca", "ca", "--input", "officers.toml=officers.toml", "--script", "weak.toml"
    )
    said = failed(command("prepare", "weak"), 4)
    assert "step 11 (consent) needs, and no earlier step gives: root.pem is announced" in said
    assert "[CER-ORDER]" in said


def test_an_input_that_was_edited_after_prepare_is_named(room: Path) -> None:
    command = Command(room)
    command("new", "root-genesis", "edited", "--ca", "ca", "--input", "officers.toml=officers.toml")
    command("prepare", "edited")
    officers = room / "edited/inputs/officers.toml"
    officers.write_text(officers.read_text().replace("threshold = 2", "threshold = 3"))
    for arguments in (["check", "edited"], ["rehearse", "edited", "--unattended"]):
        assert "input officers.toml was changed after preparation" in failed(command(*arguments), 8)


def test_a_folder_that_is_read_only_is_one_error_and_leaves_nothing(room: Path, prepared: Path) -> None:
    powerless = Command(room, powers=False)
    prepared.chmod(0o555)
    room.chmod(0o555)
    before = sorted(room.rglob("*"))
    try:
        for arguments in (
            ["new", "root-genesis", "mine", "--ca", "ca"],
            ["prepare", "g"],
            ["print", "g"],
            ["rehearse", "g", "--unattended"],
        ):
            assert "Permission denied" in failed(powerless(*arguments), 9)
    finally:
        prepared.chmod(0o755)
        room.chmod(0o755)
    assert sorted(room.rglob("*")) == before


def test_every_command_has_a_help_with_an_example() -> None:
    command = Command(CHECKOUT)
    top = command("--help")
    assert "Exit codes: 0 done" in " ".join(top.stdout.split())
    for name in ("new", "prepare", "check", "rehearse", "run", "verify", "print"):
        assert name in top.stdout
        text = " ".join(command(name, "--help").stdout.split())
        assert f"Example: sealwright-ceremony {name}" in text
        assert "--json" in text
    assert command("--version").stdout.startswith("sealwright 0")
