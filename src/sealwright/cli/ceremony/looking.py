"""``sealwright-ceremony inventory`` and ``calendar``: what is there, and what is to be done when."""

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from sealwright.ceremony.calendar import Calendar, make_calendar, read_certificate
from sealwright.ceremony.clock import format_time, parse_time, utc_now
from sealwright.ceremony.icalendar import write_icalendar
from sealwright.ceremony.inventory import Census, take_census
from sealwright.ceremony.people import ask_pin
from sealwright.ceremony.record import load_record
from sealwright.ceremony.site import Site, parse_site
from sealwright.ceremony.words import spell_rows
from sealwright.cli.edge import print_json
from sealwright.durable import read_file, replace_file, write_new
from sealwright.errors import InputError, NotFound
from sealwright.hsm.pin import Pin
from sealwright.pki.profiles import CertificateProfile, load_profiles
from sealwright.statements.canonical import parse_json
from sealwright.statements.signed import parse_signed

AsJSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def inventory(
    module: Annotated[
        Path | None, typer.Option("--module", metavar="FILE", help="The PKCS#11 module; by default that of --site.")
    ] = None,
    site: Annotated[
        Path | None, typer.Option("--site", metavar="FILE", help="A site.toml: its module, and where PIN files are.")
    ] = None,
    opened: Annotated[
        list[str] | None,
        typer.Option(
            "--open", metavar="SERIAL", help="Log in to this token and list what is on it; its PIN is asked for."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Keep the census as a canonical JSON file.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Which tokens there are and, with --open, what is on them. Reads only; nothing on a token is changed."""
    place = parse_site(read_file(site), folder=site.absolute().parent, source=str(site)) if site else None
    library = module or (place.module if place else None)
    if library is None and site is not None:
        raise InputError(
            f"{site} names no module", hint='module = "/usr/lib/softhsm/libsofthsm2.so" in it, or --module FILE'
        )
    if library is None:
        raise InputError(
            "no PKCS#11 module was named", hint="--module /usr/lib/softhsm/libsofthsm2.so, or --site site.toml"
        )
    census = take_census(library, {serial: _pin_of(serial, place) for serial in opened or ()}, utc_now())
    if out is not None:
        write_new(out, census.to_bytes())
    if as_json:
        print_json({**parse_json(census.to_bytes(), 1 << 24), "sha256": hashlib.sha256(census.to_bytes()).hexdigest()})
        return
    _print_census(census, out)


def _pin_of(serial: str, site: Site | None) -> Callable[[], Pin]:
    if site is not None:
        for name, token in site.file.tokens.items():
            path = site.pin_file(name)
            if token.serial == serial and path is not None:
                return lambda: Pin.from_file(path)
    return lambda: ask_pin(serial)


def _print_census(census: Census, out: Path | None) -> None:
    many = "" if len(census.tokens) == 1 else "s"
    typer.echo(f"{census.module} at {format_time(census.at)}: {len(census.tokens)} token{many}")
    for counted in census.tokens:
        token = counted.token
        typer.echo(f"\n{token.serial}  {token.label!r}  {token.manufacturer} {token.model}")
        typer.echo(f"  user PIN {token.pin_state}, security officer's PIN {token.so_pin_state}")
        if counted.objects is None:
            typer.echo(f"  not opened; --open {token.serial} lists what is on it")
        elif not counted.objects:
            typer.echo("  empty")
        for found in counted.objects or ():
            typer.echo(f"  {found.object_class:12} {found.key_type:12} {found.key_id.hex() or '-'}  {found.label!r}")
        for line in counted.findings:
            typer.echo(f"  !! {line}")
    if out is not None:
        digest = hashlib.sha256(census.to_bytes()).hexdigest()
        typer.echo(f"\n{out}\nSHA-256  {digest}\n{spell_rows(digest)}")


def calendar(
    records: Annotated[
        list[Path],
        typer.Argument(metavar="RECORD", help="The root-genesis record, and those that came after it, in any order."),
    ],
    ca: Annotated[
        Path | None,
        typer.Option("--ca", metavar="FOLDER", help="How long certificates are: profiles/*.toml of this folder."),
    ] = None,
    roster: Annotated[
        Path | None, typer.Option("--roster", metavar="FILE", help="The signed roster that is in force.")
    ] = None,
    responder: Annotated[
        Path | None, typer.Option("--responder", metavar="FILE", help="The OCSP responder's certificate.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="As seen at this moment; by default now.")
    ] = None,
    ics: Annotated[
        Path | None, typer.Option("--ics", metavar="FILE", help="Also as iCalendar (RFC 5545), for a calendar program.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """What must happen when: root CRLs, the next issuing CA, the next root, rosters and officers' keys, the responder.

    Every record is replayed first. Take the records that exist: the newest register among them counts.
    """
    now = parse_time(at, "--at") if at else utc_now()
    profiles = tuple(_profiles(ca).values()) if ca else ()
    made = make_calendar(
        [load_record(record) for record in records],
        profiles=profiles,
        roster=parse_signed(read_file(roster)) if roster else None,
        responder=read_certificate(read_file(responder), str(responder)) if responder else None,
    )
    if ics is not None:
        replace_file(ics, write_icalendar(made, now))
    if as_json:
        print_json(
            {
                "pki": made.anchor.pki_id,
                "mode": made.anchor.mode,
                "at": format_time(now),
                "duties": [duty.to_json(now) for duty in made.duties],
                "unknown": list(made.unknown),
            }
        )
        return
    _print_calendar(made, now)


def _print_calendar(made: Calendar, now: datetime) -> None:
    typer.echo(f"{made.anchor.mode} {made.anchor.pki_id[:16]}..., as seen at {format_time(now)}")
    for duty in made.duties:
        mark = {"late": "LATE", "now": "NOW", "later": ""}[duty.state(now)]
        days = (duty.last - now).days
        typer.echo(f"\n{mark:5}{duty.what}")
        typer.echo(f"     begin  {format_time(duty.begin)}")
        typer.echo(f"     last   {format_time(duty.last)}  ({f'in {days} days' if days >= 0 else f'{-days} days ago'})")
        if duty.ceremonies:
            typer.echo(f"     how    {', then '.join(duty.ceremonies)}")
        typer.echo(f"     why    {duty.why}")
    if made.unknown:
        typer.echo("\nNot looked at:")
        for line in made.unknown:
            typer.echo(f"  - {line}")


def _profiles(ca: Path) -> Mapping[str, CertificateProfile]:
    if not (ca / "profiles").is_dir():
        raise NotFound(f"{ca / 'profiles'} is not a folder", hint="--ca names the folder with pki.toml and profiles/")
    return load_profiles({str(path): read_file(path) for path in sorted((ca / "profiles").glob("*.toml"))})
