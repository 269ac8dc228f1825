"""``prepared.json``: what ``prepare`` fixed. Serial, dates, key ids, the digest of every input and of what gets signed.

Everything that a ceremony would otherwise choose on the day is chosen here, so that what is reviewed is what is
signed. Where a key is made in the ceremony, the digest is of the bytes with the key-dependent octets zeroed.
"""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from sealwright.ceremony.script import FileName, Kind, TokenName
from sealwright.errors import InputError
from sealwright.pki.serials import SerialNumber, parse_serial
from sealwright.pki.tomlfile import Table
from sealwright.statements.canonical import canonical_bytes, parse_canonical

Mode = Literal["REHEARSAL", "PRODUCTION"]
SHA256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}\z")]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z")]
Serial = Annotated[str, Field(pattern=r"^[1-9a-f][0-9a-f]{0,39}\z")]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}\z")]

PREPARED_LIMIT = 64 * 1024


class Plan(Table):
    """What was chosen. ``at`` is when the ceremony takes place: notBefore of a certificate, thisUpdate of a CRL."""

    at: Time
    serial: Serial | None
    crl_number: Annotated[int, Field(ge=1)] | None
    next_update: Time | None
    key_ids: dict[TokenName, KeyId]
    serials: dict[FileName, Serial] = Field(default_factory=dict)
    """By output, where more than one certificate is signed; ``serial`` is then none."""

    def serial_of(self, output: str) -> SerialNumber:
        return parse_serial(self.serials.get(output) or self.serial or "")


class Previous(Table):
    """The ceremony whose outputs this one takes in, by the head of its transcript."""

    kind: Kind
    head: SHA256


class PreparedFile(Table):
    kind: Kind
    script: SHA256
    inputs: dict[FileName, SHA256]
    previous: Previous | None
    plan: Plan
    digests: dict[Mode, dict[FileName, SHA256]]

    def to_bytes(self) -> bytes:
        # A field that came later is not there where nothing is in it: older kinds are prepared as they always were.
        return canonical_bytes(self.model_dump(mode="json", exclude_defaults=True))


@dataclass(frozen=True, slots=True)
class Prepared:
    """The file, and the digest of its bytes."""

    file: PreparedFile
    sha256: str

    @property
    def plan(self) -> Plan:
        return self.file.plan

    @property
    def modes(self) -> tuple[Mode, ...]:
        """In which modes this folder can be performed: what came out of a rehearsal can only be rehearsed."""
        return tuple(self.file.digests)


def parse_prepared(data: bytes, *, source: str = "prepared.json") -> Prepared:
    """Raises ``InputError`` when these are not the bytes that ``prepare`` writes."""
    try:
        file = PreparedFile.model_validate_json(canonical_bytes(parse_canonical(data, PREPARED_LIMIT)))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{source}: field {field}: {first['msg']}", hint="run `sealwright-ceremony prepare`") from None
    except InputError as error:
        raise InputError(f"{source}: {error.message}", hint="run `sealwright-ceremony prepare`") from None
    return Prepared(file, hashlib.sha256(data).hexdigest())
