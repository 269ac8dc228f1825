"""The head of a record, signed by those who were there: each with their own key, the root key never.

``signatures/NAME.sig`` in the record is an SSH signature over a canonical document with the head in it. The officers'
keys are those of the PKI; the witness's is the one that stands in the transcript since the attendance. A production
record counts when a quorum of the officers and the witness have signed it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealwright.ceremony.folder import make_folder
from sealwright.ceremony.officers import Officers
from sealwright.ceremony.script import Role
from sealwright.durable import read_file, write_new
from sealwright.errors import InputError, IntegrityError
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.ssh import ARMOR_LIMIT, SSHPublicKey, parse_public_key, verify_signature

RECORD: Final = "ceremony-record@sealwright.v1"
SIGNATURES: Final = "signatures"


@dataclass(frozen=True, slots=True)
class Signatory:
    """Somebody who was in the room, and the key that they sign with."""

    name: str
    role: Role
    key: SSHPublicKey

    def message(self, head: str) -> bytes:
        """What they sign of a record."""
        return canonical_bytes({"head": head, "name": self.name, "role": self.role})

    def __str__(self) -> str:
        return f"{self.name} ({self.role}, {self.key.fingerprint})"


def find_signatories(entries: tuple[dict[str, object], ...], officers: Mapping[str, str]) -> dict[str, Signatory]:
    """By name: those of the transcript's last attendance who have a key there. Of a replayed transcript only."""
    present: dict[str, dict[str, object]] = {}
    for entry in entries:
        if entry["entry"] == "present":
            present[str(entry["role"])] = entry
    found: dict[str, Signatory] = {}
    for role, entry in present.items():
        names = entry["people"] if isinstance(entry["people"], list) else []
        for name in map(str, names):
            line = officers.get(name) if role == Role.OFFICER else entry["key"]
            if isinstance(line, str):
                found[name] = Signatory(name, Role(role), parse_public_key(line))
    return found


def verify_signatures(record: Path, head: str, signatories: Mapping[str, Signatory]) -> tuple[Signatory, ...]:
    """Who signed the head. Raises ``IntegrityError`` for a signature that is false, or by nobody who was there."""
    folder = record / SIGNATURES
    signed = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = path.name.removesuffix(".sig")
        if name not in signatories or not path.name.endswith(".sig"):
            raise IntegrityError(f"{SIGNATURES}/{path.name} is of nobody who was there with a key")
        signatory = signatories[name]
        try:
            armored = read_file(path, limit=ARMOR_LIMIT).decode("ascii")
            verify_signature(armored, signatory.message(head), RECORD, signatory.key)
        except (IntegrityError, InputError, UnicodeDecodeError) as error:
            said = getattr(error, "message", "it is not ASCII")
            raise IntegrityError(f"{SIGNATURES}/{path.name}: {said}") from error
        signed.append(signatory)
    return tuple(signed)


def missing_signatures(signed: tuple[Signatory, ...], officers: Officers) -> str:
    """What a production record still wants, in words; empty when nothing."""
    few = officers.lacking([each.name for each in signed if each.role is Role.OFFICER])
    lacking = []
    if few > 0:
        lacking.append(f"{few} more of its officers")
    if not any(each.role is Role.WITNESS for each in signed):
        lacking.append("its witness")
    return " and ".join(lacking)


def lay_signature(record: Path, name: str, armored: str) -> None:
    """Beside the transcript, never over another one. Raises ``Conflict``."""
    if not (record / SIGNATURES).is_dir():
        make_folder(record / SIGNATURES)
    write_new(record / SIGNATURES / f"{name}.sig", armored.encode("ascii"))
