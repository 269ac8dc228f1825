"""What presign is told: where everything is. The standing order itself is in ``ca/pki.toml``, which the roster pins."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class PresignConfig:
    """``folder`` is an installed PKI; ``publication`` the URL of the publication database."""

    folder: Path
    socket: Path
    module: Path
    token_serial: str
    key_id: bytes
    pin_file: Path
    publication: str
    status: Path | None = None
    """Where presign says how it is, for ``sealwrightd metrics`` and ``check``."""
    state: Path | None = None
    """Where presign keeps what it read of the ledger, so that a start reads only what is new; None: in memory."""
    poll_seconds: float = 0.2
    """How often the ledger's checkpoint is looked at: most of the time from a revocation to its answer."""
