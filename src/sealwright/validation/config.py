"""What validation is told, and what its workers are told: plain values that travel to a new process as JSON."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationConfig:
    """``folder`` is an installed PKI (its public part is enough); ``publication`` the URL of the publication database.

    The snapshot is kept in ``snapshot``, by default beside the installed PKI.
    """

    folder: Path
    publication: str
    host: str
    port: int
    workers: int = 2
    snapshot: Path | None = None
    poll_seconds: float = 0.2
    status_listen: str | None = None
    """``host:port`` of health and metrics."""
    rebuild: bool = False
    """Make the snapshot again from nothing; the one that is there is served meanwhile."""

    @property
    def snapshot_folder(self) -> Path:
        return self.snapshot or self.folder / "snapshot"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncConfig:
    """For the process that fills the snapshot."""

    folder: str
    publication: str
    snapshot: str
    poll_seconds: float
    rebuild: bool = False
    believe_old: bool = True
    """A rebuild goes back in nothing that the present snapshot says; not when that is damaged."""

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """For an answering process. ``listeners`` are file descriptors of bound sockets that it inherits."""

    snapshot: str
    """One generation; empty when there is none yet."""
    listeners: tuple[int, ...]
    pki: str = ""
    counts: int = -1
    """The file descriptor of the shared memory, and our ``slot`` in it."""
    slot: int = 0
    prefix: str = ""
    """The path of the PKI's public URL, before ``/ocsp`` and the others; empty when it has none."""
    max_age_seconds: int = 45
    """How long caches may keep an answer. With the 2 s that a revocation takes to get here it stays under the 60 s in
    which everybody is to see it."""
    header_seconds: float = 10.0
    """A request that is not whole by then is given up (slow loris)."""
    idle_seconds: float = 60.0

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        return cls(**json.loads(line))
