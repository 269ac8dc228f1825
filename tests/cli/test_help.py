"""What the three commands say of themselves: helps with examples that can be copied, a version, shell completion."""

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import typer

from sealwright.cli import ceremony, daemon, team
from sealwright.errors import Fenced, SealwrightError

APPS = {"sealwright": team.app, "sealwrightd": daemon.app, "sealwright-ceremony": ceremony.app}


def run(program: str, *words: str, **environment: str) -> str:
    """The installed command, as a shell runs it."""
    done = subprocess.run(
        [Path(sys.executable).with_name(program), *words],
        env={**os.environ, "COLUMNS": "80", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def commands(program: str) -> dict[str, typer.models.Any]:
    """Every command of a program by the words that call it, the program's own name first."""
    found, new = {}, {program: typer.main.get_command(APPS[program])}
    while new:
        words, command = new.popitem()
        found[words] = command
        new |= {f"{words} {name}": each for name, each in getattr(command, "commands", {}).items()}
    return found


def help_of(program: str, words: str) -> str:
    command = commands(program)[words]
    return str(command.get_help(command.make_context(words, [], resilient_parsing=True, terminal_width=80)))


EVERY = [(program, words) for program in APPS for words in sorted(commands(program))]


@pytest.mark.parametrize(("program", "words"), EVERY)
def test_every_help_has_an_example_that_its_own_parser_takes(program: str, words: str) -> None:
    text = help_of(program, words)
    _, _, rest = text.partition("Example")
    block = rest.partition("\n\n")[0].split("\n", 1)[1]
    lines = block.replace("\\\n", " ").splitlines()
    assert lines
    for line in lines:
        name, *given = shlex.split(line, comments=True)
        if name != program:  # what follows the examples
            break
        command = commands(program)
        called = name
        while given and f"{called} {given[0]}" in command:
            called = f"{called} {given.pop(0)}"
        command[called].make_context(called, given)  # raises for an option or argument that is not there


@pytest.mark.parametrize(("program", "words"), EVERY)
def test_every_help_fits_a_terminal_and_cuts_no_sentence(program: str, words: str) -> None:
    text = help_of(program, words)
    assert "..." not in re.sub(r"\[ARGS\]\.\.\.|\{[A-Z]+\}\.\.\.", "", text).replace("COMMAND [", "")
    long = [line for line in text.splitlines() if len(line) > 80 and "|" not in line]
    assert long == []


@pytest.mark.parametrize("program", APPS)
def test_the_help_documents_every_exit_code(program: str) -> None:
    said = " ".join(help_of(program, program).partition("Exit codes:")[2].split())
    codes = {int(part.split()[0]) for part in said.rstrip(".").split("; ")}
    mine = {error.exit_code for error in every(SealwrightError)}
    if program != "sealwrightd":
        mine.remove(Fenced.exit_code)  # a signer's only
    assert codes == mine | {0, 2, 130}


def every(kind: type[SealwrightError]) -> set[type[SealwrightError]]:
    return {kind}.union(*(every(each) for each in kind.__subclasses__()))


def test_version_and_completion_work_as_a_shell_asks_for_them() -> None:
    def ask(program: str) -> None:
        assert run(program, "--version").startswith("sealwright ")
        assert "complete" in run(program, "--show-completion", "bash")
        variable = f"_{program.upper().replace('-', '_')}_COMPLETE"
        words = {variable: "complete_bash", "COMP_WORDS": f"{program} re", "COMP_CWORD": "1"}
        offered = run(program, **words).split()
        assert offered == [name for name in commands(program)[program].commands if name.startswith("re")]

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(ask, APPS))


def test_completion_installs_itself_where_it_is_told(tmp_path: Path) -> None:
    def install(program: str) -> None:
        home = tmp_path / program
        home.mkdir()
        run(program, "--install-completion", "bash", HOME=str(home))
        assert list(home.rglob(f"{program}.sh"))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(install, APPS))


def test_no_command_at_all_prints_the_help_and_no_empty_error() -> None:
    done = subprocess.run([Path(sys.executable).with_name("sealwright")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Commands:" in done.stdout
    assert done.stderr == ""
