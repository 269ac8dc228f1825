"""``sealwright request`` and ``sealwright renew``: for requesters."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sealwright.cli.edge import print_json
from sealwright.cli.team.options import AsJSON, Comment, Module, PinFile, Timeout, TokenSerial, Wait
from sealwright.cli.team.show import print_facts, stderr
from sealwright.errors import InputError, IntegrityError, PolicyViolation

if TYPE_CHECKING:
    from sealwright.client.keys import HeldKey, TokenPlace
    from sealwright.client.requests import Wanted
    from sealwright.client.session import Sitting

CSRFile = Annotated[
    Path | None,
    typer.Option("--csr", metavar="FILE", help="A CSR of your own (PEM or DER). No key is made."),
]
Location = Annotated[
    Literal["token", "software"],
    typer.Option("--key-location", help="Where the key of --csr lives: your word, shown as such to the approver."),
]
SoftwareKey = Annotated[
    Path | None,
    typer.Option("--software-key", metavar="OUT.pem", help="Make the key in a file; only where the profile allows it."),
]
KeyType = Annotated[
    str | None, typer.Option("--key-type", metavar="KIND", help="rsa-3072, p-384 …; the profile's first by default.")
]

Attestation = Annotated[
    Path | None,
    typer.Option(
        "--attestation",
        metavar="FILE",
        help="PEM: the key's attestation by its YubiKey, then each certificate's issuer, up to the root.",
    ),
]
ExceptionFile = Annotated[
    Path | None,
    typer.Option("--exception", metavar="FILE", help="An officer's exception for where this key lives."),
]
Emergency = Annotated[
    bool, typer.Option("--emergency", help="To be issued in a blackout: needs more approvals, not fewer.")
]


def request(
    profile: Annotated[str, typer.Option(metavar="NAME", help="The certificate profile.")],
    team: Annotated[str, typer.Option(metavar="NAME", help="Your team.")],
    project: Annotated[str, typer.Option(metavar="NAME", help="The team's project that the key signs for.")],
    csr: CSRFile = None,
    key_location: Location = "software",
    module: Module = None,
    token_serial: TokenSerial = None,
    pin_file: PinFile = None,
    key_type: KeyType = None,
    software_key: SoftwareKey = None,
    attestation: Attestation = None,
    exception: ExceptionFile = None,
    emergency: Emergency = False,
    comment: Comment = "",
    wait: Wait = False,
    timeout: Timeout = 3600.0,
    as_json: AsJSON = False,
) -> None:
    """Ask for a certificate. The key is made on your token, from where it cannot be copied."""
    from sealwright.client.config import home
    from sealwright.client.requests import load_extras, send_request, settle
    from sealwright.client.session import open_sitting

    _check_source(csr, software_key, module, token_serial, key_id=None)
    extras = load_extras(attestation, exception, emergency=emergency)
    with open_sitting(home()) as sitting:
        trust = sitting.trust()
        policy = sitting.policy(trust)
        wanted = settle(sitting, trust, policy, profile, team, project)
        held = _hold(wanted, csr, key_location, software_key, (module, token_serial, pin_file), key_type, None)
        said = send_request(
            sitting,
            trust,
            policy,
            wanted,
            held.csr,
            location=held.location,
            renews=None,
            extras=extras,
            comment=comment,
        )
        _finish(sitting, said, held, wait=wait, timeout=timeout, as_json=as_json)


def renew(
    serial: Annotated[str, typer.Argument(metavar="SERIAL", help="The certificate to renew, in hex.")],
    profile: Annotated[str | None, typer.Option(metavar="NAME", help="Another profile than before.")] = None,
    same_key: Annotated[bool, typer.Option("--same-key", help="Keep the key: --key-id names it, or --csr.")] = False,
    key_id: Annotated[str | None, typer.Option(metavar="HEX", help="CKA_ID of the key on your token.")] = None,
    csr: CSRFile = None,
    key_location: Location = "software",
    module: Module = None,
    token_serial: TokenSerial = None,
    pin_file: PinFile = None,
    key_type: KeyType = None,
    software_key: SoftwareKey = None,
    attestation: Attestation = None,
    exception: ExceptionFile = None,
    emergency: Emergency = False,
    comment: Comment = "",
    wait: Wait = False,
    timeout: Timeout = 3600.0,
    as_json: AsJSON = False,
) -> None:
    """Ask for the next certificate of a team's project; another person approves it as any other."""
    from sealwright.client.certificates import fetch_by_serial
    from sealwright.client.config import home
    from sealwright.client.requests import load_extras, send_request, settle
    from sealwright.client.session import open_sitting
    from sealwright.pki.keys import spki_sha256
    from sealwright.pki.requests import parse_csr
    from sealwright.pki.serials import format_serial

    _check_source(csr, software_key, module, token_serial, key_id=key_id)
    if same_key and csr is None and key_id is None:
        raise InputError(
            "--same-key wants to know the key", hint="--key-id HEX with --module, --token-serial; or --csr"
        )
    extras = load_extras(attestation, exception, emergency=emergency)
    with open_sitting(home()) as sitting:
        trust = sitting.trust()
        policy = sitting.policy(trust)
        old, said = fetch_by_serial(sitting, serial)
        wanted = settle(
            sitting, trust, policy, profile or str(said.get("profile")), str(said.get("team")), str(said.get("project"))
        )
        if wanted.subject != old.subject:
            raise IntegrityError(
                f"certificate {serial} is of {old.subject.rfc4514_string()!r}, not of the team that the registry says",
                hint="make a new request instead",
            )
        held = _hold(wanted, csr, key_location, software_key, (module, token_serial, pin_file), key_type, key_id)
        kept = spki_sha256(parse_csr(held.csr).public_key) == spki_sha256(old.public_key())  # type: ignore[arg-type]  # another kind has another digest
        if same_key and not kept:
            raise InputError("--same-key was said, and this is another key", hint="name the key of that certificate")
        said = send_request(
            sitting,
            trust,
            policy,
            wanted,
            held.csr,
            location=held.location,
            renews=format_serial(old.serial_number),
            extras=extras,
            comment=comment,
        )
        _finish(sitting, {**said, "same_key": kept}, held, wait=wait, timeout=timeout, as_json=as_json)


_WHERE = "--module FILE --token-serial SERIAL --pin-file FILE; or --csr FILE; or --software-key OUT.pem"


def _check_source(
    csr: Path | None, software_key: Path | None, module: Path | None, token_serial: str | None, *, key_id: str | None
) -> None:
    """One source of a key, named before anything is asked or made."""
    if csr is not None and software_key is not None:
        raise InputError("--csr and --software-key exclude each other", hint=f"one of: {_WHERE}")
    if key_id is not None and (csr is not None or software_key is not None):
        raise InputError("--key-id is for a key on a token, without --csr and --software-key", hint=_WHERE)
    if key_id is not None:
        check_key_id(key_id)
    if csr is None and software_key is None and (module is None or not token_serial):
        raise InputError("where shall the key be made?", hint=_WHERE)


def check_key_id(key_id: str) -> None:
    if not re.fullmatch(r"(?:[0-9a-fA-F]{2}){1,32}", key_id):
        raise InputError(
            f"--key-id is {key_id[:80]!r}; wanted a CKA_ID in hex", hint="`sealwright request` said it as key_id"
        )


def token_place(module: Path | None, token_serial: str | None, pin_file: Path | None) -> "TokenPlace":
    if module is None or not token_serial:
        raise InputError("where shall the key be made?", hint=_WHERE)
    from sealwright.client.keys import TokenPlace
    from sealwright.hsm.pin import Pin

    if pin_file is None and not sys.stdin.isatty():
        raise InputError("there is no terminal to ask for the PIN", hint="--pin-file FILE, of mode 0400 or 0600")
    pin = Pin.from_file(pin_file) if pin_file else Pin(typer.prompt("PIN of the token", hide_input=True, err=True))
    return TokenPlace(module, token_serial, pin)


def _hold(
    wanted: "Wanted",
    csr: Path | None,
    location: str,
    software_key: Path | None,
    token: tuple[Path | None, str | None, Path | None],
    key_type: str | None,
    key_id: str | None,
) -> "HeldKey":
    from sealwright.client.keys import HeldKey, choose_kind, make_on_token, make_software, use_on_token
    from sealwright.durable import read_file
    from sealwright.pki.requests import LARGEST_CSR, parse_csr

    names: dict[str, Any] = {"subject": wanted.subject, "san_uri": wanted.san_uri}
    if csr is not None:
        return HeldKey(parse_csr(read_file(csr, limit=4 * LARGEST_CSR)).der, location)
    kind = choose_kind(wanted.profile, key_type)
    if software_key is not None:
        return make_software(software_key.expanduser(), kind, wanted.profile, **names)
    place = token_place(*token)
    if key_id is not None:
        return use_on_token(place, key_id, **names)
    with stderr().status(f"making a {kind.value} key on token {place.serial}"):
        return make_on_token(place, kind, label=f"{wanted.team}/{wanted.project}", **names)


def _finish(
    sitting: "Sitting", said: dict[str, Any], held: "HeldKey", *, wait: bool, timeout: float, as_json: bool
) -> None:
    extra = {"key_location": held.location}
    extra |= {name: value for name, value in (("key_id", held.key_id), ("key_file", held.file)) if value}
    identity = str(said.get("id"))
    if not as_json:
        _print_sent(said, held)
    if wait:
        said = {**said, **_wait(sitting, identity, timeout, as_json=as_json)}
        said = {name: value for name, value in said.items() if name not in _DETAIL}
    if as_json:
        print_json({**said, **extra})
    elif wait and said.get("state") == "issued":
        typer.echo(f"issued: certificate {said.get('serial')}")
        typer.echo(f"fetch it with: sealwright fetch {identity} --out DIR")
    if wait and said.get("state") != "issued":
        rule = str(said.get("rule") or f"REQUEST-{str(said.get('state')).upper()}")
        raise PolicyViolation(str(said.get("reason") or f"the request is {said.get('state')}"), rule=rule)


_DETAIL = frozenset({"request", "signed_decisions", "team_certificates", "missing"})


def _print_sent(said: Mapping[str, Any], held: "HeldKey") -> None:
    print_facts(
        f"request {said.get('id')} is {said.get('state')}",
        [
            ("SHA-256", said.get("sha256")),
            ("for", f"{said.get('team')}/{said.get('project')}, profile {said.get('profile')}"),
            ("renews", said.get("renews")),
            ("key", f"on the token, CKA_ID {held.key_id}" if held.key_id else held.file or "that of your CSR"),
            ("good until", said.get("expires_at")),
        ],
    )
    if said.get("state") == "approved":
        typer.echo("the profile wants no fresh approval for the same key and subject: it will be issued now")
    else:
        typer.echo(f"another person approves it with: sealwright approve {said.get('id')}")


def _wait(sitting: "Sitting", identity: str, seconds: float, *, as_json: bool) -> dict[str, Any]:
    from sealwright.client.requests import wait_for

    if as_json:
        return wait_for(sitting, identity, seconds=seconds, tell=lambda _: None)
    with stderr().status("waiting for another person") as status:

        def tell(said: Mapping[str, Any]) -> None:
            words = ", ".join(f"{each.get('person')}: {each.get('verdict')}" for each in said.get("decisions", ()))
            status.update(f"{said.get('state')}, waiting for another person{f' ({words})' if words else ''}")

        return wait_for(sitting, identity, seconds=seconds, tell=tell)
