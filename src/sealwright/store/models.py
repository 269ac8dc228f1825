"""The registry's tables. Documents are kept as the signed JSON they came in; columns beside them only serve queries.

``requests``, ``decisions`` and roster proposals are what people sent. ``certificates``, ``revocations``, ``leaves`` and
``projection`` are read off the ledger and can be made again. ``challenges`` and ``sessions`` are short-lived, and
``login_key`` is made with the tables.
"""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import LargeBinary, MetaData, Text, UniqueConstraint
from sqlmodel import Field, SQLModel

from sealwright.store.engine import UTCDateTime


class RequestState(StrEnum):
    """Where a request stands. ``expired`` is not kept: it follows from ``expires_at``."""

    OPEN = "open"
    APPROVED = "approved"
    """At quorum; the signer has not answered yet."""
    ISSUED = "issued"
    DENYING = "denying"
    """Somebody said no; the signer has not recorded it yet."""
    DENIED = "denied"
    REFUSED = "refused"
    """The signer refused the order by a rule."""


class RegistryTable(SQLModel):
    """The tables of the registry database, apart from those of the publication database."""

    metadata = MetaData()


class RequestRow(RegistryTable, table=True):
    __tablename__ = "requests"

    sha256: str = Field(primary_key=True, max_length=64)
    id: str = Field(unique=True, max_length=32)
    person: str = Field(index=True, max_length=63)
    team: str = Field(index=True, max_length=63)
    project: str = Field(max_length=63)
    profile: str = Field(max_length=63)
    key_location: str = Field(max_length=16)
    spki_sha256: str = Field(index=True, max_length=64)
    renews: str | None = Field(default=None, max_length=40)
    document: str = Field(sa_type=Text)
    issued_at: datetime = Field(sa_type=UTCDateTime)
    expires_at: datetime = Field(sa_type=UTCDateTime)
    received_at: datetime = Field(sa_type=UTCDateTime, index=True)
    state: str = Field(default=RequestState.OPEN, index=True, max_length=16)
    rule: str | None = Field(default=None, max_length=64)
    reason: str | None = Field(default=None, sa_type=Text)
    serial: str | None = Field(default=None, max_length=40)
    receipt: str | None = Field(default=None, sa_type=Text)


class DecisionRow(RegistryTable, table=True):
    __tablename__ = "decisions"
    # One word per person and per key: the signer counts so, the database refuses the second.
    __table_args__ = (
        UniqueConstraint("request_sha256", "person"),
        UniqueConstraint("request_sha256", "key_identity"),
    )

    sha256: str = Field(primary_key=True, max_length=64)
    request_sha256: str = Field(foreign_key="requests.sha256", index=True, max_length=64)
    person: str = Field(max_length=63)
    key_identity: str = Field(max_length=64)
    verdict: str = Field(max_length=16)
    comment: str = Field(sa_type=Text)
    document: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UTCDateTime)


class CertificateRow(RegistryTable, table=True):
    """A serial that the ledger reserved; ``certificate`` stays None for one that was lost in a crash."""

    __tablename__ = "certificates"

    serial: str = Field(primary_key=True, max_length=40)
    intent_index: int = Field(unique=True)
    entry_index: int | None = Field(default=None, unique=True)
    profile: str = Field(max_length=63)
    request_sha256: str | None = Field(default=None, index=True, max_length=64)
    person: str | None = Field(default=None, max_length=63)
    team: str | None = Field(default=None, index=True, max_length=63)
    project: str | None = Field(default=None, max_length=63)
    renews: str | None = Field(default=None, max_length=40)
    order_document: str | None = Field(default=None, sa_type=Text)
    certificate: bytes | None = Field(default=None, sa_type=LargeBinary)
    subject: str | None = Field(default=None, sa_type=Text)
    spki_sha256: str | None = Field(default=None, index=True, max_length=64)
    not_before: datetime | None = Field(default=None, sa_type=UTCDateTime)
    not_after: datetime | None = Field(default=None, sa_type=UTCDateTime)


class RevocationRow(RegistryTable, table=True):
    __tablename__ = "revocations"

    serial: str = Field(primary_key=True, max_length=40)
    entry_index: int = Field(index=True)
    """Of the entry whose word stands: the revocation, or the last correction. One entry may be about many serials."""
    at: datetime = Field(sa_type=UTCDateTime)
    """When it was first told revoked."""
    revocation_date: datetime = Field(sa_type=UTCDateTime)
    reason: str | None = Field(default=None, max_length=32)
    cause: str = Field(max_length=16)
    person: str | None = Field(default=None, max_length=63)
    """Who ordered what stands now; None for a crash, and for a key's own holder."""
    key_blocked: bool = False
    """For ever, whatever the reason is corrected to."""


class RosterRow(RegistryTable, table=True):
    """A roster statement: proposed while ``entry_index`` is None, then as the ledger recorded it."""

    __tablename__ = "rosters"

    sha256: str = Field(primary_key=True, max_length=64)
    version: int = Field(index=True)
    document: str = Field(sa_type=Text)
    received_at: datetime = Field(sa_type=UTCDateTime)
    entry_index: int | None = Field(default=None, unique=True)
    at: datetime | None = Field(default=None, sa_type=UTCDateTime)


class SuspensionRow(RegistryTable, table=True):
    """An officer's suspension of a person, as the ledger recorded it."""

    __tablename__ = "suspensions"

    entry_index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    sha256: str = Field(max_length=64)
    person: str = Field(max_length=63)
    document: str = Field(sa_type=Text)
    at: datetime = Field(sa_type=UTCDateTime)


class LeafRow(RegistryTable, table=True):
    """Each ledger entry that was read, and its RFC 9162 leaf hash: for proofs, and for those who follow the ledger."""

    __tablename__ = "leaves"

    entry_index: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    leaf_hash: bytes = Field(sa_type=LargeBinary)
    entry: bytes = Field(sa_type=LargeBinary)


class ProjectionState(RegistryTable, table=True):
    """How far the ledger has been read: one row."""

    __tablename__ = "projection"

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    next_index: int = 0
    checkpoint: str = Field(default="", sa_type=Text)


class LoginKeyRow(RegistryTable, table=True):
    """What registries on this database know their challenges by: one row, made by the migration."""

    __tablename__ = "login_key"

    id: int = Field(default=1, primary_key=True, sa_column_kwargs={"autoincrement": False})
    secret: bytes = Field(sa_type=LargeBinary)


class ChallengeRow(RegistryTable, table=True):
    """A challenge that was answered, until it is over."""

    __tablename__ = "challenges"

    nonce: str = Field(primary_key=True, max_length=64)
    expires_at: datetime = Field(sa_type=UTCDateTime, index=True)


class SessionRow(RegistryTable, table=True):
    """A login: the token's SHA-256, never the token."""

    __tablename__ = "sessions"

    id: str = Field(primary_key=True, max_length=32)
    token_sha256: str = Field(max_length=64)
    person: str = Field(max_length=63)
    key_identity: str = Field(max_length=64)
    expires_at: datetime = Field(sa_type=UTCDateTime, index=True)
