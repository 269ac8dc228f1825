"""The tables of conformance/README.md, which say what each verifier says: read, so that the tests hold them to it."""

from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

README = Path(__file__).parent / "conformance/README.md"


def read_columns(first: str) -> dict[str, dict[str, str]]:
    """Of the table whose first heading is ``first``: column -> row -> cell."""
    lines = README.read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"| {first} |"))
    names, _, *rest = takewhile(lambda line: line.startswith("|"), lines[start:])
    headings = _cells(names)[1:]
    found: dict[str, dict[str, str]] = {heading: {} for heading in headings}
    for line in rest:
        name, *cells = _cells(line)
        for heading, cell in zip(headings, cells, strict=True):
            found[heading][name.strip("`")] = cell
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def as_lines(columns: Mapping[str, Mapping[str, str]]) -> str:
    """As it would stand in README.md."""
    rows = next(iter(columns.values()))
    lines = ["| case | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| `{row}` | " + " | ".join(column[row] for column in columns.values()) + " |" for row in rows]
    return "\n".join(lines)
