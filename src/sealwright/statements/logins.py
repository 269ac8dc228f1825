"""A login: a person of the roster answers a server's challenge. Who may read what afterwards is the registry's.

LOGIN-PERSON LOGIN-SERVER LOGIN-CHALLENGE
"""

import hmac
from dataclasses import dataclass
from datetime import datetime

from sealwright.errors import PolicyViolation
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.kinds import LoginStatement
from sealwright.statements.people import Person
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement


@dataclass(frozen=True, slots=True)
class VerifiedLogin:
    name: str
    person: Person | None
    """None for an officer who is not among the people."""
    officer: bool


def verify_login(
    signed: SignedStatement, *, roster: VerifiedRoster, server: str, challenge: str, now: datetime
) -> VerifiedLogin:
    """Raises ``PolicyViolation`` unless somebody of the roster signed this server's very challenge."""
    login = check_statement(signed, LoginStatement, pki_id=roster.pki_id, now=now)
    person, officer = roster.people.get(login.person), roster.officer(login.person)
    keys = roster.keys_of(login.person)
    if not keys:
        raise PolicyViolation(f"nobody called {login.person!r} is on roster {roster.version}", rule="LOGIN-PERSON")
    check_signer(signed, login, keys)
    if login.server != server:
        raise PolicyViolation(f"login is for {login.server!r}; this is {server!r}", rule="LOGIN-SERVER")
    if not hmac.compare_digest(login.challenge.encode(), challenge.encode()):
        raise PolicyViolation(
            "login answers another challenge than the one given", rule="LOGIN-CHALLENGE", hint="log in again"
        )
    return VerifiedLogin(login.person, person, officer is not None)
