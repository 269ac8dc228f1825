"""From the bytes of a TOML file to a strict pydantic model, with one error that names the file and the field.

Values go through JSON on their way: so pydantic's strict mode reads arrays as tuples and strings as enums, and a TOML
date or float, which no file of ours has, is refused.
"""

import json
import tomllib
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sealwright.errors import InputError

LARGEST_FILE = 64 * 1024


class Table(BaseModel):
    """A TOML table: every field known, none converted, nothing changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Model = TypeVar("Model", bound=BaseModel)


def parse_toml(data: bytes, model: type[Model], *, source: str) -> Model:
    """Raise InputError naming ``source`` and the first wrong field; never anything else for any bytes."""
    if len(data) > LARGEST_FILE:
        raise InputError(f"{source}: has {len(data)} octets; wanted at most {LARGEST_FILE}")
    try:
        text = json.dumps(tomllib.loads(data.decode("utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InputError(
            f"{source}: not the TOML that was wanted: {reason}", hint="compare with the one in ca/"
        ) from None
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"{source}: {_explain(error)}", hint="compare with the one in ca/") from None


def _explain(error: ValidationError) -> str:
    """The first of pydantic's findings, in our form: subject, got, wanted."""
    findings = error.errors(include_url=False, include_context=False)
    first = findings[0]
    field = ".".join(str(part) for part in first["loc"]) or "the file"
    match first["type"]:
        case "extra_forbidden":
            said = f"field {field} is unknown"
        case "missing":
            said = f"field {field} is missing"
        case _:
            got = repr(first["input"])
            said = f"field {field} is {got if len(got) <= 80 else got[:80] + '...'}; {first['msg']}"
    return said if len(findings) == 1 else f"{said} (and {len(findings) - 1} more)"
