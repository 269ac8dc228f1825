"""``sealwright loss``: for officers, when the end of the ledger is gone and nobody has it."""

from pathlib import Path
from typing import Annotated

import typer

from sealwright.cli.edge import examples, print_json
from sealwright.cli.team.options import AsJSON, ask_exactly, check_yes
from sealwright.cli.team.show import print_facts, stderr
from sealwright.statements.kinds import LossStatement, LostRevocation

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Declare that the end of the ledger is lost: signed by a quorum of officers, on a file from the signer.",
    epilog=examples("sealwright loss show loss.json", "sealwright loss sign loss.json    # each officer"),
)

LossFile = Annotated[Path, typer.Argument(metavar="FILE", help="What `sealwrightd loss` made.")]


@app.command("show", short_help="Show what a file declares.", epilog=examples("sealwright loss show loss.json"))
def show(file: LossFile, as_json: AsJSON = False) -> None:
    """Show what a file declares lost. Nothing of it is verified here."""
    from sealwright.client.losses import load_loss_file

    statement, signatures = load_loss_file(file)
    if as_json:
        print_json({"loss": statement.to_wire(), "sha256": statement.sha256, "signatures": len(signatures)})
    else:
        print_facts("a declaration of loss, unverified", _facts(statement, len(signatures)))


@app.command(
    "sign",
    short_help="Look at a declaration and sign it.",
    epilog=examples("sealwright loss sign loss.json --key olga"),
)
def sign(
    file: LossFile,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Your SSH key; else that of `init`.")] = None,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="SHA256", help="Agree unasked: its SHA-256, 16 digits or more.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Look at a declaration of loss and add your signature to its file.

    Sign only when registry, standby, exports and backups were all looked at: whatever was in the lost end, certificates
    and revocations, is gone for the CA, and only the serials that the file names are revoked.
    """
    from sealwright.client.config import home, load_config
    from sealwright.client.losses import load_loss_file, sign_loss

    statement, signatures = load_loss_file(file)
    if not as_json or yes is None:
        print_facts("a declaration of loss, to be signed", _facts(statement, len(signatures)), console=stderr())
    if yes is None:
        ask_exactly("lost for ever", "Nobody has these entries, neither registry, standby, export nor backup.")
    else:
        check_yes(yes, statement.sha256)
    signed = sign_loss(file, statement, key.expanduser() if key else load_config(home()).key_file)
    if as_json:
        print_json({"file": str(file), "sha256": signed.sha256, "signatures": len(signed.signatures)})
    else:
        typer.echo(
            f"{file} carries {len(signed.signatures)} signatures; at the threshold: sealwrightd recover --declared"
        )


def _says(revocation: LostRevocation) -> str:
    date = revocation.revocation_date
    since = f"from {date:%Y-%m-%d %H:%M:%S} UTC" if date else "from now on"
    which = f", CRL {revocation.scope}" if revocation.scope else ""
    return f"{', '.join(revocation.serials)}: {since}, {revocation.reason or 'no reason'}{which}"


def _facts(statement: LossStatement, signatures: int) -> list[tuple[str, str]]:
    return [
        ("drafted by", statement.person),
        ("ledger", f"{statement.size} entries are left, root {statement.root}"),
        ("lost", f"what followed, up to {statement.lost_size} entries of root {statement.lost_root}"),
        ("CRL numbers", f"go on after {statement.crl_number}"),
        *(("revoked by it", _says(each)) for each in statement.revocations),
        *(("key blocked by it", each) for each in statement.keys),
        ("goes on", "another declaration follows, with what did not fit this one" if statement.more else "no"),
        ("comment", statement.comment),
        ("good until", f"{statement.expires_at:%Y-%m-%d %H:%M} UTC"),
        ("SHA-256", statement.sha256),
        ("signatures", str(signatures)),
    ]
