"""Revocations and corrections: who may order what, judged on what the order contains and on the roster.

  REV-PERSON REV-ALLOWED                                    who
  REV-ALONE REV-BACKDATE REV-COUNTERSIGNED REV-DATE         when one is enough
  REV-SAME-PERSON REV-SAME-KEY REV-OFFICER                  and when two are
  REV-KEY-PROOF                                             or the key itself

One person revokes one certificate, from now on. A date in the past, several certificates at once, and a correction
want two people, one of them an officer: the second signs a countersignature that pins the first statement's SHA-256.
Whoever signs with a certificate's own key has shown that the key is not its owner's alone. Whether the certificates
exist, and are revoked already, is ``issuing``'s to know.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.pki.crl import RevocationReason
from sealwright.pki.keys import spki_sha256
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.statements.canonical import canonical_bytes, parse_canonical
from sealwright.statements.checks import check_signature, check_signer, check_statement
from sealwright.statements.kinds import (
    CorrectionStatement,
    CountersignatureStatement,
    KeyRevocationStatement,
    RevocationStatement,
    Role,
)
from sealwright.statements.proof import Proven
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh import SSHPublicKey, parse_signature
from sealwright.statements.wire import WireModel, format_time, parse_model

_PROOF: Final = object()
ORDER_LIMIT: Final = 64 * 1024
"""Octets of an order as a file."""

RevokingStatement = RevocationStatement | CorrectionStatement | KeyRevocationStatement


class RevocationOrder(WireModel):
    """What goes to the signer: what one person signed, and the other's countersignature where there is one."""

    revocation: SignedStatement
    countersignature: SignedStatement | None = None

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From its JSON object. Raises ``InputError``."""
        return parse_model(cls, value, "revocation order")

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """The canonical JSON file."""
        return canonical_bytes(self.to_wire())

    @property
    def statement(self) -> RevokingStatement:
        """Read strictly, and not verified. Raises ``InputError``."""
        content = self.revocation.content
        if not isinstance(content, RevokingStatement):
            raise InputError(f"a revocation order holds a {content.kind}; wanted a revocation or a correction")
        return content

    @property
    def person(self) -> str | None:
        """Who ordered it, by their own word; None where a key's holder did."""
        statement = self.statement
        return None if isinstance(statement, KeyRevocationStatement) else statement.person

    @property
    def proven_key(self) -> str | None:
        """The key whose holder orders it, by SHA-256 of its SubjectPublicKeyInfo."""
        statement = self.statement
        return statement.spki_sha256 if isinstance(statement, KeyRevocationStatement) else None

    @property
    def proven_secret(self) -> str | None:
        """Its ``secret_sha256``, by which all that is certified for it is found. Raises ``IntegrityError``."""
        return parse_signature(self.revocation.signatures[0]).key.identity if self.proven_key else None


def parse_order(data: bytes) -> RevocationOrder:
    """Read an order's file. Raises ``InputError``."""
    return RevocationOrder.parse(parse_canonical(data, ORDER_LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRevocation(Proven):
    """``people`` signed it: one, two, or nobody where a key's holder did. ``serials`` is empty there."""

    made_by = _PROOF

    order: RevocationOrder
    statement: RevokingStatement
    people: tuple[str, ...]
    serials: tuple[SerialNumber, ...]
    reason: RevocationReason
    revocation_date: datetime | None
    """None: from the moment it is recorded."""


@dataclass(frozen=True, slots=True)
class _Signer:
    name: str
    key: SSHPublicKey
    officer: bool


def verify_revocation(
    order: RevocationOrder, *, roster: VerifiedRoster, teams: Mapping[SerialNumber, str], now: datetime
) -> VerifiedRevocation:
    """Judge an order. ``teams`` says whose each certificate is that it names.

    The roster may have expired: removal never waits for a new one.
    """
    statement = order.statement
    if isinstance(statement, KeyRevocationStatement):
        return _verify_key_holder(order, statement, roster, now)
    check_statement(order.revocation, type(statement), pki_id=roster.pki_id, now=now)
    serials = tuple(parse_serial(serial) for serial in statement.serials)
    first = _signer(order.revocation, statement, roster, teams, serials)
    if statement.revocation_date is not None and statement.revocation_date > now:
        raise PolicyViolation(
            f"the date is {format_time(statement.revocation_date)}, in the future: it is {format_time(now)}",
            rule="REV-DATE",
            hint="leave the date out to revoke from now on",
        )
    people: tuple[str, ...] = (first.name,)
    if order.countersignature is None:
        _check_one_is_enough(statement)
    else:
        second = _countersigner(order, roster, teams, serials, now)
        _check_two(first, second)
        people = (first.name, second.name)
    return VerifiedRevocation(
        order=order,
        statement=statement,
        people=people,
        serials=serials,
        reason=RevocationReason(statement.reason),
        revocation_date=statement.revocation_date,
        proof=_PROOF,
    )


def _signer(
    signed: SignedStatement,
    statement: RevocationStatement | CorrectionStatement | CountersignatureStatement,
    roster: VerifiedRoster,
    teams: Mapping[SerialNumber, str],
    serials: tuple[SerialNumber, ...],
) -> _Signer:
    """REV-PERSON, REV-ALLOWED: an officer; or requester or approver of the team of each certificate."""
    name = statement.person
    person, officer = roster.people.get(name), roster.officer(name)
    if person is None and officer is None:
        raise PolicyViolation(
            f"nobody called {name!r} is on roster {roster.version}",
            rule="REV-PERSON",
            hint="`sealwright roster show` lists people",
        )
    key = check_signer(signed, statement, roster.keys_of(name))
    roster.check_not_suspended(statement)
    if officer is not None:
        return _Signer(name, key, officer=True)
    for serial in serials:
        team = teams[serial]
        if person is None or not any(person.may(role, team) for role in (Role.REQUESTER, Role.APPROVER)):
            raise PolicyViolation(
                f"{name!r} is neither requester nor approver of team {team!r}, nor an officer;"
                f" certificate {format_serial(serial)} is that team's",
                rule="REV-ALLOWED",
                hint="ask somebody of that team, or an officer",
            )
    return _Signer(name, key, officer=False)


def _check_one_is_enough(statement: RevocationStatement | CorrectionStatement) -> None:
    hint = "have it countersigned with `sealwright countersign FILE`: two people, one of them an officer"
    if isinstance(statement, CorrectionStatement) or len(statement.serials) > 1:
        raise PolicyViolation(
            "a correction, and a revocation of several certificates, want two people", rule="REV-ALONE", hint=hint
        )
    if statement.revocation_date is not None:
        raise PolicyViolation(
            "this revocation names a date of its own; one person revokes from now on only",
            rule="REV-BACKDATE",
            hint=hint,
        )


def _countersigner(
    order: RevocationOrder,
    roster: VerifiedRoster,
    teams: Mapping[SerialNumber, str],
    serials: tuple[SerialNumber, ...],
    now: datetime,
) -> _Signer:
    signed = order.countersignature
    if signed is None:
        raise ValueError("there is no countersignature")
    said = check_statement(signed, CountersignatureStatement, pki_id=roster.pki_id, now=now)
    signer = _signer(signed, said, roster, teams, serials)
    if said.statement_sha256 != order.revocation.sha256:
        raise PolicyViolation(
            f"{said.person!r} countersigned {said.statement_sha256[:16]}…, and not {order.revocation.sha256[:16]}…",
            rule="REV-COUNTERSIGNED",
            hint="a countersignature counts for the very statement that was read",
        )
    return signer


def _check_two(first: _Signer, second: _Signer) -> None:
    if first.name == second.name:
        raise PolicyViolation(f"{first.name!r} signed twice; wanted two people", rule="REV-SAME-PERSON")
    if first.key.identity == second.key.identity:
        raise PolicyViolation(f"{first.name!r} and {second.name!r} signed with the same key", rule="REV-SAME-KEY")
    if not (first.officer or second.officer):
        raise PolicyViolation(
            f"neither {first.name!r} nor {second.name!r} is an officer",
            rule="REV-OFFICER",
            hint="backdating, correcting and several at once want two people, one of them an officer",
        )


def _verify_key_holder(
    order: RevocationOrder, statement: KeyRevocationStatement, roster: VerifiedRoster, now: datetime
) -> VerifiedRevocation:
    """REV-KEY-PROOF: the one signature is by the key that the statement names."""
    check_statement(order.revocation, KeyRevocationStatement, pki_id=roster.pki_id, now=now)
    if order.countersignature is not None:
        raise PolicyViolation("a key's own revocation takes no countersignature", rule="REV-COUNTERSIGNED")
    try:
        holders = [parse_signature(armored).key for armored in order.revocation.signatures]
    except IntegrityError as error:
        raise PolicyViolation(f"{statement.kind}: {error.message}", rule="STMT-SIGNATURE", hint=error.hint) from None
    (holder, *more) = holders
    if more or holder.application is not None or spki_sha256(holder.public) != statement.spki_sha256:
        raise PolicyViolation(
            f"it is not signed by the key {statement.spki_sha256[:16]}… that it names, and by that alone",
            rule="REV-KEY-PROOF",
            hint="sign it with the private key of the certificate: `sealwright revoke --key FILE`",
        )
    check_signature(order.revocation.signatures[0], order.revocation, statement.kind, (holder,), "the key it names")
    return VerifiedRevocation(
        order=order,
        statement=statement,
        people=(),
        serials=(),
        reason=RevocationReason.KEY_COMPROMISE,
        revocation_date=None,
        proof=_PROOF,
    )
