"""Logins, for reading: a one-time challenge, signed with a key on the roster, becomes a bearer token for 15 minutes.

Anybody may ask for challenges, so nothing is kept of one that was only asked for: it says itself when it ends, under a
MAC with a key that the registries on a database share. One that was answered is kept until it is over.

The token is ``id.secret``; the database has the secret's SHA-256. A token stays good only while its person and key
are on the roster. Nothing is written with a token: what changes anything is a statement of its own.
"""

import contextlib
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sealwright.errors import AccessDenied, Conflict, NotReady
from sealwright.registration.registry import Registry
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.kinds import LoginStatement
from sealwright.statements.people import Officer
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_keys import SSHPublicKey
from sealwright.statements.wire import decode_base64, encode_base64
from sealwright.store.models import ChallengeRow, SessionRow

CHALLENGE_LIFE = timedelta(minutes=5)
TOKEN_LIFE = timedelta(minutes=15)
_BODY = 24
"""Octets of a challenge before its MAC: 8 say when it ends, in seconds since 1970, the others are random."""

_LOGIN_HINT = "the client logs in by itself: is your key on the roster, and is `sealwright init` done?"


@dataclass(frozen=True, slots=True)
class Challenge:
    nonce: str
    server: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    token: str
    person: str
    expires_at: datetime


def new_challenge(registry: Registry) -> Challenge:
    expires_at = registry.clock() + CHALLENGE_LIFE
    body = int(expires_at.timestamp()).to_bytes(8, "big") + secrets.token_bytes(_BODY - 8)
    return Challenge(encode_base64(body + _mac(registry, body)), registry.config.url, expires_at)


def login(registry: Registry, signed: SignedStatement) -> Login:
    """Raises ``PolicyViolation`` for a statement that is none, ``AccessDenied`` for a challenge that was used."""
    now = registry.clock()
    statement = check_statement(signed, LoginStatement, pki_id=registry.installed.anchor.pki_id, now=now)
    if statement.server != registry.config.url:
        raise AccessDenied(
            f"the login is for {statement.server!r}; this server is {registry.config.url!r}",
            hint="use the server's own URL in `sealwright init --server`; a login is never passed on",
        )
    keys = keys_of(registry, statement.person)
    if not keys:
        raise AccessDenied(
            f"nobody called {statement.person!r} is on the roster"
            + ("" if registry.rosters else ": this PKI has none yet, and knows its officers only"),
            hint="the officers say who is: `sealwright roster edit`, `sign`, `publish`",
        )
    key = check_signer(signed, statement, keys)
    with contextlib.suppress(NotReady):  # before the first roster nobody is suspended
        registry.last_roster().check_not_suspended(statement)
    secret, session_id = secrets.token_urlsafe(32), secrets.token_hex(16)
    row = SessionRow(
        id=session_id,
        token_sha256=_digest(secret),
        person=statement.person,
        key_identity=key.identity,
        expires_at=now + TOKEN_LIFE,
    )
    used = ChallengeRow(nonce=statement.challenge, expires_at=_end_of(registry, statement.challenge, now))
    try:
        with registry.database.writing() as tx:
            tx.forget_logins_before(now - CHALLENGE_LIFE)  # the clock of another registry may be behind
            tx.add(used, row)
    except Conflict:
        raise _void() from None
    return Login(f"{session_id}.{secret}", statement.person, row.expires_at)


def _end_of(registry: Registry, nonce: str, now: datetime) -> datetime:
    """When a challenge ends that a registry on this database gave. Raises ``AccessDenied`` for any other, and after."""
    try:
        data = decode_base64(nonce)  # one spelling: another would be used a second time
    except ValueError:
        raise _void() from None
    body, mac = data[:_BODY], data[_BODY:]
    if not hmac.compare_digest(mac, _mac(registry, body)):
        raise _void()
    expires_at = datetime.fromtimestamp(int.from_bytes(body[:8], "big"), UTC)
    if expires_at <= now:
        raise _void()
    return expires_at


def _mac(registry: Registry, body: bytes) -> bytes:
    with registry.database.reading() as tx:
        return hmac.digest(tx.login_key(), body, "sha256")[:16]


def _void() -> AccessDenied:
    return AccessDenied("this login challenge was used, is over, or was never given", hint="log in again")


def check_token(registry: Registry, token: str | None) -> str:
    """The person who reads. Raises ``AccessDenied``."""
    session_id, _, secret = (token or "").partition(".")
    if not secret:
        raise AccessDenied("no login came with this request", hint=_LOGIN_HINT)
    with registry.database.reading() as tx:
        row = tx.session(session_id)
    # Compared in constant time, and compared also where there is no such login.
    right = hmac.compare_digest(row.token_sha256 if row else "", _digest(secret))
    if row is None or not right or row.expires_at <= registry.clock():
        raise AccessDenied("the login is over or is not known", hint="log in again")
    if all(key.identity != row.key_identity for key in keys_of(registry, row.person)):
        raise AccessDenied(f"{row.person!r} is no longer on the roster with that key", hint=_LOGIN_HINT)
    with contextlib.suppress(NotReady):
        if row.person in registry.last_roster().suspended:
            raise AccessDenied(f"{row.person!r} is suspended", hint="ask an officer")
    return row.person


def keys_of(registry: Registry, name: str) -> tuple[SSHPublicKey, ...]:
    """Somebody's keys: of the roster's people and officers; of the anchor's officers before the first roster."""
    try:
        roster = registry.last_roster()
    except NotReady:
        return _officer_keys(registry.installed.anchor.people, name)
    person = roster.people.get(name)
    return (*(person.keys if person else ()), *_officer_keys(roster.officers, name))


def _officer_keys(officers: tuple[Officer, ...], name: str) -> tuple[SSHPublicKey, ...]:
    return tuple(officer.key for officer in officers if officer.name == name)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
