"""Times as they stand in the files of a ceremony: UTC, whole seconds, ``2026-11-23T12:00:00Z``."""

from datetime import UTC, datetime

from sealwright.errors import InputError

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> datetime:
    """Now, as certificates write it. Only the edges call this; everything else is given a time."""
    return datetime.now(UTC).replace(microsecond=0)


def format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(_FORMAT)


def parse_time(text: str, what: str) -> datetime:
    """Raises ``InputError`` for anything but this one form."""
    try:
        moment = datetime.strptime(text, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        moment = None
    if moment is None or format_time(moment) != text:
        raise InputError(f"{what}: time is {text!r}; wanted the form 2026-11-23T12:00:00Z")
    return moment
