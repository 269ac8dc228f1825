"""What is done once for an installation, or at an upgrade: the folder, the units, the databases' schema."""

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sealwright.cli.daemon.options import Folder, begin
from sealwright.cli.edge import print_json
from sealwright.errors import InputError
from sealwright.installation.config import load_config

AsJSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def install(
    genesis: Annotated[Path, typer.Option(metavar="FOLDER", help="The record of the root-genesis ceremony.")],
    record: Annotated[
        list[Path], typer.Option(metavar="FOLDER", help="A further record: issuing-key, issuing-ca, root-crl.")
    ],
    folder: Folder,
    module: Annotated[Path, typer.Option(metavar="FILE", help="The PKCS#11 module of the tokens.")],
    issuing_pin: Annotated[
        Path, typer.Option(metavar="FILE", help="File (mode 0400 or 0600) with the issuing token's PIN.")
    ],
    ocsp_pin: Annotated[Path, typer.Option(metavar="FILE", help="The same for the OCSP token.")],
    ledger_pin: Annotated[Path, typer.Option(metavar="FILE", help="The same for the ledger token.")],
    ca: Annotated[
        Path, typer.Option(metavar="FOLDER", help="The folder with pki.toml, profiles/ and policy.md.")
    ] = Path("ca"),
    environment: Annotated[
        list[str] | None,
        typer.Option("--environment", metavar="NAME=VALUE", help="What the module reads from its environment."),
    ] = None,
    registry_listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the registry listens.")
    ] = "127.0.0.1:8790",
    registry_url: Annotated[str | None, typer.Option(metavar="URL", help="How clients reach the registry.")] = None,
    validation_listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where verifiers ask.")
    ] = "127.0.0.1:8780",
    metrics_listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where `sealwrightd metrics` listens, on loopback.")
    ] = None,
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ROLE=USER", help="The user of signer, presign, registry, validation, metrics."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="The group of those that call the signer; with --user.")
    ] = None,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Install a rehearsal; it can never become production.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Replay the ceremony records and make the folder that the servers run on."""
    from sealwright.errors import InputError
    from sealwright.installation.install import Installation, install
    from sealwright.installation.owners import parse_owners

    pairs = [item.partition("=") for item in environment or ()]
    if any(not separator for _, separator, _ in pairs):
        raise InputError(
            "--environment takes NAME=VALUE", hint="for example --environment SOFTHSM2_CONF=/etc/softhsm2.conf"
        )
    anchor = install(
        Installation(
            genesis=genesis,
            records=tuple(record),
            ca=ca,
            folder=folder,
            module=module,
            environment={name: value for name, _, value in pairs},
            pins={"issuing": issuing_pin, "ocsp": ocsp_pin, "ledger": ledger_pin},
            registry_listen=registry_listen,
            registry_url=registry_url or f"http://{registry_listen}",
            validation_listen=validation_listen,
            rehearsal=rehearsal,
            metrics_listen=metrics_listen,
            owners=parse_owners(user or (), group),
        )
    )
    if as_json:
        print_json({"pki": anchor.pki_id, "mode": anchor.mode, "dir": str(folder)})
    else:
        typer.echo(f"installed: {folder} ({anchor.mode})")
        typer.echo(f"PKI id:    {anchor.pki_id}")
        typer.echo("Give the PKI id to every person by a second channel: `sealwright init` pins it.")


def units(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the units go: /etc/systemd/system.")],
    command: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The sealwrightd that they start; by default this one.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Write systemd units for a PKI that was installed with separate users."""
    from sealwright.installation.units import make_units, write_units

    found = command or Path(shutil.which("sealwrightd") or sys.argv[0]).absolute()
    made = make_units(folder, load_config(folder), found)
    write_units(made, out)
    if as_json:
        print_json({"units": [str(out / name) for name in made]})
        return
    for name in made:
        typer.echo(f"{out / name}")
    typer.echo("then: systemctl daemon-reload && systemctl enable --now " + " ".join(made))


def owners(folder: Folder, as_json: AsJSON = False) -> None:
    """Give every file of a PKI with separate users to its user, and make the folders that a backup leaves out.

    For a folder that was restored or copied. Changes no content; run it as root while the servers are stopped.
    """
    from sealwright.installation.owners import Owners, lay_out

    config = load_config(folder)
    if config.users is None:
        raise InputError(
            "this PKI was installed for one user, so there is nobody to give files to",
            hint="its processes make what they need themselves",
        )
    named = config.users.model_dump()
    separate = Owners(named, named.pop("group"))
    separate.check()
    pins = {"issuing": config.signer.issuing, "ledger": config.signer.ledger, "ocsp": config.presign.ocsp}
    lay_out(folder, separate, {name: place.pin_file for name, place in pins.items()})
    if as_json:
        print_json({"dir": str(folder), "users": named})
    else:
        typer.echo(f"{folder}: every file is its user's")


class MigratedDatabase(StrEnum):
    REGISTRY = "registry"
    PUBLICATION = "publication"


def migrate(
    folder: Folder,
    only: Annotated[MigratedDatabase | None, typer.Option(help="One of the two, by its own user.")] = None,
    owner: Annotated[
        str, typer.Option(metavar="ROLE", help="PostgreSQL: the role that owns the tables; its own passfile or peer.")
    ] = "sealwright_owner",
    as_json: AsJSON = False,
) -> None:
    """Bring the registry and publication databases to the schema of this version; in PostgreSQL also the grants.

    Run it at installation, after each upgrade, and after a restore. Safe to repeat.
    """
    from sealwright.store.migrations import upgrade
    from sealwright.store.roles import Database

    config, done = begin(folder, "migrate"), []
    urls: dict[Database, str] = {"registry": config.registry.database, "publication": config.presign.publication}
    for name, url in urls.items():
        if only in (None, name):
            upgrade(name, url, owner=owner)
            done.append(name)
            if not as_json:
                typer.echo(f"the {name} database is at this version's schema")
    if as_json:
        print_json({"migrated": done})
