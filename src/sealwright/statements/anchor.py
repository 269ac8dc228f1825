"""The anchor: what installation and clients pin, and from which every other trust follows.

The root certificate, the officers who sign the first roster, their threshold, and whether this is a rehearsal. The
digest of its canonical bytes is the PKI id that is inside every statement.
"""

import hashlib
from functools import cached_property
from typing import Annotated, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from pydantic import Field

from sealwright.errors import IntegrityError
from sealwright.statements.canonical import canonical_bytes, parse_canonical
from sealwright.statements.kinds import OfficerEntry
from sealwright.statements.people import Officer, parse_officers
from sealwright.statements.wire import Array, Digest, WireModel, parse_model


class Anchor(WireModel):
    mode: Literal["REHEARSAL", "PRODUCTION"]
    root_sha256: Digest
    """Of the root certificate's DER."""
    officers: Array[OfficerEntry]
    threshold: Annotated[int, Field(ge=1, le=64)]

    def to_bytes(self) -> bytes:
        """The canonical file, ``anchor.json``."""
        return canonical_bytes(self.model_dump(mode="json"))

    @cached_property
    def pki_id(self) -> str:
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def ledger_origin(self) -> str:
        """The first line of every checkpoint of this PKI's ledger."""
        return f"sealwright/{self.pki_id}"

    @cached_property
    def people(self) -> tuple[Officer, ...]:
        """The officers, their keys parsed."""
        return parse_officers(self.officers, self.threshold)

    def check_root(self, root: x509.Certificate) -> None:
        """Raises ``IntegrityError`` unless ``root`` is the one that the ceremony made."""
        got = root.fingerprint(hashes.SHA256()).hex()
        if got != self.root_sha256:
            raise IntegrityError(
                f"root certificate is {got}; the anchor pins {self.root_sha256}",
                hint="take root.pem and anchor.json from the same ceremony record",
            )


def load_anchor(data: bytes) -> Anchor:
    """Read ``anchor.json``. Raises ``InputError``, or ``PolicyViolation`` (ROSTER-...) when its officers cannot be."""
    anchor = parse_model(Anchor, parse_canonical(data), "anchor")
    _ = anchor.people
    return anchor
