"""The ceremony's TOML files, read as strictly as ``ca/`` is, with advice that fits a ceremony."""

from typing import TypeVar

from pydantic import BaseModel

from sealwright.errors import InputError
from sealwright.pki.tomlfile import parse_toml

Model = TypeVar("Model", bound=BaseModel)


def parse(data: bytes, model: type[Model], *, source: str, hint: str) -> Model:
    """Raise ``InputError`` naming ``source`` and the field, with this ``hint``."""
    try:
        return parse_toml(data, model, source=source)
    except InputError as error:
        raise InputError(error.message, hint=hint) from None
