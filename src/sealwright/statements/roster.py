"""The roster: which officers, people, teams and policy files count, from the anchor on, version by version.

Version N+1 carries the thresholds of N and of N+1 (as TUF's root does), is exactly the next, and is good for 90 days
at most. Before version 1 stands the anchor. Only ``check_roster`` makes a ``VerifiedRoster``. Whether the pinned CA is
the installed one is the installer's and the signer's to compare (``authority``).

  SUSPENDED
  ROSTER-VERSION ROSTER-QUORUM ROSTER-EDITOR ROSTER-EMPTY ROSTER-TEAM ROSTER-PIN ROSTER-EXPIRED, and those of ``people``
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.errors import InputError, NotFound, PolicyViolation
from sealwright.statements.anchor import Anchor
from sealwright.statements.checks import check_signature, check_statement
from sealwright.statements.kinds import AuthorityEntry, RosterStatement, Statement
from sealwright.statements.people import Officer, Person, check_once, parse_officers, parse_people
from sealwright.statements.proof import Proven
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_keys import SSHPublicKey
from sealwright.statements.wire import decode_base64, format_time

_PROOF: Final = object()
_ALWAYS_PINNED = frozenset({"pki.toml", "policy.md"})


@dataclass(frozen=True, slots=True)
class Suspension:
    """Since when a person counts no more; ``lifted`` is when the roster was issued that ended it."""

    at: datetime
    lifted: datetime | None = None

    def covers(self, issued_at: datetime) -> bool:
        """Whether a statement of that moment is dead: while it lasts all are, afterwards those of before its end."""
        return self.lifted is None or issued_at <= self.lifted


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRoster(Proven):
    """A roster that its officers and those before them signed."""

    made_by = _PROOF

    signed: SignedStatement
    statement: RosterStatement
    officers: tuple[Officer, ...]
    people: Mapping[str, Person]
    projects: Mapping[str, tuple[str, ...]]
    """By team."""
    suspensions: Mapping[str, Suspension] = field(default_factory=dict)
    """By person: what officers took away since the roster was signed, and what was taken away before."""

    @property
    def version(self) -> int:
        return self.statement.version

    @property
    def pki_id(self) -> str:
        return self.statement.pki

    @property
    def threshold(self) -> int:
        return self.statement.threshold

    @property
    def issued_at(self) -> datetime:
        return self.statement.issued_at

    @property
    def expires_at(self) -> datetime:
        return self.statement.expires_at

    @property
    def sha256(self) -> str:
        return self.signed.sha256

    @property
    def authority(self) -> AuthorityEntry:
        return self.statement.authority

    @property
    def ledger_key(self) -> Ed25519PublicKey:
        """The key under the ledger's checkpoints."""
        return _ledger_key(self.statement.authority)

    @property
    def profile_pins(self) -> Mapping[str, str]:
        """SHA-256 of every pinned profile, by its file's name."""
        return {name: digest for name, digest in self.statement.pins.items() if name.startswith("profiles/")}

    def person(self, name: str) -> Person:
        """Raises ``NotFound`` when nobody of this name is among the people."""
        try:
            return self.people[name]
        except KeyError:
            raise NotFound(f"nobody called {name!r} is on roster {self.version}") from None

    def officer(self, name: str) -> Officer | None:
        return next((each for each in self.officers if each.name == name), None)

    def keys_of(self, name: str) -> tuple[SSHPublicKey, ...]:
        """Every key of the person or officer of this name; none when there is nobody."""
        person, officer = self.people.get(name), self.officer(name)
        return (*(person.keys if person else ()), *((officer.key,) if officer else ()))

    @property
    def suspended(self) -> tuple[str, ...]:
        """Who counts no more, now."""
        return tuple(sorted(name for name, each in self.suspensions.items() if each.lifted is None))

    def without(self, person: str, at: datetime) -> "VerifiedRoster":
        """This roster with that person suspended. Whether an officer ordered it is ``suspensions``' to check."""
        return replace(self, suspensions={**self.suspensions, person: Suspension(at)}, proof=_PROOF)

    def check_not_suspended(self, statement: Statement) -> None:
        """SUSPENDED: nothing counts that this person said before the suspension was lifted, used or not."""
        suspension = self.suspensions.get(statement.person)
        if suspension is not None and suspension.covers(statement.issued_at):
            raise PolicyViolation(
                f"{statement.person!r} was suspended at {format_time(suspension.at)}: this {statement.kind} counts no"
                " more",
                rule="SUSPENDED",
                hint="only a later roster lifts a suspension; then make and sign it again",
            )

    def check_in_force(self, now: datetime) -> None:
        """ROSTER-EXPIRED."""
        if now >= self.expires_at:
            raise PolicyViolation(
                f"roster {self.version} expired at {format_time(self.expires_at)}; it is {format_time(now)}",
                rule="ROSTER-EXPIRED",
                hint="officers: `sealwright roster edit`, `sign` and `publish` the next one; revocation goes on",
            )

    def check_pins(self, files: Mapping[str, bytes]) -> None:
        """ROSTER-PIN: ``files`` (name relative to ``ca/`` -> bytes) are all of the pinned files and no others."""
        for name in sorted(self.statement.pins.keys() | files.keys()):
            wanted, data = self.statement.pins.get(name), files.get(name)
            got = None if data is None else hashlib.sha256(data).hexdigest()
            if got == wanted:
                continue
            said = f"has the digest {(got or '')[:16]}…, and not {(wanted or '')[:16]}… as pinned"
            if got is None or wanted is None:
                said = "is missing" if got is None else "is not pinned"
            raise PolicyViolation(
                f"roster {self.version}: {name} {said}",
                rule="ROSTER-PIN",
                hint="put the file back as the officers signed it, or let them sign a roster that pins it as it is",
            )


def check_roster(
    signed: SignedStatement, *, anchor: Anchor, previous: VerifiedRoster | None, now: datetime
) -> VerifiedRoster:
    """Judge a roster. ``previous`` is the one in force, or None when this has to be version 1.

    Raises ``InputError`` when it cannot be read and ``PolicyViolation`` (STMT-..., ROSTER-...) when it is refused.
    """
    roster = _judge_content(signed, anchor, now)
    before = previous.version if previous else 0
    if roster.version != before + 1:
        raise PolicyViolation(
            f"roster has version {roster.version}; wanted {before + 1}",
            rule="ROSTER-VERSION",
            hint="rosters never go back or skip: draft from the one in force",
        )
    old = (previous.officers, previous.threshold) if previous else (anchor.people, anchor.threshold)
    _check_editor(roster, old[0])
    _check_signatures(roster, *old)
    return replace(roster, suspensions=_carry(previous, roster.issued_at), proof=_PROOF) if previous else roster


def _carry(previous: VerifiedRoster, issued_at: datetime) -> dict[str, Suspension]:
    """A roster lifts the suspensions of before it was issued. One that was drafted earlier knew nothing of them."""
    return {
        name: replace(each, lifted=issued_at) if each.lifted is None and issued_at > each.at else each
        for name, each in previous.suspensions.items()
    }


def check_roster_chain(
    chain: Sequence[SignedStatement], *, anchor: Anchor, now: datetime, previous: VerifiedRoster | None = None
) -> VerifiedRoster:
    """The last of consecutive rosters, for who knows only the anchor (or ``previous``).

    Those before the last may have expired since: each is judged at the moment it was issued.
    """
    if not chain and previous is None:
        raise InputError("there is no roster to check")
    for position, signed in enumerate(chain):
        content = signed.content
        at = now if position == len(chain) - 1 else min(now, content.issued_at)
        previous = check_roster(signed, anchor=anchor, previous=previous, now=at)
    assert previous is not None  # noqa: S101  # the chain is not empty, or previous was given
    previous.check_in_force(now)
    return previous


def _judge_content(signed: SignedStatement, anchor: Anchor, now: datetime) -> VerifiedRoster:
    statement = check_statement(signed, RosterStatement, pki_id=anchor.pki_id, now=now)
    officers = parse_officers(statement.officers, statement.threshold)
    people = parse_people(statement.people, officers)
    check_once((team.name for team in statement.teams), "team", "ROSTER-TEAM")
    for team in statement.teams:
        check_once(team.projects, f"project of team {team.name!r}", "ROSTER-TEAM")
    projects = {team.name: team.projects for team in statement.teams}
    _check_not_empty(statement)
    for person in people:
        check_once(person.teams, f"team of {person.name!r}", "ROSTER-TEAM")
        unknown = sorted(set(person.teams) - projects.keys())
        if unknown:
            raise PolicyViolation(f"{person.name!r} is in a team {unknown[0]!r} that is not there", rule="ROSTER-TEAM")
    _ledger_key(statement.authority)
    return VerifiedRoster(
        signed=signed,
        statement=statement,
        officers=officers,
        people={person.name: person for person in people},
        projects=projects,
        proof=_PROOF,
    )


def _check_not_empty(statement: RosterStatement) -> None:
    """An empty policy is invalid, not permissive."""
    idle = [team.name for team in statement.teams if not team.projects]
    missing = sorted(_ALWAYS_PINNED - statement.pins.keys())
    profiles = any(name.startswith("profiles/") for name in statement.pins)
    for empty, what in (
        (not statement.people, "has no people"),
        (not statement.teams, "has no teams"),
        (idle, f"has a team without projects: {', '.join(idle)}"),
        (missing, f"does not pin {', '.join(missing)}"),
        (not profiles, "pins no profile"),
    ):
        if empty:
            raise PolicyViolation(f"roster {statement.version} {what}", rule="ROSTER-EMPTY")


def _ledger_key(authority: AuthorityEntry) -> Ed25519PublicKey:
    try:
        key = load_der_public_key(decode_base64(authority.ledger_key))
        load_der_public_key(decode_base64(authority.ocsp_key))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicyViolation(f"roster names a key that cannot be read: {error}", rule="ROSTER-KEY") from None
    if not isinstance(key, Ed25519PublicKey):
        raise PolicyViolation("roster names a ledger key that is not Ed25519", rule="ROSTER-KEY")
    return key


def _check_editor(roster: VerifiedRoster, before: tuple[Officer, ...]) -> None:
    editor = roster.statement.person
    if editor not in {officer.name for officer in (*before, *roster.officers)}:
        raise PolicyViolation(
            f"roster {roster.version} was drafted by {editor!r}, who is no officer", rule="ROSTER-EDITOR"
        )


def _check_signatures(roster: VerifiedRoster, before: tuple[Officer, ...], threshold: int) -> None:
    keys = {officer.key for officer in (*before, *roster.officers)}
    signed_by = {
        check_signature(armored, roster.signed, "roster", keys, "the key of an officer").identity
        for armored in roster.signed.signatures
    }
    for officers, wanted, which in (
        (before, threshold, "in force until now"),
        (roster.officers, roster.threshold, "of the new roster"),
    ):
        signers = sorted({officer.name for officer in officers if officer.key.identity in signed_by})
        if len(signers) < wanted:
            raise PolicyViolation(
                f"roster {roster.version} is signed by {len(signers)} ({', '.join(signers) or 'nobody'})"
                f" of the officers {which}; wanted {wanted}",
                rule="ROSTER-QUORUM",
                hint="another officer has to sign this very draft with `sealwright roster sign`",
            )
