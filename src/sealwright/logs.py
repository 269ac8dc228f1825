"""The logs of every server: one JSON object a line on standard error, from INFO on.

What a record may hold is decided where it is logged, and a secret is never in one. Libraries that log what they send
(httpx tells every URL, and a webhook's may be a secret) are heard from WARNING on.
"""

import json
import logging
import sys
from typing import Any, Final

_LOUD: Final = ("httpx", "httpcore")


class JSONLines(logging.Formatter):
    """``process`` is the server's name."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "process": self._process,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_to_stderr(process: str) -> None:
    """For this process, from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONLines(process))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)


def dict_config(process: str) -> dict[str, Any]:
    """The same, for a server that sets its logs up by ``logging.config.dictConfig``."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JSONLines, "process": process}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": "INFO"},
        "loggers": {name: {"level": "WARNING"} for name in _LOUD},
    }
