"""``sealwright``: what requesters, approvers, officers and auditors run. Parses, calls ``client``, prints.

``options`` has what commands share, ``show`` how things are printed; the commands stand in ``setup``, ``rosters``,
``asking``, ``deciding``, ``holding``, ``revoking``, ``auditing`` and ``monitoring``.
"""

from typing import Annotated

import typer

from sealwright.cli.edge import EXIT_CODES, examples, run_app, version_option
from sealwright.cli.team import asking, auditing, deciding, holding, losses, monitoring, revoking, rosters, setup

app = typer.Typer(
    name="sealwright",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Certificates for code signing that two people sign for.\n\n"
    + examples(
        "sealwright init --server https://registry.example.org --pki-id HEX --person alice --key ~/.ssh/id_ed25519",
        "sealwright request --profile code-signing --team payments --project terminal --module M --token-serial S"
        " --pin-file token.pin --wait",
        "sealwright approve ID    # the other person",
        "sealwright fetch ID --out release-key",
    ),
    epilog=f"{EXIT_CODES} `sealwright monitor`: 20 a warning, 21 an alarm.",
)


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=version_option, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command(
    "init",
    short_help="Set this client up: whom to ask, whom to believe.",
    epilog=examples(
        "sealwright init --server https://registry.example.org --pki-id 9f86d081… --person alice"
        " --key ~/.ssh/id_ed25519",
    ),
)(setup.init)
app.command(
    "trust",
    short_help="Write the root certificate, for whoever distributes it.",
    epilog=examples(
        "sealwright trust --out trust",
    ),
)(setup.trust)
app.add_typer(rosters.app, name="roster", short_help="Who may ask, who may approve: for officers.")
app.add_typer(losses.app, name="loss", short_help="Declare a lost end of the ledger: for officers.")
app.command(
    "suspend",
    short_help="Take a person away at once: for one officer.",
    epilog=examples(
        'sealwright suspend bob --comment "laptop stolen"',
    ),
)(rosters.suspend)
app.command(
    "exception",
    short_help="Let one key live elsewhere: for one officer.",
    epilog=examples(
        "sealwright exception --csr ci.csr --profile code-signing --team payments --project terminal --allow software"
        ' --out exception.json --comment "until the new HSM"',
    ),
)(rosters.except_key)
app.command(
    "request",
    epilog=examples(
        "sealwright request --profile code-signing --team payments --project terminal --module"
        " /usr/lib/softhsm/libsofthsm2.so --token-serial 0123456789abcdef --pin-file token.pin --wait",
        "sealwright request --profile code-signing --team payments --project terminal --csr request.pem"
        " --key-location token --attestation attestation.pem",
    ),
)(asking.request)
app.command(
    "renew",
    short_help="Ask for the next certificate of a project.",
    epilog=examples(
        "sealwright renew 4f2a… --module M --token-serial S --pin-file token.pin",
        "sealwright renew 4f2a… --same-key --key-id 0a1b… --module M --token-serial S --pin-file token.pin",
    ),
)(asking.renew)
app.command(
    "requests",
    short_help="List requests, the newest first.",
    epilog=examples(
        "sealwright requests --state open",
    ),
)(deciding.requests)
app.command(
    "show",
    short_help="Show a request, decoded and linted here.",
    epilog=examples(
        "sealwright show 0123456789abcdef0123456789abcdef",
    ),
)(deciding.show)
app.command(
    "approve",
    epilog=examples(
        "sealwright approve 0123456789abcdef0123456789abcdef",
        "sealwright approve 0123456789abcdef0123456789abcdef --yes 9f86d081884c7d65",
    ),
)(deciding.approve)
app.command(
    "deny",
    epilog=examples(
        'sealwright deny 0123456789abcdef0123456789abcdef --comment "the release is next week"',
    ),
)(deciding.deny)
app.command(
    "withdraw",
    short_help="Take back a request of your own.",
    epilog=examples(
        'sealwright withdraw 0123456789abcdef0123456789abcdef --comment "wrong key"',
    ),
)(deciding.withdraw)
app.command(
    "fetch",
    short_help="Fetch a certificate with its chain and receipt.",
    epilog=examples(
        "sealwright fetch 0123456789abcdef0123456789abcdef --out release-key --format p7b",
        "sealwright fetch 0123456789abcdef0123456789abcdef --out release-key --key-id 0a1b… --label release"
        " --module M --token-serial S --pin-file token.pin",
    ),
)(holding.fetch)
app.command(
    "certificates",
    short_help="List certificates, the newest first.",
    epilog=examples(
        "sealwright certificates --team payments",
    ),
)(holding.certificates)
app.command(
    "revoke",
    short_help="Revoke certificates, for ever.",
    epilog=examples(
        "sealwright revoke 4f2a… --reason superseded",
        "sealwright revoke 4f2a… --reason keyCompromise --from 2026-11-20T08:00:00Z --out stolen.json",
        "sealwright revoke --approved-by bob --since 2026-11-20 --reason privilegeWithdrawn --out bob.json",
        "sealwright revoke --key found-on-a-paste-site.pem",
    ),
)(revoking.revoke)
app.command(
    "correct",
    short_help="Correct a revocation's date or reason.",
    epilog=examples("sealwright correct 4f2a… --from 2026-11-18T00:00:00Z --out earlier.json"),
)(revoking.correct)
app.command(
    "countersign",
    short_help="Sign for another person's revocation.",
    epilog=examples(
        "sealwright countersign stolen.json --wait",
        "sealwright countersign stolen.json --out complete.json",
    ),
)(revoking.countersign)
app.add_typer(auditing.app, name="audit", short_help="Check the ledger for yourself: for auditors.")
app.command(
    "monitor",
    short_help="Look at a PKI from outside: for cron.",
    epilog=examples(
        "sealwright monitor http://pki.example.org",
        "sealwright monitor http://node2.internal:8780 --registry https://registry.example.org --pki-id 9f86d081…"
        " --state /var/lib/sealwright-monitor/node2 --prometheus /var/lib/node_exporter/sealwright-node2.prom --quiet",
    ),
)(monitoring.monitor)


def main() -> None:
    run_app(app)
