"""Options that several commands take, and the exact answers that they ask for."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sealwright.errors import InputError

YES_LENGTH = 16

AsJSON = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]
Module = Annotated[
    Path | None,
    typer.Option("--module", envvar="SEALWRIGHT_MODULE", metavar="FILE", help="The PKCS#11 module of your token."),
]
TokenSerial = Annotated[
    str | None,
    typer.Option("--token-serial", envvar="SEALWRIGHT_TOKEN", metavar="SERIAL", help="The token's serial number."),
]
PinFile = Annotated[
    Path | None,
    typer.Option(
        "--pin-file",
        envvar="SEALWRIGHT_PIN_FILE",
        metavar="FILE",
        help="File (mode 0400 or 0600) with the token's PIN. Asked for when it is not given.",
    ),
]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="A few words for the others; they are signed.")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it is done.")]
UntilRevoked = Annotated[
    bool,
    typer.Option("--wait/--no-wait", help="End only when a verified OCSP answer says it, or as soon as it is ordered."),
]
Timeout = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1, max=30 * 86400, help="How long --wait stays.")
]

Limit = Annotated[int, typer.Option("--limit", metavar="COUNT", min=1, max=500, help="How many a page holds.")]


def ask_exactly(word: str, question: str) -> None:
    """On stderr, so that stdout stays the result's. Raises ``InputError`` for any other answer, and for none."""
    try:
        answer = typer.prompt(f"{question} Type {word!r} to go on", default="", show_default=False, err=True)
    except typer.Abort:
        typer.echo(err=True)  # what comes next begins a line
        if sys.stdin.isatty():
            raise
        raise InputError(
            "nobody was there to answer: nothing was signed or sent",
            hint="a script agrees with --yes, and says to what",
        ) from None
    if not sys.stdin.isatty():
        typer.echo(err=True)  # a terminal would have shown the answer and its end of line
    if answer != word:
        raise InputError(f"the answer was not {word!r}: nothing was signed or sent")


def check_yes(given: str, digest: str) -> None:
    """``--yes`` names what it agrees to, so that a script cannot agree to something else."""
    prefix = given.lower()
    if len(prefix) < YES_LENGTH or not all(each in "0123456789abcdef" for each in prefix):
        raise InputError(
            f"--yes takes the first {YES_LENGTH} hex digits or more of the SHA-256", hint=f"it is {digest}"
        )
    if not digest.startswith(prefix):
        raise InputError(f"--yes says {prefix}; this is {digest}: nothing was signed or sent")
