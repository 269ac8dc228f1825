"""What is checked of every statement, whatever it says: kind, PKI, time, and whose signature it carries.

  STMT-KIND STMT-PKI STMT-FUTURE STMT-EXPIRED STMT-LIFETIME STMT-NAMESPACE STMT-SIGNER STMT-SIGNATURE STMT-ALONE

Which person may say what is judged by the modules that call these.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.statements.kinds import Statement, namespace_of
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh import SSHPublicKey, SSHSignature, parse_signature
from sealwright.statements.wire import format_time

S = TypeVar("S", bound=Statement)

CLOCK_SKEW: Final = timedelta(minutes=2)
"""A workstation's clock may be this far ahead of the judge's."""


def check_statement(signed: SignedStatement, model: type[S], *, pki_id: str, now: datetime) -> S:
    """The statement, of the kind that is wanted, for this PKI and for this moment. Looks at no signature."""
    statement = signed.content
    if not isinstance(statement, model):
        wanted = model.model_fields["kind"].annotation.__args__[0]  # type: ignore[union-attr]  # each kind is a Literal
        raise PolicyViolation(f"statement is a {statement.kind}; wanted a {wanted}", rule="STMT-KIND")
    if statement.pki != pki_id:
        raise PolicyViolation(
            f"statement is for the PKI {statement.pki[:16]}…; this is {pki_id[:16]}…",
            rule="STMT-PKI",
            hint="is your client set up for another PKI, or for the rehearsal? see `sealwright init`",
        )
    check_times(statement, now)
    return statement


def check_times(statement: Statement, now: datetime) -> None:
    issued, expires = statement.issued_at, statement.expires_at
    if not timedelta(0) < expires - issued <= statement.longest:
        raise PolicyViolation(
            f"{statement.kind} is good from {format_time(issued)} to {format_time(expires)};"
            f" wanted an end after its beginning, at most {statement.longest} later",
            rule="STMT-LIFETIME",
        )
    if issued > now + CLOCK_SKEW:
        raise PolicyViolation(
            f"{statement.kind} was issued at {format_time(issued)}, in the future: it is {format_time(now)}",
            rule="STMT-FUTURE",
            hint="set the clock of the machine that signed it",
        )
    if now >= expires:
        raise PolicyViolation(
            f"{statement.kind} by {statement.person!r} expired at {format_time(expires)}; it is {format_time(now)}",
            rule="STMT-EXPIRED",
            hint="make and sign a new one",
        )


def check_signer(signed: SignedStatement, statement: Statement, keys: Iterable[SSHPublicKey]) -> SSHPublicKey:
    """The key of ``keys`` that made the one signature which this statement carries."""
    if len(signed.signatures) != 1:
        raise PolicyViolation(
            f"{statement.kind} carries {len(signed.signatures)} signatures; wanted the one of its person",
            rule="STMT-ALONE",
        )
    return check_signature(signed.signatures[0], signed, statement.kind, keys, f"a key of {statement.person!r}")


def check_signature(
    armored: str, signed: SignedStatement, kind: str, keys: Iterable[SSHPublicKey], whose: str
) -> SSHPublicKey:
    """The key of ``keys`` that made this signature, over this statement, in the namespace of its kind."""
    signature = parse_armored(armored, kind)
    if signature.namespace != namespace_of(kind):
        raise PolicyViolation(
            f"the signature was made for {signature.namespace!r}; a {kind} wants {namespace_of(kind)!r}",
            rule="STMT-NAMESPACE",
            hint="a signature serves the one purpose it was made for",
        )
    if signature.key not in tuple(keys):
        raise PolicyViolation(
            f"the {kind} is signed with {signature.key}, which is not {whose}",
            rule="STMT-SIGNER",
            hint="is that key on the roster, under this name?",
        )
    try:
        signature.verify(signed.statement_bytes)
    except IntegrityError as error:
        raise PolicyViolation(f"{kind}: {error.message}", rule="STMT-SIGNATURE", hint=error.hint) from None
    return signature.key


def parse_armored(armored: str, kind: str) -> SSHSignature:
    """What a signature under a ``kind`` says of itself; nothing of it is verified. STMT-SIGNATURE."""
    try:
        return parse_signature(armored)
    except IntegrityError as error:
        raise PolicyViolation(f"{kind}: {error.message}", rule="STMT-SIGNATURE", hint=error.hint) from None
