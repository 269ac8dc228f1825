"""Rosters as officers make them: a draft in ``ca/roster.toml``, the pins of ``ca/``, and signatures gathered in a file.

``roster.toml`` counts for nothing by itself: what counts is the statement, once enough officers have signed it.
"""

import base64
import binascii
import hashlib
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import Field

from sealwright.client.files import write_file
from sealwright.client.signing import add_signature
from sealwright.durable import read_file
from sealwright.errors import Conflict, InputError, PolicyViolation
from sealwright.pki.profiles import load_profiles
from sealwright.pki.settings import load_settings
from sealwright.statements.canonical import parse_json
from sealwright.statements.kinds import (
    AuthorityEntry,
    OfficerEntry,
    PersonEntry,
    RosterStatement,
    Statement,
    TeamEntry,
    new_statement_id,
)
from sealwright.statements.people import Person, parse_officers, parse_people
from sealwright.statements.pinned import check_people
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.ssh import parse_signature
from sealwright.statements.ssh_keygen import read_public_key
from sealwright.statements.ssh_keys import parse_public_key
from sealwright.statements.wire import Array, Name, WireModel, parse_model


class _DraftPerson(WireModel):
    name: Name
    keys: Array[str]
    roles: Array[Any]
    teams: Array[Name] = ()
    groups: Array[Name] = ()


class _DraftOfficer(WireModel):
    name: Name
    key: str


class _Draft(WireModel):
    """``ca/roster.toml``. Keys are lines of ``.pub`` files, or ``@FILE`` relative to the draft."""

    threshold: Annotated[int, Field(ge=1, le=64)]
    officers: Array[_DraftOfficer]
    people: Array[_DraftPerson]
    teams: Array[TeamEntry]


@dataclass(frozen=True, slots=True)
class Occasion:
    """What the draft does not say: for which PKI, by whom, which version, from when and how long.

    ``officers`` are those of the roster in force, who may draft the next one too.
    """

    pki_id: str
    person: str
    version: int
    now: datetime
    days: int
    officers: tuple[str, ...] = ()


def draft_roster(folder: Path, authority: AuthorityEntry, occasion: Occasion) -> RosterStatement:
    """The roster statement of ``folder`` (``ca/``): its draft, and the digests of its policy files, which must load."""
    draft = _load_draft(folder / "roster.toml")
    officers = tuple(OfficerEntry(name=each.name, key=_key(folder, each.key)) for each in draft.officers)
    people = tuple(
        parse_model(
            PersonEntry,
            {
                "name": each.name,
                "keys": [_key(folder, key) for key in each.keys],
                "roles": list(each.roles),
                "teams": list(each.teams),
                "groups": list(each.groups),
            },
            f"person {each.name!r} in roster.toml",
        )
        for each in draft.people
    )
    # Doubles, and a policy that nobody could fulfil, are heard of now and not from the signer.
    known = parse_people(people, parse_officers(officers, draft.threshold))
    pins = _pins(folder, known, tuple(team.name for team in draft.teams))
    _check_editor(occasion.person, (*occasion.officers, *(each.name for each in officers)))
    return RosterStatement(
        kind="roster",
        pki=occasion.pki_id,
        id=new_statement_id(),
        person=occasion.person,
        issued_at=occasion.now,
        expires_at=occasion.now + timedelta(days=occasion.days),
        version=occasion.version,
        officers=officers,
        threshold=draft.threshold,
        people=people,
        teams=draft.teams,
        pins=pins,
        authority=authority,
    )


def _check_editor(name: str, officers: tuple[str, ...]) -> None:
    if name not in officers:
        raise PolicyViolation(
            f"{name!r} is no officer",
            rule="ROSTER-EDITOR",
            hint=f"--person names the officer who drafts it: {', '.join(dict.fromkeys(officers))}",
        )


def _load_draft(path: Path) -> _Draft:
    data = read_file(path, hint="--ca names the folder with roster.toml, pki.toml, policy.md and profiles/")
    try:
        value = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    return parse_model(_Draft, value, str(path))


def _key(folder: Path, text: str) -> str:
    if text.startswith("@"):
        return read_public_key(folder / text[1:]).line
    return parse_public_key(text).line


def pinned_files(folder: Path) -> dict[str, bytes]:
    """The files of ``ca/`` that a roster pins, by their names relative to it."""
    profiles = sorted(path.name for path in (folder / "profiles").glob("*.toml"))
    names = ["pki.toml", "policy.md", *(f"profiles/{name}" for name in profiles)]
    return {name: read_file(folder / name) for name in names}


def _pins(folder: Path, people: tuple[Person, ...], teams: tuple[str, ...]) -> dict[str, str]:
    files = pinned_files(folder)
    load_settings(files["pki.toml"], source=str(folder / "pki.toml"))
    profiles = load_profiles({name: data for name, data in files.items() if name.startswith("profiles/")})
    check_people(profiles.values(), people, teams)
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def load_authority(keys: Path, issuing: x509.Certificate) -> AuthorityEntry:
    """From ``keys.json`` of the issuing-key ceremony's record, and the issuing CA's certificate."""
    value = parse_json(read_file(keys, hint="--keys takes outputs/keys.json of the issuing-key record"))
    try:
        ledger, ocsp = (str(value[name]["spki"]) for name in ("ledger", "ocsp"))
        for each in (ledger, ocsp):
            base64.b64decode(each, validate=True)
    except (KeyError, TypeError, binascii.Error) as error:
        raise InputError(f"{keys} does not hold the ledger and OCSP keys") from error
    digest = issuing.fingerprint(hashes.SHA256()).hex()
    return AuthorityEntry(issuing_sha256=digest, ledger_key=ledger, ocsp_key=ocsp)


def save_draft(statement: RosterStatement, path: Path) -> None:
    """An unsigned roster, for ``sign_roster``. Raises ``Conflict`` when the file is there."""
    write_file(path, statement.to_bytes())


def load_roster_file(path: Path) -> tuple[RosterStatement, tuple[str, ...]]:
    """A roster statement, signed by some or by nobody yet. Raises ``InputError``."""
    data = read_file(path, hint="`sealwright roster edit` makes one")
    try:
        value = parse_json(data, 128 * 1024)
        if "signatures" in value:
            signed = parse_signed(data)
            statement, signatures = signed.content, signed.signatures
        else:
            statement, signatures = parse_model(RosterStatement, value, "statement"), ()
    except InputError as error:
        raise InputError(f"{path} is no roster: {error.message}", hint="`sealwright roster edit` makes one") from None
    if not isinstance(statement, RosterStatement):
        raise InputError(f"{path} holds a {statement.kind}; wanted a roster")
    return statement, signatures


def check_pins(statement: RosterStatement, folder: Path) -> None:
    """ROSTER-PIN: the roster pins exactly the files of this ``ca/``, so that who signs it has read what it pins."""
    mine = {name: hashlib.sha256(data).hexdigest() for name, data in pinned_files(folder).items()}
    for name in sorted(mine.keys() | statement.pins.keys()):
        if mine.get(name) != statement.pins.get(name):
            raise PolicyViolation(
                f"{name} in {folder} is not what this roster pins",
                rule="ROSTER-PIN",
                hint="look at the difference before you sign: git diff, or ask who drafted it",
            )


def sign_roster(path: Path, shown: RosterStatement, key_file: Path) -> SignedStatement:
    """Add one signature to the roster in ``path``. Raises ``Conflict`` when this key has signed it already, or when the
    file does not hold any more what was ``shown`` to who signs."""
    statement, signatures = load_roster_file(path)
    check_as_shown(path, statement, shown)
    key = read_public_key(key_file)
    armored = add_signature(statement.to_bytes(), statement.kind, key_file)
    if any(_signer(each) == _signer(armored) for each in signatures):
        raise Conflict(f"{path} already carries a signature by {key}", hint="another officer has to sign it")
    signed = SignedStatement.of(statement, *signatures, armored)
    write_file(path, signed.to_bytes(), replace=True)
    return signed


def check_as_shown(path: Path, statement: Statement, shown: Statement) -> None:
    """A file may lie where others write, and a person takes minutes to read."""
    if statement.sha256 != shown.sha256:
        raise Conflict(
            f"{path} was changed while you looked at it: nothing was signed", hint="find out by whom, and look again"
        )


def _signer(armored: str) -> str:
    return parse_signature(armored).key.identity


def signers(statement: RosterStatement, signatures: tuple[str, ...]) -> tuple[str, ...]:
    """The names behind the signatures, as far as this roster's officers go. Nothing is verified."""
    names = {parse_public_key(each.key).identity: each.name for each in statement.officers}
    return tuple(names.get(_signer(each), "an officer of before, or nobody") for each in signatures)
