"""What the registry is told when it starts. It holds no trust and no secret."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MailConfig:
    """``server`` is HOST:PORT; ``to`` an address for each team, and ``"*"``."""

    server: str
    sender: str
    to: Mapping[str, str]
    starttls: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticesConfig:
    """``days`` before an expiry; ``state`` is the file that remembers what was sent."""

    days: tuple[int, ...]
    state: Path
    webhook: str | None = field(default=None, repr=False)
    mail: MailConfig | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """``folder`` is the installed PKI's; ``url`` is how clients reach this registry, and what a login is made for."""

    folder: Path
    socket: Path
    database: str
    url: str
    notices: NoticesConfig | None = None
