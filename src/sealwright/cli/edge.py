"""The edge of the three commands: errors to ``error:`` and ``hint:`` on stderr, classes to exit codes, no stack trace.

Commands raise ``SealwrightError`` and return; they print results on stdout and never call ``sys.exit``. What an
unexpected exception says is one line, unless SEALWRIGHT_DEBUG is set.
"""

import errno
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import typer

from sealwright import __version__
from sealwright.errors import InputError, SealwrightError, StorageError

EXIT_CODES = (
    "Exit codes: 0 done; 1 unexpected; 2 usage; 3 input not readable; 4 refused by a rule; 5 access denied; "
    "6 token; 7 a service does not answer; 8 something is not what was signed or pinned; 9 disk; "
    "10 too early; 11 not found; 12 exists already; 13 PIN refused (never tried again); 130 interrupted."
)
"""For the help texts; ``errors`` holds the numbers."""

USAGE, INTERRUPTED = 2, 130
_WIDTH = 76


def examples(*commands: str) -> str:
    """The examples of a help text: commands that can be copied, broken only between an option and the next."""
    lines = ["\b", "Example:" if len(commands) == 1 else "Examples:"]
    for command in commands:
        line = " "
        for part in re.split(r" (?=-)", command):
            if len(line) + len(part) > _WIDTH:
                lines.append(f"{line} \\")
                line = "     "
            line += f" {part}"
        lines.append(line)
    return "\n".join(lines)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a typer application and exit. ``arguments`` is for tests; by default those of the process."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # set in ``cli``, for as long as nobody could say a word
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(_run(app, arguments))


def _run(app: typer.Typer, arguments: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    try:
        words = None if arguments is None else list(arguments)
        result = command(args=words, prog_name=app.info.name or None, standalone_mode=False)
        sys.stdout.flush()
    except SealwrightError as error:
        print_error(str(error), error.hint)
        code = error.exit_code
        _print_trace()
    except typer.TyperException as error:  # usage: unknown option, missing argument, no command
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":  # typer does not export it; its message is the help
            typer.echo(error.format_message())
        else:
            print_error(error.format_message(), f"see `{context.command_path if context else 'the command'} --help`")
        code = USAGE
    except (typer.Abort, KeyboardInterrupt):
        print_error("interrupted")
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to flush at exit
        code = 1
    except Exception as error:  # the edge: whatever it is, no stack trace for the person
        message, hint, code = _explained(error)
        print_error(message, hint)
        _print_trace()
    else:
        code = result if isinstance(result, int) else 0
        if code == INTERRUPTED:  # typer's own translation of Ctrl-C
            print_error("interrupted")
    return code


_DISK = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO})
_NO_PATH = frozenset({errno.ENAMETOOLONG, errno.ELOOP})


def _explained(error: Exception) -> tuple[str, str, int]:
    """Message, hint and exit code of what no room foresaw: the system's refusals of a person's path, and the rest."""
    path = getattr(error, "filename", None)
    if isinstance(error, OSError) and error.errno in _DISK:
        return f"cannot write {path or 'here'}: {error.strerror}", StorageError.usual_hint, StorageError.exit_code
    if isinstance(error, PermissionError) and path is not None:
        return f"cannot use {path}: {error.strerror}", "may this user read and write there?", StorageError.exit_code
    if isinstance(error, OSError) and error.errno in _NO_PATH:
        return f"cannot use {path or 'this path'}: {error.strerror}", InputError.usual_hint, InputError.exit_code
    return _unexpected(error), "set SEALWRIGHT_DEBUG=1 to see where", SealwrightError.exit_code


def _unexpected(error: Exception) -> str:
    # PKCS#11 exceptions have an empty str(): the name is all they say.
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _print_trace() -> None:
    if os.environ.get("SEALWRIGHT_DEBUG"):
        traceback.print_exc()


def print_error(message: str, hint: str = "") -> None:
    """``error:`` and ``hint:`` on stderr."""
    print(f"error: {_plain(message)}", file=sys.stderr)  # noqa: T201  # this is where the commands print
    if hint:
        print(f"hint: {_plain(hint)}", file=sys.stderr)  # noqa: T201


def _plain(text: str) -> str:
    """What a file's name or content brought into a message may not steer the terminal that it is read on."""
    return "".join(
        each if each in "\n\t" or each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def print_json(value: Any) -> None:
    """One JSON document on stdout, for ``--json``."""
    typer.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def version_option(value: bool) -> None:
    """Callback of ``--version``."""
    if value:
        typer.echo(f"sealwright {__version__}")
        raise typer.Exit
