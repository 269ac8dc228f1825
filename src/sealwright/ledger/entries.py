"""The kinds of ledger entry. An entry is canonical JSON; "type" says which kind, "at" when the signer made it.

What may follow what is ``issuing.index``'s to know.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
)

from sealwright.errors import InputError
from sealwright.ledger.bundles import ENTRY_LIMIT
from sealwright.pki.crl import RevocationReason
from sealwright.pki.crl_scope import FULL
from sealwright.statements.canonical import canonical_bytes, parse_canonical
from sealwright.statements.kinds import LossStatement, PinnedName
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import (
    Array,
    Base64,
    Digest,
    Name,
    Scope,
    Serial,
    Time,
    WireModel,
    decode_base64,
    encode_base64,
    invalid,
)

POLICY_PART: Final = 32 * 1024
"""Octets of a pinned file in one entry."""

MESSAGE_LIMIT: Final = 4000
"""Characters of a refusal's message."""

REASON_LIMIT: Final = 1000
"""Characters of the reason why a token went away."""


def cut(words: str, room: int) -> str:
    """At most ``room`` characters of a message that may be of any length."""
    return words if len(words) <= room else f"{words[: room - 1]}…"


def _reason(value: object) -> object:
    return RevocationReason(value) if isinstance(value, str) else value


Reason = Annotated[RevocationReason, BeforeValidator(_reason)]


class _Entry(WireModel):
    at: Time

    def to_bytes(self) -> bytes:
        """Raises ``InputError`` when the entry is too long for the ledger."""
        data = canonical_bytes(self.model_dump(mode="json"))
        if len(data) > ENTRY_LIMIT:
            raise InputError(
                f"this ledger entry has {len(data)} octets; at most {ENTRY_LIMIT} fit",
                hint="is the CSR, the comment or the roster unusually long?",
            )
        return data


class StartEntry(_Entry):
    """The signer started. ``epoch`` counts takeovers and never goes back; older entries, which do not say, have 1."""

    type: Literal["start"] = "start"
    pki: Digest
    mode: Literal["REHEARSAL", "PRODUCTION"]
    version: Annotated[str, Field(max_length=64)]
    epoch: Annotated[int, Field(ge=1, le=999_999_999)] = 1


class RosterEntry(_Entry):
    """A roster came into force."""

    type: Literal["roster"] = "roster"
    roster: SignedStatement


class SuspensionEntry(_Entry):
    """An officer suspended a person, from this moment on."""

    type: Literal["suspension"] = "suspension"
    suspension: SignedStatement


class PolicyEntry(_Entry):
    """A file that the next roster pins, in parts of at most 32 KiB: recorded once, for whoever judges this later."""

    type: Literal["policy"] = "policy"
    name: PinnedName
    sha256: Digest
    """Of the whole file."""
    part: Annotated[int, Field(ge=1, le=64)]
    parts: Annotated[int, Field(ge=1, le=64)]
    data: Base64

    @classmethod
    def for_file(cls, *, at: datetime, name: str, data: bytes) -> "tuple[PolicyEntry, ...]":
        pieces = [data[start : start + POLICY_PART] for start in range(0, len(data), POLICY_PART)] or [b""]
        digest = hashlib.sha256(data).hexdigest()
        return tuple(
            cls(at=at, name=name, sha256=digest, part=part, parts=len(pieces), data=encode_base64(piece))
            for part, piece in enumerate(pieces, 1)
        )


class IntentEntry(_Entry):
    """This serial is reserved, and these bytes are about to be signed; by this order, or by the standing order."""

    type: Literal["intent"] = "intent"
    serial: Serial
    tbs: Base64
    profile: Name
    order: IssuanceOrder | None
    standing: Literal["ocsp-responder"] | None

    @classmethod
    def for_tbs(
        cls,
        *,
        at: datetime,
        serial: str,
        tbs: bytes,
        profile: str,
        order: IssuanceOrder | None,
        standing: Literal["ocsp-responder"] | None,
    ) -> Self:
        if (order is None) == (standing is None):
            raise ValueError("an intent has an order, or the standing order, and not both")
        return cls(at=at, serial=serial, tbs=encode_base64(tbs), profile=profile, order=order, standing=standing)

    @property
    def tbs_der(self) -> bytes:
        return decode_base64(self.tbs)


class CertificateEntry(_Entry):
    """The certificate was signed. ``intent`` is the place of its intent."""

    type: Literal["certificate"] = "certificate"
    serial: Serial
    intent: Annotated[int, Field(ge=0)]
    certificate: Base64

    @classmethod
    def for_der(cls, *, at: datetime, serial: str, intent: int, der: bytes) -> Self:
        return cls(at=at, serial=serial, intent=intent, certificate=encode_base64(der))

    @property
    def certificate_der(self) -> bytes:
        return decode_base64(self.certificate)


class RevocationRecord(_Entry):
    """Serials are revoked, by an order, because a crash left an intent open, or by the declaration of a loss before it.

    ``serials`` are those that were not revoked before. There may be none, when a key's holder has its key blocked. A
    key with more certificates than an entry holds has several of these, one after the other, by the same order.
    """

    type: Literal["revocation"] = "revocation"
    serials: Array[Serial]
    reason: Reason | None
    revocation_date: Time
    order: RevocationOrder | None
    cause: Literal["order", "crash", "loss"]

    @classmethod
    def of_loss(cls, loss: LossStatement, *, at: datetime, revoked: Callable[[str], bool]) -> tuple[Self, ...]:
        """What a declaration recorded ``at`` that moment orders, in its order. Each fits, as the declaration did."""
        left = ((each, tuple(serial for serial in each.serials if not revoked(serial))) for each in loss.revocations)
        return tuple(
            cls(
                at=at,
                serials=serials,
                reason=RevocationReason(each.reason) if each.reason else None,
                revocation_date=each.revocation_date or at,
                order=None,
                cause="loss",
            )
            for each, serials in left
            if serials
        )

    @property
    def told(self) -> datetime:
        """When it was first told, at the latest. Of a lost revocation it is known only since when it was to be."""
        return self.revocation_date if self.cause == "loss" else self.at

    @property
    def blocked_key(self) -> str | None:
        """SHA-256 of the SubjectPublicKeyInfo whose holder ordered this, if that is who did."""
        return self.order.proven_key if self.order else None

    @property
    def blocked_secret(self) -> str | None:
        """Its ``secret_sha256``. Raises ``IntegrityError`` when the order carries no signature that can be read."""
        return self.order.proven_secret if self.order else None


class CorrectionRecord(_Entry):
    """What the revocation of these serials says from now on. The records of before stay where they are."""

    type: Literal["correction"] = "correction"
    serials: Array[Serial]
    reason: Reason
    revocation_date: Time
    order: RevocationOrder


class CRLIntentEntry(_Entry):
    """This CRL number is used, whether or not its CRL follows. ``scope``: which partition; "" is the full list."""

    type: Literal["crl-intent"] = "crl-intent"
    number: Annotated[int, Field(ge=1)]
    this_update: Time
    next_update: Time
    scope: Scope = FULL

    @model_serializer(mode="wrap")
    def _without_full(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _leave_out_full(handler(self))


class CRLEntry(_Entry):
    """The CRL was signed. ``scope`` as in its intent."""

    type: Literal["crl"] = "crl"
    number: Annotated[int, Field(ge=1)]
    sha256: Digest
    size: Annotated[int, Field(ge=1)]
    scope: Scope = FULL

    @model_serializer(mode="wrap")
    def _without_full(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _leave_out_full(handler(self))


def _leave_out_full(fields: dict[str, Any]) -> dict[str, Any]:
    """The full list's scope is not written: so it was before there were partitions."""
    if fields["scope"] == FULL:
        del fields["scope"]
    return fields


class DenialEntry(_Entry):
    """An approver said no to a request, or its requester took it back. No certificate ever answers it."""

    type: Literal["denial"] = "denial"
    request: SignedStatement
    decision: SignedStatement


class RefusalEntry(_Entry):
    """A call was refused by a rule; ``sha256`` is of what was refused."""

    type: Literal["refusal"] = "refusal"
    call: Annotated[str, Field(max_length=64)]
    rule: Annotated[str, Field(max_length=128)]
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT)]
    sha256: Digest

    @classmethod
    def of(cls, *, at: datetime, call: str, rule: str, message: str, left_out: int, sha256: str) -> Self:
        """Whatever the message: it may quote what was refused, which is as long as its sender likes.

        ``left_out``: how many refusals before it were not recorded.
        """
        more = f" (and {left_out} refusals before it were not recorded)" if left_out else ""
        room = MESSAGE_LIMIT - len(more)
        return cls(at=at, call=call, rule=rule, message=f"{cut(message, room)}{more}", sha256=sha256)


class LossEntry(_Entry):
    """The officers declared what came after the entries before this one lost. The revocations it orders follow."""

    type: Literal["loss"] = "loss"
    loss: SignedStatement


class TokenEntry(_Entry):
    """A token of the signer went away, or came back, at ``happened``; recorded as soon as the ledger could be."""

    type: Literal["token"] = "token"
    token: Annotated[str, Field(max_length=64)]
    event: Literal["away", "back"]
    happened: Time
    reason: Annotated[str, Field(max_length=REASON_LIMIT)]


class ClockEntry(_Entry):
    """The clock was further ahead than the signer believes by itself, and an operator ``said`` what time it is."""

    type: Literal["clock"] = "clock"
    before: Time
    """What was believed until then."""
    said: Time


Entry = (
    StartEntry
    | RosterEntry
    | SuspensionEntry
    | PolicyEntry
    | IntentEntry
    | CertificateEntry
    | RevocationRecord
    | CorrectionRecord
    | CRLIntentEntry
    | CRLEntry
    | DenialEntry
    | RefusalEntry
    | LossEntry
    | TokenEntry
    | ClockEntry
)
_ADAPTER: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="type")])


def parse_entry(data: bytes) -> Entry:
    """Read an entry. Raises ``InputError``."""
    value: dict[str, Any] = parse_canonical(data, ENTRY_LIMIT)
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise invalid(error, "ledger entry") from None
