"""Which software conducted a ceremony: its version, and one digest over every Python file of the package."""

import hashlib
from pathlib import Path

import sealwright

PACKAGE = Path(sealwright.__file__).parent


def describe_software() -> dict[str, str]:
    """``version``, and ``sha256`` over "DIGEST  PATH" lines in the order of their paths, as ``sha256sum`` writes."""
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(PACKAGE).as_posix()}\n"
        for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: path.relative_to(PACKAGE).as_posix())
    )
    return {"version": sealwright.__version__, "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}
