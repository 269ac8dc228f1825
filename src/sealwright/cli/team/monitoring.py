"""``sealwright monitor``: for whoever watches a PKI from outside."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealwright.cli.edge import print_json
from sealwright.cli.team.options import AsJSON
from sealwright.errors import InputError

if TYPE_CHECKING:
    from sealwright.client.monitor.findings import Report


def monitor(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where verifiers ask: the public name, a node or a cache.")],
    registry: Annotated[
        str | None, typer.Option(metavar="URL", help="The registry, which shows the ledger; else that of `init`.")
    ] = None,
    pki_id: Annotated[
        str | None, typer.Option(metavar="HEX", help="The PKI id, as an officer gave it; else that of `init`.")
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the CAs that the registry's TLS may be under.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What was seen at earlier looks; a folder for each URL.")
    ] = None,
    prometheus: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write a file for node_exporter's textfile collector.")
    ] = None,
    sample: Annotated[
        int, typer.Option(metavar="COUNT", min=1, max=100_000, help="Certificates asked for by OCSP, at most.")
    ] = 50,
    crl_hours: Annotated[int, typer.Option(metavar="HOURS", min=1, help="A CRL older than this is a warning.")] = 25,
    expiry_days: Annotated[
        int, typer.Option(metavar="DAYS", min=0, help="A certificate that ends sooner, without a successor, is one.")
    ] = 30,
    grace: Annotated[
        int,
        typer.Option(metavar="SECONDS", min=0, help="How long a revocation may take from the ledger to CRL and OCSP."),
    ] = 300,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only what is not well: for cron.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Look at a PKI as its verifiers see it: chain, CRLs and OCSP, fresh, in agreement with each other and the ledger,
    and never older than at the last look.

    Everything is verified from the PKI id on; no login is needed. Exit code 0: all is well; 20: a warning; 21: an
    alarm. Any other code: there was no look at all.
    """
    from sealwright.client.config import check_server, home, is_set_up, load_config
    from sealwright.client.files import write_file
    from sealwright.client.monitor.findings import EXIT_CODES
    from sealwright.client.monitor.places import check_base
    from sealwright.client.monitor.prometheus import format_report
    from sealwright.client.monitor.watch import Watch, look

    config = load_config(home()) if is_set_up(home()) else None
    if config is None and (registry is None or pki_id is None):
        raise InputError(
            "which PKI should this be?",
            hint="--registry URL and --pki-id HEX, as an officer told you; or `sealwright init`",
        )
    base = check_base(url)
    server, trusted = (registry, None) if registry or config is None else (config.server, config.tls_ca)
    watch = Watch(
        url=base,
        registry=check_server(server or ""),
        pki_id=_digest(pki_id or (config.pki_id if config else "")),
        tls_ca=str(tls_ca) if tls_ca else trusted,
        folder=state or home() / "monitor" / _folder_name(base),
        sample=sample,
        crl_age=timedelta(hours=crl_hours),
        expiry=timedelta(days=expiry_days),
        grace=timedelta(seconds=grace),
    )
    report = look(watch, datetime.now(UTC).replace(microsecond=0))
    if prometheus is not None:
        write_file(prometheus, format_report(report), replace=True)
    if as_json:
        print_json(report.to_json())
    else:
        _print(report, quiet=quiet)
    if report.level:
        raise typer.Exit(EXIT_CODES[report.level])


def _digest(text: str) -> str:
    digest = text.lower()
    if len(digest) != 64 or any(each not in "0123456789abcdef" for each in digest):
        raise InputError(f"the PKI id is {text[:80]!r}; wanted 64 hex digits", hint="an officer has it")
    return digest


def _folder_name(base: str) -> str:
    return "".join(each if each.isalnum() or each in ".-" else "_" for each in base.partition("://")[2])


def _print(report: "Report", *, quiet: bool) -> None:
    marks = {0: "ok     ", 1: "WARNING", 2: "ALARM  "}
    for each in report.findings:
        if each.level or not quiet:
            typer.echo(f"{marks[each.level]}  {each.check:18} {each.subject}: {each.text}")
    if not quiet:
        typer.echo(f"{report.url}: {report.level.word}")
