"""``sealwright audit``: for auditors. The ledger, exported, verified from the PKI id on, and read."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sealwright.cli.edge import examples, print_json
from sealwright.cli.team.options import AsJSON
from sealwright.cli.team.show import print_table, stderr
from sealwright.errors import InputError, NotFound

if TYPE_CHECKING:
    from sealwright.audit.export import Export
    from sealwright.audit.findings import Findings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check for yourself: who asked for every certificate, who approved it, and that nothing was changed since."
    " An export is c2sp.org/tlog-tiles in a folder: src/sealwright/ledger/README.md says how to check one without us.",
    epilog=examples(
        "sealwright audit export ledger.zip",
        "sealwright audit verify ledger.zip --genesis ceremonies/1-root-genesis/production-1",
        "sealwright audit search --person alice --since 2026-11-01T00:00:00Z --format csv",
    ),
)

Source = Annotated[
    Path | None, typer.Option("--from", metavar="EXPORT", help="A folder or zip file; else the registry's tiles.")
]
_TIMES = ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"]
Since = Annotated[datetime | None, typer.Option(formats=_TIMES, metavar="TIME", help="From this moment on.")]
Until = Annotated[datetime | None, typer.Option(formats=_TIMES, metavar="TIME", help="Before this moment.")]


@app.command(
    "export",
    short_help="Fetch the whole ledger from the registry.",
    epilog=examples(
        "sealwright audit export ledger.zip",
        "sealwright audit export ledger",
    ),
)
def export_command(
    target: Annotated[Path, typer.Argument(metavar="DIR|FILE.zip", help="A new folder, or a new zip file.")],
    as_json: AsJSON = False,
) -> None:
    """Fetch the whole ledger from the registry: entries, hashes, checkpoint, and the CA certificates."""
    from sealwright.client.config import home, load_config
    from sealwright.client.ledger import export_ledger
    from sealwright.client.transport import RegistryClient

    config = load_config(home())
    with RegistryClient(config.server, tls_ca=config.tls_ca) as client, stderr().status("fetching tiles"):
        size = export_ledger(client, home(), target)
    if as_json:
        print_json({"export": str(target), "ledger_entries": size})
    else:
        typer.echo(f"{target}: {size} entries; nothing of it is verified yet: `sealwright audit verify {target}`")


@app.command(
    "verify",
    short_help="Check everything offline, claim by claim.",
    epilog=examples(
        "sealwright audit verify",
        "sealwright audit verify ledger.zip --pki-id 9f86d081… --crl issuing-1.crl --json",
    ),
)
def verify_command(
    source: Annotated[
        Path | None, typer.Argument(metavar="[EXPORT]", help="A folder or zip file; else the registry's tiles.")
    ] = None,
    pki_id: Annotated[
        str | None, typer.Option(metavar="HEX", help="The PKI id; else that of `sealwright init`.")
    ] = None,
    earlier: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint from before; else that of your last audit without a problem."),
    ] = None,
    genesis: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The record of the root-genesis ceremony: it is replayed.")
    ] = None,
    crl: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="A CRL of the issuing CA (DER).")] = None,
    issuing: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A certificate that the issuing CA had before it was renewed (PEM)."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Check everything offline, claim by claim, and say what cannot be known. Exit code 8 when there is a problem."""
    from sealwright.audit.verify import Evidence, crls_by_digest, verify_export
    from sealwright.client.config import home, is_set_up, load_config
    from sealwright.client.ledger import keep_checkpoint, kept_checkpoint
    from sealwright.durable import read_file

    ours = load_config(home()).pki_id if is_set_up(home()) else None
    wanted = pki_id or ours
    if wanted is None:
        raise InputError(
            "whose ledger should this be?", hint="--pki-id HEX, as an officer told you; or `sealwright init`"
        )
    keeps = wanted == ours
    before = read_file(earlier).decode() if earlier else kept_checkpoint(home()) if keeps else None
    outputs = _replay(genesis) if genesis else None
    crls = crls_by_digest([read_file(path, limit=1 << 26) for path in crl or ()])
    renewed = [read_file(path) for path in issuing or ()]
    evidence = Evidence(pki_id=wanted, earlier=before, genesis=outputs, crls=crls, renewed=renewed)
    with _opened(source) as export, stderr().status("checking"):
        findings = verify_export(export, evidence)
    if keeps:
        keep_checkpoint(home(), findings)
    if as_json:
        print_json(findings.to_json())
    else:
        _print_findings(findings)
    if not findings.is_sound:
        raise typer.Exit(8)


@app.command(
    "show",
    short_help="Show entries as they are.",
    epilog=examples(
        "sealwright audit show 4f2a…",
        "sealwright audit show 17 --from ledger.zip",
    ),
)
def show_command(
    key: Annotated[str, typer.Argument(metavar="ENTRY|SERIAL|REQUEST", help="A place, a serial, or a request's id.")],
    source: Source = None,
) -> None:
    """Show entries as they are, in JSON: one by its place, or all about a certificate or a request."""
    from sealwright.audit.describe import find_entries
    from sealwright.audit.export import read_entries

    with _opened(source) as export:
        found = [
            {"index": index, "entry": entry.model_dump(mode="json")}
            for index, entry in find_entries(read_entries(export), key)
        ]
    if not found:
        raise NotFound(f"no entry is about {key[:80]!r}", hint="`sealwright audit search` lists them")
    print_json({"entries": found})


@app.command(
    "search",
    short_help="List entries by person, team, rule, serial or time.",
    epilog=examples(
        "sealwright audit search --rule ORDER-QUORUM",
        "sealwright audit search --team payments --from ledger.zip --format csv",
    ),
)
def search_command(
    person: Annotated[str | None, typer.Option(metavar="NAME", help="Who asked, approved, revoked or drafted.")] = None,
    team: Annotated[str | None, typer.Option(metavar="NAME", help="For whom it was asked.")] = None,
    rule: Annotated[str | None, typer.Option(metavar="ID", help="Refusals by this rule.")] = None,
    serial: Annotated[str | None, typer.Option(metavar="HEX", help="Of a certificate.")] = None,
    kind: Annotated[
        str | None,
        typer.Option("--type", metavar="TYPE", help="Of entry: intent, revocation, refusal, crl or another."),
    ] = None,
    since: Since = None,
    until: Until = None,
    source: Source = None,
    form: Annotated[Literal["table", "json", "csv"], typer.Option("--format", help="How to print.")] = "table",
    as_json: AsJSON = False,
) -> None:
    """List entries, one line each; all of them without a condition. --until is exclusive; times are UTC."""
    from datetime import UTC

    from sealwright.audit.describe import COLUMNS, Wanted, find_rows, to_csv
    from sealwright.audit.export import read_entries

    wanted = Wanted(
        kind=kind,
        person=person,
        team=team,
        rule=rule,
        serial=serial.lower() if serial else None,
        since=since.replace(tzinfo=UTC) if since else None,
        until=until.replace(tzinfo=UTC) if until else None,
    )
    with _opened(source) as export:
        rows = find_rows(read_entries(export), wanted)
        if as_json or form == "json":
            print_json({"entries": list(rows)})
        elif form == "csv":
            for line in to_csv(rows):
                typer.echo(line, nl=False)
        else:
            shown = ({**row, "people": " ".join(row["people"])} for row in rows)
            print_table(COLUMNS[:-2] + COLUMNS[-1:], shown, nothing="no entry is like that")


@contextmanager
def _opened(source: Path | None) -> "Iterator[Export]":
    """An export that is there, or the registry's tiles, brought up to date."""
    from sealwright.audit.export import open_export
    from sealwright.client.config import home, load_config
    from sealwright.client.ledger import COPY, fetch_ledger
    from sealwright.client.transport import RegistryClient

    if source is not None:
        yield open_export(source)
        return
    config = load_config(home())
    with RegistryClient(config.server, tls_ca=config.tls_ca) as client, stderr().status("fetching tiles"):
        fetch_ledger(client, home(), home() / COPY)
    yield open_export(home() / COPY)


def _replay(folder: Path) -> dict[str, bytes]:
    """The root ceremony's outputs, from a record that verifies."""
    from sealwright.ceremony.record import load_record

    record = load_record(folder)
    if record.kind != "root-genesis":
        raise InputError(f"{folder} is the record of a {record.kind}", hint="--genesis takes that of root-genesis")
    return dict(record.outputs)


def _print_findings(findings: "Findings") -> None:
    said: dict[str, Any] = findings.to_json()
    for claim in said["claims"]:
        mark = f"{claim['problems']} PROBLEMS" if claim["problems"] else "ok"
        typer.echo(f"{mark:12} {claim['claim']:18} {claim['tried']:>7} x  {claim['says']}")
    for problem in findings.problems[:100]:
        typer.echo(f"PROBLEM      {problem.claim:18} {problem}")
    if len(findings.problems) > 100:
        typer.echo(f"             and {len(findings.problems) - 100} more: --json has them all")
    typer.echo(
        f"{findings.size} entries; " + ("no problem" if findings.is_sound else f"{len(findings.problems)} problems")
    )
    for each in findings.declared:
        typer.echo(f"DECLARED     {each}")
    typer.echo("What this cannot know:")
    for each in findings.cannot_know:
        typer.echo(f"  {each}")
