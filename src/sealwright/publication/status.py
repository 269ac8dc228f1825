"""How presign is, in a small file that is replaced every two seconds: presign speaks no HTTP, and holds a key.

``sealwrightd metrics`` and ``check`` read it (ADR 0006). An old ``at`` means that presign does not run.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sealwright.hsm.session import TokenHealth

log = logging.getLogger("sealwright.presign")


def tell_status(path: Path, facts: Mapping[str, Any], token: TokenHealth, now: datetime) -> None:
    """Replace the file. What cannot be written is said in the log: the work goes on without it."""
    status = {"at": wire_time(now), **facts, "tokens": [token.to_wire()]}
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_text(json.dumps(status))
        beside.replace(path)
    except OSError as error:
        log.debug("no status in %s: %s", path, error.strerror)


def wire_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
