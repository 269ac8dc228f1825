"""The receipt for a certificate: the certificate, and the proof that its entry is in the ledger.

``ledger.receipt`` makes and checks it; here it is only what travels.
"""

from typing import Annotated, Any, Self

from cryptography import x509
from pydantic import Field

from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.wire import Array, Base64, WireModel, decode_base64, parse_model


class Receipt(WireModel):
    certificate: Base64
    """DER."""
    issuer: Base64
    """DER of the issuing CA's certificate."""
    entry_index: Annotated[int, Field(ge=0)]
    entry: Base64
    proof: Annotated[Array[Base64], Field(max_length=64)]
    """Sibling hashes from the entry to the root of ``checkpoint``, bottom first (RFC 9162 2.1.3)."""
    checkpoint: Annotated[str, Field(max_length=8192)]

    @classmethod
    def parse(cls, value: Any) -> Self:
        """From its JSON object. Raises ``InputError``."""
        return parse_model(cls, value, "receipt")

    def to_wire(self) -> dict[str, Any]:
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """The canonical JSON file."""
        return canonical_bytes(self.to_wire())

    @property
    def certificate_der(self) -> bytes:
        return decode_base64(self.certificate)

    @property
    def issuer_der(self) -> bytes:
        return decode_base64(self.issuer)

    def load_certificate(self) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.certificate_der)
