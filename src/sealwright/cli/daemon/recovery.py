"""After a ledger was set back: the missing end from a copy, or the officers' word that nobody has it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealwright.cli.daemon.options import Folder, begin, signer_config
from sealwright.cli.edge import print_json
from sealwright.errors import InputError

if TYPE_CHECKING:
    from cryptography import x509


def recover(
    folder: Folder,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="URL|PATH",
            help="A registry's URL, the ledger of a standby, or a folder or zip file of `sealwright audit export`.",
        ),
    ] = None,
    declared: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What `sealwrightd loss` made and officers signed: there is no copy."),
    ] = None,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificates that the URL's server is verified with.")
    ] = None,
    standby: Annotated[
        bool, typer.Option("--standby", help="This machine is to follow from now on: give up its claim to sign.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """After a backup of the ledger was restored: take what is missing from a copy that the ledger key signed.

    The signer must not run, and this runs as its user. It refuses to sign since a follower showed it what is missing,
    and until this is done. With --standby it makes a signer that was taken over from a standby of the new one. With
    --declared it goes on without what is missing: the officers declared it lost.
    """
    if (source is None) == (declared is None) or (standby and source is None):
        raise InputError("wanted one of --from and --declared; --standby goes with --from")
    if declared is not None:
        _declare(folder, declared, as_json=as_json)
    elif source is not None:
        _copy(folder, source, tls_ca, to_follow=standby, as_json=as_json)


def _copy(folder: Path, where: str, tls_ca: Path | None, *, to_follow: bool, as_json: bool) -> None:
    from sealwright.installation.sources import open_source, read_entries
    from sealwright.installed import load_installed
    from sealwright.issuing.recover import recover_ledger

    installed = load_installed(folder)
    with open_source(where, installed, tls_ca=tls_ca) as copy:
        checkpoint = copy.checkpoint()
        done = recover_ledger(installed, read_entries(copy, checkpoint), checkpoint, to_follow=to_follow)
    if as_json:
        print_json(
            {
                "ledger_entries": done.size,
                "recovered": done.size - done.before,
                "dropped": done.dropped,
                "kept": str(done.kept),
            }
        )
    else:
        typer.echo(f"the ledger has {done.size} entries again; {done.size - done.before} were missing")
        typer.echo(f"the old one, with {done.dropped} entries of its own, is {done.kept}")


def _declare(folder: Path, file: Path, *, as_json: bool) -> None:
    from sealwright.durable import read_file
    from sealwright.issuing.loss import declare_loss
    from sealwright.issuing.service import opened_authority
    from sealwright.statements.canonical import STATEMENT_LIMIT
    from sealwright.statements.signed import parse_signed

    hint = "`sealwrightd loss` drafts it, `sealwright loss sign` signs it"
    signed = parse_signed(read_file(file, limit=2 * STATEMENT_LIMIT, hint=hint))
    with opened_authority(signer_config(folder, begin(folder, "signer"))) as authority:
        said = declare_loss(authority, signed).statement
    if as_json:
        print_json({"size": said.size, "lost_size": said.lost_size, "revoked": list(said.serials), "more": said.more})
    else:
        typer.echo(f"that all after the first {said.size} entries is lost is in the ledger")
        typer.echo(f"serials revoked by it: {', '.join(said.serials) or 'none'}")
        typer.echo(
            "nothing is signed yet: `sealwrightd loss` drafts the rest, to be signed and declared as this one was"
            if said.more
            else "start the signer again; then order again what no CRL had: see the runbook"
        )


def loss(
    folder: Folder,
    person: Annotated[str, typer.Option(metavar="NAME", help="The officer in whose name it is drafted.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The draft, for officers to sign: `sealwright loss sign`.")],
    serial: Annotated[
        list[str] | None,
        typer.Option("--serial", metavar="HEX", help="A certificate that was in the lost end; again for each."),
    ] = None,
    compromised: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A lost certificate (PEM) whose key is to be blocked; again for each."),
    ] = None,
    comment: Annotated[str, typer.Option(metavar="TEXT", help="What happened, and where you looked.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Draft the declaration that the end of the ledger is lost, from what is known here. The signer must not run.

    It names the ledger that is left, the checkpoint that shows what is missing, the CRL number to go on after, and the
    serials to revoke: those given, and those on the CRLs in DIR/crl whose revocation was in the lost end, from when and
    why they say. What does not fit (250 to 1,100 serials do) is left for another one: it says so.
    """
    from contextlib import closing
    from datetime import UTC, datetime

    from sealwright.errors import Conflict
    from sealwright.installed import load_installed
    from sealwright.issuing.index import INDEX, LedgerIndex
    from sealwright.issuing.loss import draft_loss
    from sealwright.ledger.copy import LedgerCopy
    from sealwright.pki.serials import parse_serial

    installed = load_installed(folder)
    with (
        LedgerCopy.open(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key) as ledger,
        closing(LedgerIndex.open(installed.ledger / INDEX, ledger)) as index,
    ):
        statement = draft_loss(
            installed,
            ledger,
            index,
            person=person,
            serials=[parse_serial(each) for each in serial or ()],
            compromised=[_load_certificate(each) for each in compromised or ()],
            comment=comment,
            now=datetime.now(UTC).replace(microsecond=0),
        )
    try:
        with out.open("xb") as file:
            file.write(statement.to_bytes())
    except FileExistsError:
        raise Conflict(f"{out} exists", hint="nothing is overwritten: name another file") from None
    if as_json:
        print_json({"file": str(out), "loss": statement.to_wire(), "sha256": statement.sha256})
    else:
        typer.echo(f"{out}: {statement.size} entries are left; the ledger key signed {statement.lost_size}")
        typer.echo(f"officers sign it with: sealwright loss sign {out}")
        if statement.more:
            typer.echo("there is more than fits: once this is declared, make another one, with the same options")


def _load_certificate(path: Path) -> "x509.Certificate":
    from cryptography import x509

    from sealwright.durable import read_file

    try:
        return x509.load_pem_x509_certificate(read_file(path))
    except ValueError:
        raise InputError(f"{path} is no certificate in PEM") from None
