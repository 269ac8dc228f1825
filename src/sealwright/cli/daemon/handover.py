"""Which machine signs: ``takeover``."""

from typing import Annotated

import typer

from sealwright.cli.daemon.options import Folder, begin, key_place, source_opener, standby_section
from sealwright.cli.edge import print_json
from sealwright.installation.config import WAIT_SECONDS


def takeover(
    folder: Folder,
    source_is_lost: Annotated[
        bool,
        typer.Option("--source-is-lost", help="There is no source any more, nor what it had beyond the copy here."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make this machine's signer the one that signs; the old one, wherever it runs, can sign no more.

    Run it as the signer's user, beside the running standby. It brings the copy up to date, shows what it will do, wants
    the exact answer (on stdin), raises the epoch on the issuing token, waits, and looks once more what the old signer
    recorded. Then start the signer.

    The epoch is on the token: an old signer that uses a clone of it is not stopped by this. Take its token or its PIN
    file away first.
    """
    from sealwright.channel import SignerChannel
    from sealwright.errors import InputError
    from sealwright.hsm.module import load_module
    from sealwright.hsm.session import Pin, TokenSession
    from sealwright.installed import load_installed
    from sealwright.issuing.takeover import Takeover

    config = begin(folder, "signer")
    section = None if source_is_lost else standby_section(config)
    serial, _, pin_file, module = key_place(config.signer.issuing)
    with TokenSession.open(load_module(module or config.token.module), serial, Pin.from_file(pin_file)) as session:
        act = Takeover(
            load_installed(folder),
            session,
            source_opener(folder, section) if section else None,
            wait_seconds=config.standby.wait_seconds if config.standby else WAIT_SECONDS,
            tell=lambda line: typer.echo(line, err=True),
        )
        plan = act.plan(SignerChannel(config.signer.socket, timeout=5))
        typer.echo(
            f"entries here:        {plan.entries}, verified{f'; {plan.source}' if plan.source else ''}", err=True
        )
        typer.echo(f"epoch on the token:  {plan.before or 'none yet'}, and {plan.epoch} from now on", err=True)
        typer.echo("The signer that held the token until now signs no more, for ever.", err=True)
        if typer.prompt(f"Type {plan.confirmation!r} to go on", default="", show_default=False, err=True) != (
            plan.confirmation
        ):
            raise InputError(f"the answer was not {plan.confirmation!r}: nothing was changed")
        entries = act.run(plan)
    if as_json:
        print_json({"epoch": plan.epoch, "ledger_entries": entries})
    else:
        typer.echo(f"this machine holds the token since epoch {plan.epoch}; its ledger has {entries} entries")
        typer.echo(
            "now start its signer: systemctl disable --now sealwright-standby; systemctl enable --now sealwright-signer"
        )
