"""``sealwrightd``: what operators run on servers. Parses, calls, prints; the processes are in their rooms.

``options`` has what commands share; the commands stand in ``setup``, ``processes``, ``handover``,
``recovery`` and ``upkeep``.
"""

from typing import Annotated

import typer

from sealwright.cli.daemon import handover, processes, recovery, setup, upkeep
from sealwright.cli.edge import EXIT_CODES, examples, run_app, version_option
from sealwright.installation.parent import die_with_parent

_INSTALL = (
    "sealwrightd install --genesis ceremonies/2026-root --record ceremonies/2026-issuing-key"
    " --record ceremonies/2026-issuing-ca --ca ca --dir /var/lib/sealwright --module /usr/lib/softhsm/libsofthsm2.so"
    " --issuing-pin issuing.pin --ocsp-pin ocsp.pin --ledger-pin ledger.pin"
)

app = typer.Typer(
    name="sealwrightd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="The servers of a Sealwright PKI: signer, presign, registry and validation.\n\n"
    + examples(_INSTALL, "sealwrightd up --dir /var/lib/sealwright"),
    epilog=EXIT_CODES.replace("; 130 ", "; 14 another signer took over; 130 ") + " `check`: 1 something is a problem.",
)


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=version_option, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    die_with_parent()


app.command("install", short_help="Make the servers' folder from ceremony records.", epilog=examples(_INSTALL))(
    setup.install
)
app.command(
    "signer",
    short_help="Run the signer: issuing key, ledger, orders.",
    epilog=examples(
        "sealwrightd signer --dir /var/lib/sealwright", "sealwrightd signer --standby --dir /var/lib/sealwright"
    ),
)(processes.signer)
app.command(
    "takeover",
    short_help="Let this machine's signer sign, and no other.",
    epilog=examples(
        "sealwrightd takeover --dir /var/lib/sealwright",
        "sealwrightd takeover --dir /var/lib/sealwright --source-is-lost",
    ),
)(handover.takeover)
app.command(
    "presign",
    short_help="Run presign: OCSP answers ahead of time.",
    epilog=examples("sealwrightd presign --dir /var/lib/sealwright"),
)(processes.presign)
app.command(
    "registry",
    short_help="Run the registry: the API of teams.",
    epilog=examples("sealwrightd registry --dir /var/lib/sealwright"),
)(processes.registry)
app.command(
    "validation",
    short_help="Run validation: OCSP, CRLs and CA certificates.",
    epilog=examples(
        "sealwrightd validation --dir /var/lib/sealwright", "sealwrightd validation --dir /var/lib/sealwright --rebuild"
    ),
)(processes.validation)
app.command(
    "metrics", short_help="Run the exporter.", epilog=examples("sealwrightd metrics --dir /var/lib/sealwright")
)(processes.metrics)
app.command(
    "check",
    short_help="One page on how this PKI stands.",
    epilog=examples("sealwrightd check --dir /var/lib/sealwright"),
)(upkeep.check)
app.command(
    "owners",
    short_help="Give a restored folder's files to their users.",
    epilog=examples("sealwrightd owners --dir /var/lib/sealwright"),
)(setup.owners)
app.command(
    "units",
    short_help="Write the systemd units.",
    epilog=examples("sealwrightd units --dir /var/lib/sealwright --out /etc/systemd/system"),
)(setup.units)
app.command(
    "migrate",
    short_help="Bring the databases to this version.",
    epilog=examples("sealwrightd migrate --dir /var/lib/sealwright"),
)(setup.migrate)
app.command(
    "import",
    short_help="Take a later root CRL from a ceremony's record.",
    epilog=examples("sealwrightd import root-crl-2027/production-1 --dir /var/lib/sealwright"),
)(upkeep.import_)
app.command(
    "clock",
    short_help="Tell a signer that was away what time it is.",
    epilog=examples("sealwrightd clock --dir /var/lib/sealwright --time 2026-11-23T12:00:00Z"),
)(upkeep.clock)
app.command(
    "recover",
    short_help="Bring back what a restored ledger lacks.",
    epilog=examples(
        "sealwrightd recover --dir /var/lib/sealwright --from ledger.zip",
        "sealwrightd recover --dir /var/lib/sealwright --from https://registry.example.org",
        "sealwrightd recover --standby --dir /var/lib/sealwright --from https://registry.example.org",
        "sealwrightd recover --dir /var/lib/sealwright --declared loss.json",
    ),
)(recovery.recover)
app.command(
    "loss",
    short_help="Draft the word that nobody has it.",
    epilog=examples(
        'sealwrightd loss --dir /var/lib/sealwright --person olga --out loss.json --comment "both disks burnt"',
    ),
)(recovery.loss)
app.command(
    "rebuild",
    short_help="Make the databases again from the ledger.",
    epilog=examples(
        "sealwrightd rebuild --dir /var/lib/sealwright",
        "sealwrightd rebuild --dir /var/lib/sealwright --only publication",
    ),
)(upkeep.rebuild)
app.command(
    "revoke",
    short_help="Give a signed revocation to the signer itself.",
    epilog=examples("sealwrightd revoke stolen.json --dir /var/lib/sealwright"),
)(upkeep.revoke)
app.command(
    "suspend",
    short_help="Give a signed suspension to the signer itself.",
    epilog=examples("sealwrightd suspend bob.json --dir /var/lib/sealwright"),
)(upkeep.suspend)
app.command(
    "up",
    short_help="Run all of them here, to look at the flow.",
    epilog=examples("sealwrightd up --dir /var/lib/sealwright"),
)(processes.up)


def main() -> None:
    run_app(app)
