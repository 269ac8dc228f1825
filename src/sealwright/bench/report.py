"""What every bench tells: rows, a table of them as they come, and the same as JSON and as markdown.

A figure without its machine says nothing, so the JSON names processor, load, versions and date. What is measured is
each bench's own.
"""

import json
import os
import platform
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = ("sealwright", "cryptography", "python-pkcs11", "asn1crypto", "pkilint")
_WIDTHS: Final = (58, 11, 6, 11, 8)


@dataclass(frozen=True, slots=True)
class Row:
    """``ours`` and ``reference`` are in ``unit``. ``note`` says what the reference is, or what else one has to know.

    ``paired`` is the ratio when it was taken turn by turn.
    """

    what: str
    ours: float
    unit: str
    reference: float | None = None
    note: str = ""
    paired: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours by the reference: above 1 is good for rates ("/s") and bad for times ("ms")."""
        if self.paired is not None:
            return self.paired
        return self.ours / self.reference if self.reference else None

    def to_json(self) -> dict[str, Any]:
        fields = {**asdict(self), "ratio": self.ratio}
        del fields["paired"]
        return fields


def head() -> str:
    """The line above the rows."""
    return _line("what", "ours", "unit", "reference", "ratio", "note")


def line(row: Row) -> str:
    """One row of the table."""
    reference = "" if row.reference is None else _number(row.reference)
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
    return _line(row.what, _number(row.ours), row.unit, reference, ratio, row.note)


def markdown(rows: Iterable[Row]) -> str:
    """The table as a README has it."""
    lines = ["| what | ours | reference | ratio | |", "|---|---|---|---|---|"]
    for row in rows:
        reference = "" if row.reference is None else f"{_number(row.reference)} {row.unit}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(f"| {row.what} | {_number(row.ours)} {row.unit} | {reference} | {ratio} | {row.note} |")
    return "\n".join(lines)


def write_json(path: Path, bench: str, rows: Sequence[Row]) -> None:
    report = {"bench": bench, "machine": machine(), "rows": [row.to_json() for row in rows]}
    path.write_text(json.dumps(report, indent=2) + "\n")


def machine() -> dict[str, Any]:
    """What a figure depends on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(each, 2) for each in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    for entry in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = entry.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _line(what: str, ours: str, unit: str, reference: str, ratio: str, note: str) -> str:
    a, b, c, d, e = _WIDTHS
    return f"{what:{a}} {ours:>{b}} {unit:{c}} {reference:>{d}} {ratio:>{e}}  {note}".rstrip()
