"""What a person sees when a command fails: one error, one hint, the documented exit code, and no trace."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
import typer

from sealwright import errors
from sealwright.cli.edge import run_app


def app_that(action: Callable[[], None]) -> typer.Typer:
    app = typer.Typer()

    @app.command()
    def act(number: int = 0) -> None:
        action()

    @app.command()
    def other() -> None:
        pass

    return app


def raising(error: BaseException) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InputError("bad", hint="better"), 3),
        (errors.PolicyViolation("bad", rule="X-1", hint="better"), 4),
        (errors.WrongPin("bad", hint="better"), 13),
        (errors.IntegrityError("bad", hint="better"), 8),
        (errors.Conflict("bad", hint="better"), 12),
    ],
)
def test_an_error_has_its_own_exit_code_and_says_what_to_do(
    error: errors.SealwrightError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_app(app_that(raising(error)), ["act"])
    said = capsys.readouterr()
    assert stop.value.code == code
    assert said.err.startswith("error: bad")
    assert said.err.endswith("\nhint: better\n")
    assert said.out == ""


def test_what_a_file_s_name_brought_into_a_message_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        run_app(app_that(raising(errors.IntegrityError("a\x1b[2J\u202eb", hint="\udcff\x07"))), ["act"])
    assert capsys.readouterr().err == "error: a\\x1b[2J\\u202eb\nhint: \\udcff\\x07\n"


def test_a_rule_is_named_with_its_refusal(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_app(app_that(raising(errors.PolicyViolation("no", rule="CS-KEY-KIND"))), ["act"])
    assert capsys.readouterr().err == "error: no [CS-KEY-KIND]\nhint: ca/policy.md says what CS-KEY-KIND wants\n"


def test_an_unexpected_exception_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEALWRIGHT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stop:
        run_app(app_that(raising(RuntimeError("surprise\nsecond line"))), ["act"])
    assert stop.value.code == 1
    assert capsys.readouterr().err == "error: RuntimeError: surprise\nhint: set SEALWRIGHT_DEBUG=1 to see where\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), 9, "cannot write x"),
        (OSError(errno.EACCES, "Permission denied", "x"), 9, "cannot use x: Permission denied\nhint: may this user"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x"), 3, "cannot use x: File name too long"),
        (OSError(errno.ELOOP, "Too many levels of symbolic links", "x"), 3, "cannot use x"),
        (OSError(errno.ECONNRESET, "Connection reset by peer"), 1, "ConnectionResetError"),
    ],
)
def test_what_the_system_says_of_a_path_is_no_surprise(
    error: OSError, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_app(app_that(raising(error)), ["act"])
    assert stop.value.code == code
    assert capsys.readouterr().err.startswith(f"error: {said}")


def test_the_trace_is_there_for_who_asks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEALWRIGHT_DEBUG", "1")
    with pytest.raises(SystemExit):
        run_app(app_that(raising(RuntimeError("surprise"))), ["act"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["act", "--number", "x"], ["act", "--unknown"], ["nothing"]])
def test_wrong_usage_is_exit_2_and_points_to_the_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_app(app_that(lambda: None), arguments)
    said = capsys.readouterr()
    assert stop.value.code == 2
    assert said.err.startswith("error: ")
    assert "--help" in said.err


def test_an_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_app(app_that(raising(KeyboardInterrupt())), ["act"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize("program", ["-m", "/usr/bin/sealwright", "sealwrightd", "sealwright-ceremony"])
def test_an_interrupt_while_a_program_is_loaded_ends_it_without_a_trace(program: str) -> None:
    done = load_and_interrupt(program)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_whoever_imports_the_commands_keeps_the_interrupt_that_was_there() -> None:
    assert "KeyboardInterrupt" in load_and_interrupt("pytest").stderr


def test_from_the_first_command_on_an_interrupt_is_said() -> None:
    done = load_and_interrupt("sealwright", "edge.run_app(app, [])")
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")


def load_and_interrupt(program: str, action: str = "interrupt()") -> subprocess.CompletedProcess[str]:
    """A process under that name, Ctrl-C falling in the middle of loading, or in ``action``."""
    script = f"""
import os, signal, sys, typer
sys.argv[0] = {program!r}
from sealwright.cli import edge
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
app = typer.Typer(name="x")
app.command()(interrupt)
{action}
"""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        # A shell lets what it starts in the background ignore Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # no thread holds a lock
    )  # fmt: skip


def test_success_is_0_and_exit_codes_of_commands_pass(capsys: pytest.CaptureFixture[str]) -> None:
    for action, code in ((lambda: None, 0), (raising(typer.Exit(4)), 4)):
        with pytest.raises(SystemExit) as stop:
            run_app(app_that(action), ["act"])
        assert stop.value.code == code
    assert capsys.readouterr().err == ""
