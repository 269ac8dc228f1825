"""The types of fields on the wire, shared by statements and ledger entries: times, digests, names, base64, serials.

Each accepts exactly one spelling of a value, so that what is read and written again is the same bytes.
"""

import binascii
import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from sealwright.errors import InputError
from sealwright.pki.crl_scope import SCOPE_PATTERN
from sealwright.pki.serials import parse_serial

_TIME = re.compile("([1-9][0-9]{3})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def format_time(moment: datetime) -> str:
    """ "2026-11-23T13:30:00Z"; the moment is UTC-aware."""
    if moment.utcoffset() is None:
        raise ValueError("a moment without a time zone")
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_time(text: str) -> datetime:
    """Read what ``format_time`` writes, and nothing else. Raises ``ValueError``."""
    found = _TIME.fullmatch(text)  # strptime takes single digits too, and six times as long
    if found is None:
        raise ValueError(f"time is {text[:40]!r}; wanted YYYY-MM-DDTHH:MM:SSZ")
    year, month, day, hour, minute, second = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def encode_base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Standard base64 with padding, and the one spelling of it. Raises ``ValueError``."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    if encode_base64(data) != text:
        raise ValueError("not the one base64 spelling of its octets")
    return data


def _time(value: object) -> object:
    moment = parse_time(value) if isinstance(value, str) else value
    if isinstance(moment, datetime) and (moment.utcoffset() is None or moment.microsecond):
        raise ValueError("wanted whole seconds and a time zone")
    return moment


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _base64(text: str) -> str:
    decode_base64(text)
    return text


def _serial(text: str) -> str:
    try:
        parse_serial(text)
    except InputError as error:
        raise ValueError(error.message) from None
    return text


Time = Annotated[datetime, BeforeValidator(_time), PlainSerializer(format_time, when_used="json")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
Base64 = Annotated[str, AfterValidator(_base64)]
Serial = Annotated[str, AfterValidator(_serial)]
Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$")]
"""A person's words: bounded, and without control characters that could rewrite the reader's terminal."""
Scope = Annotated[str, Field(pattern=rf"^({SCOPE_PATTERN})?\z")]
"""A partition of the CRL; "" is the full list."""
Array = Annotated[tuple[T, ...], BeforeValidator(_tuple)]


class WireModel(BaseModel):
    """A document from outside: closed, strict, frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def parse_model(model: type[M], value: Any, what: str) -> M:
    """``value`` as a ``model``, or an ``InputError`` that names the first field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error, what) from None


def invalid(error: ValidationError, what: str) -> InputError:
    """pydantic's complaint as ours: the first field, what is wrong, and how many more there are."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    first = problems[0]
    field = ".".join(str(part) for part in first["loc"]) or "document"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    said = first["msg"].replace("String should match pattern", "wanted text of the form")
    return InputError(f"{what}: {field}: {said}{more}", hint=f"correct {field}")
