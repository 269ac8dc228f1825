"""``sealwright init``, and ``trust``: what a client pinned, for whoever else must trust it."""

from pathlib import Path
from typing import Annotated

import typer

from sealwright.cli.edge import print_json
from sealwright.cli.team.options import AsJSON
from sealwright.cli.team.show import print_facts
from sealwright.errors import Conflict


def init(
    server: Annotated[str, typer.Option(metavar="URL", help="The registry. https://, or http:// on loopback only.")],
    pki_id: Annotated[str, typer.Option(metavar="HEX", help="The PKI id, as an officer gave it to you.")],
    person: Annotated[str, typer.Option(metavar="NAME", help="Your name on the roster.")],
    key: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Your SSH key: private, or a .pub whose private half is elsewhere."),
    ],
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the CAs that the server's TLS may be under.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Set up this client anew, for this PKI.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Set this client up: whom to ask, which PKI to believe, who you are.

    The PKI id comes from an officer, by another way than the server; everything else is verified against it.
    """
    from sealwright.client.config import ClientConfig, check_server, home, is_set_up, save_config
    from sealwright.client.transport import RegistryClient
    from sealwright.client.trust import fetch_identity, forget_rosters
    from sealwright.statements.ssh_keygen import read_public_key
    from sealwright.statements.wire import parse_model

    folder = home()
    if is_set_up(folder) and not replace:
        raise Conflict(f"{folder} is set up already", hint="--replace sets it up anew")
    public = read_public_key(key.expanduser())
    settings = {
        "server": check_server(server),
        "pki_id": pki_id.lower(),
        "person": person,
        "key": str(key.expanduser().absolute()),
        "tls_ca": str(tls_ca.absolute()) if tls_ca else None,
    }
    config = parse_model(ClientConfig, settings, "sealwright init")
    with RegistryClient(config.server, tls_ca=config.tls_ca) as client:
        identity = fetch_identity(client, config.pki_id, folder)
    forget_rosters(folder, identity)
    save_config(folder, config)
    mode = identity.anchor.mode
    if as_json:
        print_json({"pki": config.pki_id, "mode": mode, "person": person, "server": config.server, "home": str(folder)})
        return
    typer.echo(f"{mode} PKI {config.pki_id} at {config.server}: its anchor is the one you were told of")
    typer.echo(f"you are {person}, with {public}")
    typer.echo(f"kept in {folder}")


def trust(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; nothing in it is overwritten.")],
    as_json: AsJSON = False,
) -> None:
    """Write the root certificate in the forms that verifiers take, for whoever distributes it.

    It is the root that the PKI id covers. Nothing is asked of the registry.
    """
    from cryptography.hazmat.primitives.hashes import SHA256

    from sealwright.client.config import home, load_config
    from sealwright.client.trust import load_identity, write_root

    folder = home()
    identity = load_identity(folder, load_config(folder).pki_id)
    paths = write_root(identity, out)
    fingerprint = identity.root.fingerprint(SHA256()).hex()
    if as_json:
        print_json({"mode": identity.anchor.mode, "root_sha256": fingerprint, "files": [str(path) for path in paths]})
        return
    print_facts(
        f"root of the {identity.anchor.mode} PKI {identity.anchor.pki_id}",
        [
            ("subject", identity.root.subject.rfc4514_string()),
            ("SHA-256", fingerprint),
            ("compare", "with the paper of the root ceremony, before it goes anywhere"),
            *(("file", path) for path in paths),
        ],
    )
