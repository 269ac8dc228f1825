"""What operators do while it runs, and when something was lost: look, rebuild, revoke without the registry."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from sealwright.cli.daemon.options import Folder, begin, presign_config
from sealwright.cli.edge import print_json
from sealwright.installation.config import load_config

T = TypeVar("T")


def check(
    folder: Folder, as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False
) -> None:
    """One page on how this PKI stands. Exit code 0 when nothing is a problem, 1 when something is."""
    from datetime import UTC, datetime

    from sealwright.installation.check import check, is_well, to_json

    findings = check(folder, load_config(folder), datetime.now(UTC).replace(microsecond=0))
    if as_json:
        print_json(to_json(findings))
    else:
        marks = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM"}
        for each in findings:
            typer.echo(f"{marks[each.state]}  {each.area:8} {each.text}")
    if not is_well(findings):
        raise typer.Exit(1)


def import_(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="The record of a later root ceremony.")],
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Take a later root CRL, or a later certificate of the issuing CA, from a ceremony's record.

    The record is replayed first. What does not verify, is of another root, is older than what is installed, or is a
    rehearsal in a production PKI is refused, and nothing is changed. The root CRL needs no restart: presign publishes
    it.
    """
    from datetime import UTC, datetime

    from sealwright.ceremony.record import load_record
    from sealwright.installation.bridge import import_record

    done = import_record(folder, load_record(source), datetime.now(UTC).replace(microsecond=0))
    if as_json:
        print_json([asdict(each) for each in done])
        return
    for each in done:
        typer.echo(f"{folder / each.file}: {each.what}")
        typer.echo(f"SHA-256 {each.sha256}")
        if each.restart:
            typer.echo(f"restart {', '.join(each.restart)}: they read it when they start")


def clock(
    folder: Folder,
    said: Annotated[
        str | None,
        typer.Option("--time", metavar="TIME", help="What time it is by another watch: 2026-11-23T12:00:00Z, in UTC."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """What the signer believes of this machine's clock; and with --time, tell it what time it is.

    A signer that was away for more than three days, or whose clock jumped by more than an hour, issues nothing until
    somebody says that the clock is right. Look at another watch, not at this machine's clock. The word goes into the
    ledger; it is good for an hour, and only where the clock says the same.
    """
    from datetime import UTC, datetime

    from sealwright.channel import SignerChannel
    from sealwright.errors import InputError
    from sealwright.issuing.clock import leave_word
    from sealwright.statements.wire import parse_time

    config = load_config(folder)
    if said is not None:
        try:
            word = parse_time(said)
        except ValueError as error:
            raise InputError(f"--time: {error}", hint="in UTC, with seconds and Z") from None
        leave_word(folder, word, datetime.now(UTC))
    status = SignerChannel(config.signer.socket).call("status")
    if as_json:
        print_json({"clock": status["clock"], "time_believed": status["time_believed"], "said": said})
        return
    typer.echo(f"the signer's clock is {status['clock']}; it believes that it is {status['time_believed']}")
    if said is not None and status["clock"] == "ahead":
        typer.echo(f"it hears within half a minute that it is {said}")


def rebuild(
    folder: Folder,
    only: Annotated[
        Literal["registry", "publication"] | None, typer.Option("--only", help="One of the two databases.")
    ] = None,
    owner: Annotated[
        str, typer.Option(metavar="ROLE", help="PostgreSQL: the role that owns the tables; its own passfile or peer.")
    ] = "sealwright_owner",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make the databases again from the ledger, also where they were lost: the registry's projection, and everything
    that is published, signed anew. The signer has to run; stop presign, which uses the same token and database.

    Requests that were never issued, and decisions on them, are in no ledger: a lost registry database loses them.
    """
    from sealwright.publication.presign import rebuild_publication
    from sealwright.registration.config import RegistryConfig
    from sealwright.registration.projection import rebuild as rebuild_projection
    from sealwright.registration.registry import Registry
    from sealwright.store.migrations import upgrade

    config = begin(folder, "rebuild")
    done: dict[str, int] = {}
    if only != "publication":
        upgrade("registry", config.registry.database, owner=owner)
        registry_ = Registry.open(
            RegistryConfig(
                folder=folder, socket=config.signer.socket, database=config.registry.database, url=config.registry.url
            )
        )
        done["ledger_entries"] = rebuild_projection(registry_)
    if only != "registry":
        upgrade("publication", config.presign.publication, owner=owner)
        done["serials_answered"] = rebuild_publication(presign_config(folder, config), owner=owner)
    if as_json:
        print_json(done)
    else:
        for name, count in done.items():
            typer.echo(f"{name.replace('_', ' ')}: {count}")


def revoke(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Signed orders: `sealwright revoke --out`, `countersign --out`."),
    ],
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Give signed revocation orders to the signer itself, with the registry down.

    The signer judges what people signed; this command adds nothing to it. Run it as a uid of [signer] peers.
    """
    from sealwright.channel import SignerChannel
    from sealwright.statements.revocations import ORDER_LIMIT, parse_order

    channel, answers = SignerChannel(load_config(folder).signer.socket), []
    orders = [_read(file, parse_order, ORDER_LIMIT, "sealwright revoke --out FILE") for file in files]
    for file, order in zip(files, orders, strict=True):
        answer = channel.call("revoke", order=order.to_wire())
        answers.append({"file": str(file), **answer})
        if not as_json:
            serials = ", ".join(answer["serials"]) or "no further certificate"
            serials += f" and {answer['more']} more of the same key" if answer["more"] else ""
            typer.echo(f"{file}: {answer['act']} of {serials}, from {answer['revocation_date']}; it is in the ledger")
    if as_json:
        print_json(answers)


def suspend(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `sealwright suspend --out` made.")],
    folder: Folder,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Give an officer's signed suspension to the signer itself, with the registry down or in other hands.

    The signer judges what the officer signed; this command adds nothing to it. Run it as a uid of [signer] peers.
    """
    from sealwright.channel import SignerChannel
    from sealwright.statements.canonical import STATEMENT_LIMIT
    from sealwright.statements.signed import parse_signed

    signed = _read(file, parse_signed, 2 * STATEMENT_LIMIT, "sealwright suspend --out FILE")
    answer = SignerChannel(load_config(folder).signer.socket).call("suspend", suspension=signed.to_wire())
    if as_json:
        print_json(answer)
    else:
        typer.echo(f"suspended now: {', '.join(answer['suspended'])}; it is in the ledger")


def _read(file: Path, parse: Callable[[bytes], T], limit: int, maker: str) -> T:
    from sealwright.durable import read_file
    from sealwright.errors import InputError

    data = read_file(file, limit=limit, hint=f"`{maker}` makes such a file")
    try:
        return parse(data)
    except InputError as error:
        raise InputError(f"{file}: {error.message}", hint=f"`{maker}` makes such a file") from None
