"""Writing the little TOML we write: tables of strings, numbers and lists. Reading is ``tomllib``'s."""

import json
from collections.abc import Mapping
from typing import Any


def write_toml(table: Mapping[str, Any]) -> bytes:
    """TOML v1.0 of ``table``: values first, then sub-tables under their dotted names."""
    return "\n".join(_lines(table, ())).encode() + b"\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    values = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]  # JSON's scalars and lists are TOML's
    if path and (values or not tables):
        lines = [f"\n[{'.'.join(path)}]", *lines]
    for key, value in tables.items():
        lines += _lines(value, (*path, key))
    return lines
