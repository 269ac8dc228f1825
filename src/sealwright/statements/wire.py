"""The types of fields on the wire, shared by statements and ledger entries: times, digests, names, base64, serials.

Each accepts exactly one spelling of a value, so that what is read and written again is the same bytes.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError

from sealwright.errors import InputError
from sealwright.pki.crl_scope import SCOPE_PATTERN
from sealwright.pki.serials import parse_serial

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


def format_time(moment: datetime) -> str:
    """ "2026-11-23T13:30:00Z"; the moment is UTC-aware."""
    if moment.utcoffset() is None:
        raise ValueError("a moment without a time zone")
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def parse_time(text: str) -> datetime:
    """Read what ``format_time`` writes, and nothing else. Raises ``ValueError``."""
    moment = datetime.strptime(text, TIME_FORMAT).replace(tzinfo=UTC)
    if format_time(moment) != text:  # strptime takes single digits too
        raise ValueError(f"time is {text!r}; wanted YYYY-MM-DDTHH:MM:SSZ")
    return moment


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str) -> bytes:
    """Standard base64 with padding, and the one spelling of it. Raises ``ValueError``."""
    try:
        data = base64.b64decode(text, validate=True)
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
