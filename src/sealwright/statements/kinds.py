"""The kinds of statement, field by field. What a statement may say is judged elsewhere (``roster``, ``orders``).

A statement is complete: every field is written, so that no default of a later version changes what was signed. The
SSHSIG namespace is per kind, so that no signature serves two purposes.
"""

import hashlib
import os
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from sealwright.errors import InputError
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.wire import Array, Base64, Digest, Name, Scope, Serial, Text, Time, WireModel, invalid

StatementKind = Literal[
    "request",
    "decision",
    "revocation",
    "correction",
    "countersignature",
    "key-revocation",
    "login",
    "suspend",
    "exception",
    "roster",
    "loss",
]
STATEMENT_KINDS: Final[tuple[str, ...]] = get_args(StatementKind)

SSHKeyLine = Annotated[str, StringConstraints(max_length=4096, pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/]+=*$")]
"""Kind and base64, without comment."""


class Role(StrEnum):
    REQUESTER = "requester"
    APPROVER = "approver"
    AUDITOR = "auditor"
    MACHINE = "machine"
    """A CI system: it asks, and never approves."""


def namespace_of(kind: str) -> str:
    """The SSHSIG namespace of a kind of statement."""
    if kind not in STATEMENT_KINDS:
        raise InputError(f"there is no kind of statement {kind[:32]!r}; wanted one of {', '.join(STATEMENT_KINDS)}")
    return f"{kind}@sealwright.v1"


def new_statement_id(random: Callable[[int], bytes] = os.urandom) -> str:
    """32 hex digits, so that two statements that say the same are still two."""
    return random(16).hex()


class _Statement(WireModel):
    longest: ClassVar[timedelta]
    """No statement of this kind is good for longer."""

    pki: Digest
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    person: Name
    issued_at: Time
    expires_at: Time

    def to_wire(self) -> dict[str, Any]:
        """The JSON object."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """What is signed."""
        return canonical_bytes(self.to_wire())

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()


class RequestStatement(_Statement):
    """ "I ask for a certificate, for this key, for this project." """

    longest = timedelta(days=30)

    kind: Literal["request"]
    profile: Name
    profile_sha256: Digest
    team: Name
    project: Name
    csr: Base64
    key_location: Literal["token", "software"]
    """As claimed by the requester."""
    attestation: Annotated[Array[Base64], Field(max_length=6)]
    """Certificates in DER, the key's first, the root last: a token's proof that it made the key. Empty: none."""
    exception: dict[str, Any] | None
    """An officer's signed exception for where this key lives."""
    renews: Serial | None
    emergency: bool
    """Issue it in a blackout: by more people."""
    comment: Text


class DecisionStatement(_Statement):
    """ "I read the request with this digest, and say yes (or no)." """

    longest = timedelta(days=7)

    kind: Literal["decision"]
    request_sha256: Digest
    verdict: Literal["approve", "deny"]
    comment: Text


SERIALS_LIMIT: Final = 500
"""Certificates in one revocation: its order and its record fit one ledger entry together, with long signatures too."""


def _once(serials: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(serials)) != len(serials):
        raise ValueError("a serial stands twice")
    return serials


Serials = Annotated[Array[Serial], Field(min_length=1, max_length=SERIALS_LIMIT), AfterValidator(_once)]

RevocationReasonText = Literal[
    "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"
]
"""What a person may give for a code-signing certificate (``ca/policy.md``)."""


class RevocationStatement(_Statement):
    """ "These certificates shall be revoked." """

    longest = timedelta(days=7)

    kind: Literal["revocation"]
    serials: Serials
    reason: RevocationReasonText
    revocation_date: Time | None
    """None: from the moment it is recorded."""
    comment: Text


class CorrectionStatement(_Statement):
    """ "These certificates are revoked; from now on the revocation shall say this." """

    longest = timedelta(days=7)

    kind: Literal["correction"]
    serials: Serials
    reason: RevocationReasonText
    revocation_date: Time
    comment: Text


class CountersignatureStatement(_Statement):
    """ "I read the revocation or correction with this digest, and say yes." """

    longest = timedelta(days=7)

    kind: Literal["countersignature"]
    statement_sha256: Digest
    comment: Text


class KeyRevocationStatement(_Statement):
    """ "I hold this private key. It is compromised: whatever is certified for it shall be revoked, from now on."

    Signed with that very key, by anybody. ``person`` is what they call themselves; nothing rests on it.
    """

    longest = timedelta(days=7)

    kind: Literal["key-revocation"]
    spki_sha256: Digest
    comment: Text


class LoginStatement(_Statement):
    """ "It is I, at this server, now." """

    longest = timedelta(minutes=5)

    kind: Literal["login"]
    server: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
    challenge: Annotated[str, Field(pattern=r"^[A-Za-z0-9+/=_-]{16,128}$")]


class SuspendStatement(_Statement):
    """ "This person counts no more, from now on." One officer's word: it only ever takes away."""

    longest = timedelta(days=7)

    kind: Literal["suspend"]
    suspended: Name
    comment: Text


class ExceptionStatement(_Statement):
    """ "This one key may live where the profile would not have it." """

    longest = timedelta(days=30)

    kind: Literal["exception"]
    profile: Name
    team: Name
    project: Name
    spki_sha256: Digest
    allows: Literal["software", "unattested"]
    comment: Text


class OfficerEntry(WireModel):
    name: Name
    key: SSHKeyLine


class PersonEntry(WireModel):
    name: Name
    keys: Array[SSHKeyLine]
    roles: Array[Literal["requester", "approver", "auditor", "machine"]]
    teams: Array[Name]
    groups: Array[Name]
    """Which approvals of a profile this person's can be."""


class TeamEntry(WireModel):
    name: Name
    projects: Array[Name]


class AuthorityEntry(WireModel):
    """The CA that this roster is for: its certificate, and the keys of its ledger and of its OCSP responder."""

    issuing_sha256: Digest
    ledger_key: Base64
    ocsp_key: Base64


PinnedName = Annotated[str, Field(pattern=r"^(pki\.toml|policy\.md|profiles/[a-z0-9][a-z0-9._-]{0,62}\.toml)$")]


class RosterStatement(_Statement):
    """ "These are the officers, the people, the teams, and the policy." """

    longest = timedelta(days=90)

    kind: Literal["roster"]
    version: Annotated[int, Field(ge=1, le=2**31)]
    officers: Array[OfficerEntry]
    threshold: Annotated[int, Field(ge=1, le=64)]
    people: Array[PersonEntry]
    teams: Array[TeamEntry]
    pins: dict[PinnedName, Digest]
    authority: AuthorityEntry


LOST_LIMIT: Final = 250
"""Dates and reasons in one declaration of a loss: it and a revocation for each go into the ledger in one append."""


class LostRevocation(WireModel):
    """Serials that a declared loss revokes alike: as a CRL said it, where one is left."""

    serials: Annotated[Array[Serial], Field(min_length=1)]
    revocation_date: Time | None
    """None: from the moment of the declaration."""
    reason: RevocationReasonText | None
    scope: Scope
    """The partition of the CRL that their certificates name; of those that the ledger has, their own word counts."""


def _each_once(revocations: tuple[LostRevocation, ...]) -> tuple[LostRevocation, ...]:
    _once(tuple(serial for each in revocations for serial in each.serials))
    return revocations


class LossStatement(_Statement):
    """ "The ledger's end is lost, and nobody has it. It goes on from here." A quorum of officers signs it.

    For one ledger at one size: ``size`` and ``root`` are of what is left, ``lost_size`` and ``lost_root`` of the
    newest checkpoint that anybody has, which shows that there was more. It has to fit one ledger entry with its
    signatures: what does not fit is the next one's.
    """

    longest = timedelta(days=7)

    kind: Literal["loss"]
    size: Annotated[int, Field(ge=0, le=2**48)]
    root: Digest
    lost_size: Annotated[int, Field(ge=1, le=2**48)]
    lost_root: Digest
    crl_number: Annotated[int, Field(ge=0, le=2**63 - 1)]
    """The highest that is known to have been used; the next CRL's is higher."""
    revocations: Annotated[Array[LostRevocation], Field(max_length=LOST_LIMIT), AfterValidator(_each_once)]
    """Certificates known or suspected to be in the lost end, and those whose revocation was."""
    keys: Annotated[Array[Digest], AfterValidator(_once)]
    """Compromised keys (``secret_sha256``) whose certificates are lost, so that only this can block them."""
    more: bool
    """Another declaration follows this one, and until then nothing else does."""
    comment: Text

    @property
    def serials(self) -> tuple[str, ...]:
        """All that it revokes."""
        return tuple(serial for each in self.revocations for serial in each.serials)


Statement = (
    RequestStatement
    | DecisionStatement
    | RevocationStatement
    | CorrectionStatement
    | CountersignatureStatement
    | KeyRevocationStatement
    | LoginStatement
    | SuspendStatement
    | ExceptionStatement
    | RosterStatement
    | LossStatement
)
_ADAPTER: TypeAdapter[Statement] = TypeAdapter(Annotated[Statement, Field(discriminator="kind")])


def parse_statement(value: Any) -> Statement:
    """A statement from its JSON object. Raises ``InputError`` naming the field that is wrong."""
    try:
        statement = _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise invalid(error, "statement") from None
    if statement.to_wire() != value:  # each field has one spelling; this holds it to that
        raise InputError("this statement reads differently than it is written")
    return statement
