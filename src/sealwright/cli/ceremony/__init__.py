"""``sealwright-ceremony``: parse, call, print. What a ceremony is stands in ``sealwright.ceremony``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.check import check as check_folder
from sealwright.ceremony.check import still_wanted
from sealwright.ceremony.clock import format_time, parse_time, utc_now
from sealwright.ceremony.console import people_here
from sealwright.ceremony.folder import TRANSCRIPT
from sealwright.ceremony.paper import print_record, print_script
from sealwright.ceremony.preparation import prepare as prepare_folder
from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.replay import Findings, verify_folder
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse as rehearse_folder
from sealwright.ceremony.sitting import resume as resume_folder
from sealwright.ceremony.sitting import run as run_folder
from sealwright.ceremony.sitting import sign_record
from sealwright.ceremony.words import spell_rows
from sealwright.cli.ceremony import exchange, looking
from sealwright.cli.edge import EXIT_CODES, examples, print_json, run_app, version_option
from sealwright.durable import replace_file
from sealwright.errors import InputError, NotReady

app = typer.Typer(
    name="sealwright-ceremony",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Key ceremonies for the offline root: from a reviewed script to a record that anyone can replay.\n\n"
    "new, prepare, check, print, rehearse, run, verify: in this order; resume after a loss of power. "
    "Besides, at any time: inventory, media, calendar.\n\n"
    + examples(
        "sealwright-ceremony new root-genesis genesis --ca ca --input officers.toml=officers.toml",
        "sealwright-ceremony prepare genesis",
        "sealwright-ceremony rehearse genesis --unattended",
    ),
    epilog=EXIT_CODES,
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The ceremony's folder.", show_default=False)]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
RecordFolder = Annotated[
    Path | None,
    typer.Option(
        "--record", metavar="FOLDER", help="Where the record goes; by default rehearsal-N or production-N in FOLDER."
    ),
]


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=version_option, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(
    short_help="Make a ceremony's folder.",
    epilog=examples(
        "sealwright-ceremony new issuing-ca issuing-ca-2026 --ca ca --from genesis/rehearsal-1 "
        "--from issuing-key/rehearsal-1"
    ),
)
def new(
    kind: Annotated[
        Kind,
        typer.Argument(metavar="KIND", help="Which kind of ceremony.", show_default=False),
    ],
    folder: Folder,
    ca: Annotated[
        Path | None, typer.Option("--ca", metavar="FOLDER", help="Take pki.toml and profiles/*.toml from this folder.")
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="RECORD",
            help="Take inputs from the outputs of this record; may be given again, the last wins.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=PATH", help="Take this input from a file.")
    ] = None,
    script: Annotated[
        Path | None,
        typer.Option("--script", metavar="FILE", help="This script instead of the one that came with the software."),
    ] = None,
    site: Annotated[Path | None, typer.Option("--site", metavar="FILE", help="Use this site.toml.")] = None,
    as_json: AsJSON = False,
) -> None:
    """Make a ceremony's folder: script.toml, site.toml, inputs/."""
    named = {}
    for item in inputs or []:
        name, equals, path = item.partition("=")
        if not equals:
            raise InputError(f"--input is {item!r}; wanted NAME=PATH", hint="for example officers.toml=officers.toml")
        named[name] = Path(path)
    lacking = new_folder(kind, folder, ca=ca, records=records or (), inputs=named, script=script, site=site)
    if as_json:
        print_json({"folder": str(folder), "kind": kind, "missing_inputs": list(lacking)})
        return
    typer.echo(f"{folder}: script.toml, site.toml and inputs/ for {kind}")
    for name in lacking:
        typer.echo(f"  still to be put in: {folder}/inputs/{name}")
    typer.echo(f"next: sealwright-ceremony prepare {folder}")


@app.command(
    short_help="Fix and pin everything beforehand.",
    epilog=examples("sealwright-ceremony prepare genesis --at 2026-12-01T09:00:00Z"),
)
def prepare(
    folder: Folder,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="When it takes place, 2026-12-01T09:00:00Z: notBefore and thisUpdate. Default: now.",
        ),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option("--previous", metavar="RECORD", help="The record before this one: its head goes into the header."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Fix serial and dates, pin every input by SHA-256, build and lint what will be signed."""
    prepared = prepare_folder(folder, at=parse_time(at, "--at") if at else utc_now(), previous=previous)
    if as_json:
        print_json({"folder": str(folder), "sha256": prepared.sha256, **prepared.file.model_dump(mode="json")})
        return
    typer.echo(f"{folder}/prepared.json: {prepared.file.kind} at {prepared.plan.at}")
    for mode, digests in prepared.file.digests.items():
        for name, digest in digests.items():
            typer.echo(f"  {mode} {name}\n    {digest}\n{spell_rows(digest)}")
    typer.echo(f"next: sealwright-ceremony check {folder}; sealwright-ceremony print {folder}")


@app.command(short_help="Could it succeed? Nothing is touched.", epilog=examples("sealwright-ceremony check genesis"))
def check(folder: Folder, as_json: AsJSON = False) -> None:
    """Could it succeed? Opens no token, asks nobody, writes nothing; names the step that could not be taken."""
    checked, established = check_folder(folder)
    wanted = still_wanted(checked, utc_now())
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "kind": checked.script.kind,
                "established": list(established),
                "still_wanted": list(wanted),
            }
        )
        return
    for line in established:
        typer.echo(f"ok  {line}")
    for line in wanted:
        typer.echo(f"--  before `run`: {line}")


@app.command(
    short_help="Perform it on SoftHSM, as a REHEARSAL.",
    epilog=examples("sealwright-ceremony rehearse genesis --unattended"),
)
def rehearse(
    folder: Folder,
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Nobody is asked: the program answers as the script wants.")
    ] = False,
    record: RecordFolder = None,
    as_json: AsJSON = False,
) -> None:
    """Perform it on SoftHSM tokens, with REHEARSAL in every subject, and replay the record."""
    _print_record(rehearse_folder(folder, record=record, unattended=unattended), as_json)


@app.command(short_help="Perform it in PRODUCTION, with people.", epilog=examples("sealwright-ceremony run genesis"))
def run(
    folder: Folder,
    rehearsal: Annotated[
        list[Path] | None,
        typer.Option(
            "--rehearsal", metavar="RECORD", help="A rehearsal's record of the same script, when it is not in FOLDER."
        ),
    ] = None,
    record: RecordFolder = None,
    unattended: Annotated[bool, typer.Option("--unattended", hidden=True)] = False,
    as_json: AsJSON = False,
) -> None:
    """Perform it in PRODUCTION: real tokens, and people who answer. Needs a rehearsal of the very same script."""
    if unattended:
        raise InputError(
            "--unattended exists for rehearsals only: production is for people", hint="sealwright-ceremony rehearse"
        )
    _print_record(run_folder(folder, record=record, rehearsals=tuple(rehearsal or ())), as_json)


@app.command(
    short_help="Go on after an interruption.",
    epilog=examples("sealwright-ceremony resume genesis/production-1"),
)
def resume(
    folder: Annotated[
        Path,
        typer.Argument(metavar="FOLDER", help="The record that was cut off.", show_default=False),
    ],
    unattended: Annotated[
        bool, typer.Option("--unattended", help="Of an unattended rehearsal: it goes on as one.")
    ] = False,
    site_folder: Annotated[
        Path | None,
        typer.Option(
            "--site-folder", metavar="FOLDER", help="Where relative paths in site.toml start; by default beside FOLDER."
        ),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Go on where a ceremony was cut off: replay what was done, ask everybody again, look at the token, finish."""
    _print_record(resume_folder(folder, folder=site_folder, unattended=unattended), as_json)


@app.command(
    short_help="Sign a record that you were there for.",
    epilog=examples("sealwright-ceremony sign genesis/production-1 --as ada --key /media/ada/id_ed25519_sk"),
)
def sign(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The record.", show_default=False)],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Who you were there.", show_default=False)],
    key: Annotated[
        Path,
        typer.Option(
            "--key", metavar="FILE", help="Your own SSH key, or a .pub that an agent has.", show_default=False
        ),
    ],
    as_json: AsJSON = False,
) -> None:
    """Replay a record and sign its head with your own SSH or FIDO key, as an officer or witness who was there."""
    sign_record(folder, name, people_here(key_files=lambda _: key))
    findings = verify_folder(folder)
    if as_json:
        print_json({"record": str(folder), "head": findings.head, "signed_by": [str(each) for each in findings.signed]})
        return
    typer.echo(f"head {findings.head}, signed by {', '.join(map(str, findings.signed))}")


@app.command(
    short_help="Do it all again, without a token.", epilog=examples("sealwright-ceremony verify genesis/rehearsal-1")
)
def verify(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A record: what rehearse or run made.", show_default=False)
    ],
    as_json: AsJSON = False,
) -> None:
    """Do everything again from the record alone, without a token, and say what cannot be known.

    A production record that a quorum and the witness have not signed is true, does not count yet, and ends in code 10.
    """
    findings = verify_folder(folder)
    if as_json:
        print_json(findings.to_json())
    else:
        _tell_findings(findings)
    if findings.unsigned:
        raise typer.Exit(NotReady.exit_code)


def _tell_findings(findings: Findings) -> None:
    people = "people in the room" if findings.attended else "unattended"
    typer.echo(f"{findings.kind}, {findings.mode}, {people}, {findings.started} to {findings.ended}")
    typer.echo(f"head {findings.head}\n{spell_rows(findings.head)}")
    for claim in findings.claims:
        typer.echo(f"ok  {claim}")
    if findings.unsigned:
        typer.echo(f"--  NOT SIGNED yet by {findings.unsigned}: it does not count before")
    same = "the same as this" if findings.same_software else "another than this"
    typer.echo(f"--  conducted by {findings.software['version']} ({findings.software['sha256'][:16]}...), {same}")
    typer.echo("What this record cannot show:")
    for line in findings.cannot_know:
        typer.echo(f"  - {line}")


@app.command(
    "print",
    short_help="The paper, before and after.",
    epilog=examples("sealwright-ceremony print genesis --out genesis-script.html"),
)
def print_(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A prepared folder, or a record.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file; by default script.html or record.html in FOLDER."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="As PDF, where the extra `pdf` is installed.")] = False,
    paper: Annotated[Literal["A4", "Letter"], typer.Option(help="For a PDF; HTML is for both.")] = "A4",
    mode: Annotated[
        Mode | None, typer.Option(help="A script for this mode only; by default for every mode it is prepared for.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """The paper: a script to read from before it, the filled record after it. One HTML file that needs nothing else.

    Each page has its digest below; page 1 lists those of the others, so that its own stands for the whole.
    """
    is_record = (folder / TRANSCRIPT).is_file()
    if is_record and mode is not None:
        raise InputError("a record has its mode already", hint="--mode is for the script before it")
    page = print_record(folder) if is_record else print_script(folder, mode)
    if pdf:
        from sealwright.cli.ceremony.pdf import make_pdf

        page = make_pdf(page, paper)
    place = out or folder / f"{'record' if is_record else 'script'}.{'pdf' if pdf else 'html'}"
    replace_file(place, page)
    if as_json:
        print_json({"file": str(place), "octets": len(page)})
        return
    typer.echo(str(place))


app.command(
    short_help="Which tokens there are, and what is on them.",
    epilog=examples("sealwright-ceremony inventory --site genesis/site.toml --open 4a3f --out census.json"),
)(looking.inventory)
app.add_typer(exchange.app, name="media", short_help="Carry files between rooms.")
app.command(
    short_help="What must happen when.",
    epilog=examples(
        "sealwright-ceremony calendar genesis/production-1 issuing-ca/production-1 --ca ca --ics duties.ics"
    ),
)(looking.calendar)


def _print_record(record: CeremonyRecord, as_json: bool) -> None:
    mode: Mode = record.mode
    if as_json:
        print_json(
            {
                "record": str(record.path),
                "kind": record.kind,
                "mode": mode,
                "head": record.head,
                "outputs": {name: str(record.path / "outputs" / name) for name in sorted(record.outputs)},
                "at": format_time(utc_now()),
            }
        )
        return
    typer.echo(f"{record.kind}, {mode}: done and replayed. The record is {record.path}")
    typer.echo(f"head {record.head}\n{spell_rows(record.head)}")
    for name in sorted(record.outputs):
        typer.echo(f"  {record.path}/outputs/{name}")


def main() -> None:
    """The ``sealwright-ceremony`` command."""
    run_app(app)


if __name__ == "__main__":
    main()
