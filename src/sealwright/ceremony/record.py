"""A record that may be believed: what ``load_record`` gives has been replayed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.script import Kind
from sealwright.errors import NotFound, NotReady


@dataclass(frozen=True, slots=True)
class CeremonyRecord:
    """Made by ``load_record`` only. ``head`` is the SHA-256 of the transcript's last line."""

    path: Path
    kind: Kind
    mode: Mode
    head: str
    script: str
    outputs: Mapping[str, bytes]

    def read(self, name: str) -> bytes:
        """An output's bytes. Raises ``NotFound``."""
        if name not in self.outputs:
            raise NotFound(f"a {self.kind} record has no output {name}; it has {', '.join(sorted(self.outputs))}")
        return self.outputs[name]


def load_record(folder: Path) -> CeremonyRecord:
    """Replay a record and give its outputs, from memory, not from the disk again. Raises as ``verify_folder``,
    and ``NotReady`` for a production record that a quorum and the witness have not signed.
    """
    findings = verify_folder(folder)
    if findings.unsigned:
        raise NotReady(
            f"{folder} is not signed yet by {findings.unsigned}",
            hint=f"`sealwright-ceremony sign {folder} --as NAME --key FILE`, by those who were there",
        )
    return CeremonyRecord(folder, findings.kind, findings.mode, findings.head, findings.script, findings.outputs)
