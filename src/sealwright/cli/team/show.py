"""How things are printed: results on stdout, what goes on meanwhile on stderr.

Words of the registry pass through ``printable``: nothing that it says can rewrite a terminal.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealwright.client.transport import printable


def stdout() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def stderr() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


def print_facts(
    title: str, facts: Iterable[tuple[str, Any]], *, style: str = "bold", console: Console | None = None
) -> None:
    """A heading, and lines of name and value; empty values are left out."""
    console = console or stdout()
    lines = [(name, printable(value)) for name, value in facts if value not in (None, "", ())]
    width = max((len(name) for name, _ in lines), default=0)
    console.print(Text(title, style=style), soft_wrap=True)
    for name, value in lines:
        # One fact, one line, however long: a digest is there to be copied whole.
        console.print(Text(f"  {name:{width}}  ", style="dim") + Text(value, style="not dim"), soft_wrap=True)


def print_table(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]], *, nothing: str) -> None:
    """Rows under their names. On a pipe, wide lines are not cut."""
    console = stdout()
    if not console.is_terminal:
        console.width = 240
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    there = False
    for row in rows:
        there = True
        table.add_row(*(Text(printable("" if row.get(column) is None else row[column])) for column in columns))
    if there:
        console.print(table)
    else:
        console.print(nothing)


def print_next(cursor: Any) -> None:
    """On stderr, when this page is not the last."""
    if cursor is not None:
        stderr().print(Text(f"there are more: --after {printable(cursor)}"), soft_wrap=True)


REQUEST_COLUMNS = ("id", "state", "person", "team", "project", "profile", "serial", "expires_at")
CERTIFICATE_COLUMNS = ("serial", "state", "team", "project", "profile", "person", "not_after")
