"""``sealwright fetch`` and ``certificates``: for whoever holds a certificate."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sealwright.cli.edge import print_json
from sealwright.cli.team.asking import check_key_id, token_place
from sealwright.cli.team.options import AsJSON, Limit, Module, PinFile, TokenSerial
from sealwright.cli.team.show import CERTIFICATE_COLUMNS, print_facts, print_next, print_table
from sealwright.errors import InputError


def fetch(
    key: Annotated[str, typer.Argument(metavar="ID", help="The request's id, or its SHA-256.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files; nothing in it is overwritten.")],
    form: Annotated[Literal["pem", "der", "p7b"], typer.Option("--format", help="Of the files.")] = "pem",
    key_id: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="CKA_ID of its key: put it there too, where Java and Windows look for it."),
    ] = None,
    label: Annotated[str, typer.Option(metavar="NAME", help="Its name on the token: Java's alias.")] = "sealwright",
    module: Module = None,
    token_serial: TokenSerial = None,
    pin_file: PinFile = None,
    as_json: AsJSON = False,
) -> None:
    """Fetch a certificate with its chain and receipt, verified: ledger, issuer, key and names."""
    from sealwright.client.certificates import fetch_certificate, write_certificate
    from sealwright.client.config import home
    from sealwright.client.keys import store_beside_key
    from sealwright.client.session import open_sitting

    place = None
    if key_id is not None:
        check_key_id(key_id)
        if module is None or not token_serial:
            raise InputError("on which token is the key?", hint="--module FILE --token-serial SERIAL")
        place = token_place(module, token_serial, pin_file)
    with open_sitting(home()) as sitting:
        fetched = fetch_certificate(sitting, key)
        if place is not None and key_id is not None:
            store_beside_key(place, key_id, fetched.certificate, label=label)
        paths = write_certificate(fetched, sitting.identity, out, form)
    if as_json:
        print_json(
            {
                "serial": fetched.serial,
                "files": [str(path) for path in paths],
                "subject": fetched.certificate.subject.rfc4514_string(),
                "ledger_entry": fetched.receipt.entry_index,
                "token_label": label if place is not None else None,
            }
        )
        return
    print_facts(
        f"certificate {fetched.serial}, verified",
        [
            ("subject", fetched.certificate.subject.rfc4514_string()),
            ("good until", f"{fetched.certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S}Z"),
            ("ledger", f"entry {fetched.receipt.entry_index}, under a checkpoint that the ledger key signed"),
            *(("file", path) for path in paths),
            *((("on the token", f"beside its key, as {label!r}"),) if place is not None else ()),
        ],
    )


def certificates(
    team: Annotated[str | None, typer.Option(metavar="NAME", help="Of this team only.")] = None,
    after: Annotated[
        int | None, typer.Option(metavar="NEXT", min=0, help="The next page: `next` of the page before.")
    ] = None,
    limit: Limit = 500,
    as_json: AsJSON = False,
) -> None:
    """List certificates, the newest first, a page of them, as the registry has them."""
    from sealwright.client.config import home
    from sealwright.client.session import open_sitting

    with open_sitting(home()) as sitting:
        said = sitting.registry.get("/v1/certificates", team=team, before=after, limit=limit)
    if as_json:
        print_json(said)
    else:
        print_table(CERTIFICATE_COLUMNS, said.get("certificates", ()), nothing="there are no certificates")
        print_next(said.get("next"))
