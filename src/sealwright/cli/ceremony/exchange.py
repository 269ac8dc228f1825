"""``sealwright-ceremony media``: what is carried between rooms."""

from pathlib import Path
from typing import Annotated

import typer

from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.exchange import Direction, Manifest, read_exchange, write_exchange
from sealwright.ceremony.words import spell_rows
from sealwright.cli.edge import EXIT_CODES, examples, print_json

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Carry files between rooms: MEDIUM/in is for what goes into the root's room, "
    "MEDIUM/out for what leaves it.\n\n"
    "Each has a manifest with every file's SHA-256; read the manifest's own digest aloud, or send it another way.\n\n"
    + examples(
        "sealwright-ceremony media write out /media/stick genesis/production-1",
        "sealwright-ceremony media read out /media/stick received",
    ),
    epilog=EXIT_CODES,
)

Way = Annotated[Direction, typer.Argument(metavar="in|out", help="Into the root's room, or out of it.")]
Medium = Annotated[Path, typer.Argument(metavar="MEDIUM", help="Where the medium is mounted.")]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


@app.command(
    short_help="Lay files down, with a manifest.",
    epilog=examples("sealwright-ceremony media write in /media/stick keys/production-1"),
)
def write(
    direction: Way,
    medium: Medium,
    sources: Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, and folders with all that is in them.")],
    as_json: AsJSON = False,
) -> None:
    """Lay files and whole folders down on a medium, with a manifest. Never over what is there."""
    _print(write_exchange(medium, direction, sources, utc_now()), medium / direction, as_json)


@app.command(
    short_help="Take files off, if they are what was laid down.",
    epilog=examples("sealwright-ceremony media read in /media/stick received"),
)
def read(
    direction: Way,
    medium: Medium,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where they go: a folder that is not there yet.")],
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="HEX", help="What the manifest's digest has to be, from another channel."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Copy what the manifest says, or nothing: extra files, links, changed bytes and what is too big are refused."""
    _print(read_exchange(medium, direction, folder, sha256=sha256), folder, as_json)


def _print(manifest: Manifest, place: Path, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "folder": str(place),
                "direction": manifest.direction,
                "at": manifest.at,
                "sha256": manifest.sha256,
                "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in manifest.files.items()},
            }
        )
        return
    typer.echo(f"{place}: {len(manifest.files)} files, `{manifest.direction}`, laid down at {manifest.at}")
    typer.echo(f"manifest SHA-256  {manifest.sha256}\n{spell_rows(manifest.sha256)}")
