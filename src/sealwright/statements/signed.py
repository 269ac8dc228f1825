"""A statement with its signatures, as it travels and as the ledger keeps it. Nothing of it is verified by having it."""

import hashlib
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, field_validator

from sealwright.errors import InputError
from sealwright.statements.canonical import STATEMENT_LIMIT, canonical_bytes, parse_canonical
from sealwright.statements.kinds import Statement, parse_statement
from sealwright.statements.ssh import ARMOR_LIMIT
from sealwright.statements.wire import Array, WireModel, parse_model

SIGNATURES_LIMIT = 32


class SignedStatement(WireModel):
    statement: dict[str, Any]
    signatures: Annotated[
        Array[Annotated[str, Field(max_length=ARMOR_LIMIT)]], Field(min_length=1, max_length=SIGNATURES_LIMIT)
    ]

    @field_validator("statement", mode="after")
    @classmethod
    def _bounded(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            size = len(canonical_bytes(value))
        except InputError as error:
            raise ValueError(error.message) from None
        if size > STATEMENT_LIMIT:
            raise ValueError(f"statement is {size} octets; wanted at most {STATEMENT_LIMIT}")
        return value

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From its JSON object. Raises ``InputError``."""
        return parse_model(cls, value, "signed statement")

    @classmethod
    def of(cls, statement: Statement, *signatures: str) -> Self:
        """A statement and the armored signatures that were made over ``statement.to_bytes()``."""
        return cls(statement=statement.to_wire(), signatures=signatures)

    @cached_property
    def statement_bytes(self) -> bytes:
        """What the signatures are over."""
        return canonical_bytes(self.statement)

    @cached_property
    def sha256(self) -> str:
        """How a decision names its request: the digest of the statement, whoever signed it."""
        return hashlib.sha256(self.statement_bytes).hexdigest()

    @cached_property
    def content(self) -> Statement:
        """The statement read strictly. Raises ``InputError``."""
        return parse_statement(self.statement)

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """The canonical JSON file."""
        return canonical_bytes(self.to_wire())


def parse_signed(data: bytes) -> SignedStatement:
    """Read a canonical JSON file. Raises ``InputError``."""
    return SignedStatement.parse(parse_canonical(data, 2 * STATEMENT_LIMIT))
