"""Receipts: that a certificate is in the ledger, checkable by whoever has the ledger's public key, offline."""

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import InputError, IntegrityError
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import CertificateEntry, parse_entry
from sealwright.ledger.tree import check_inclusion, leaf_hash
from sealwright.ledger.view import LedgerView
from sealwright.pki.serials import format_serial
from sealwright.statements.receipts import Receipt
from sealwright.statements.wire import decode_base64, encode_base64


def make_receipt(ledger: LedgerView, entry: int, certificate: x509.Certificate, issuer: x509.Certificate) -> Receipt:
    """The receipt for the certificate whose ``CertificateEntry`` is at ``entry``."""
    return Receipt(
        certificate=encode_base64(certificate.public_bytes(Encoding.DER)),
        issuer=_in_base64(issuer),
        entry_index=entry,
        entry=encode_base64(ledger.read(entry)),
        proof=tuple(encode_base64(each) for each in ledger.inclusion_proof(entry)),
        checkpoint=ledger.checkpoint,
    )


@lru_cache(maxsize=4)  # the issuer's is in every receipt
def _in_base64(certificate: x509.Certificate) -> str:
    return encode_base64(certificate.public_bytes(Encoding.DER))


def check_receipt(receipt: Receipt, *, origin: str, ledger_key: Ed25519PublicKey) -> None:
    """Raises ``IntegrityError`` unless the certificate is in the ledger, and was signed by the issuer it names.

    Whether that issuer is this PKI's is the caller's to compare with its roster.
    """
    size, root = verify_checkpoint(receipt.checkpoint, origin, ledger_key)
    data = decode_base64(receipt.entry)
    proof = [decode_base64(each) for each in receipt.proof]
    check_inclusion(leaf=leaf_hash(data), index=receipt.entry_index, size=size, proof=proof, root=root)
    try:
        entry = parse_entry(data)
        certificate = receipt.load_certificate()
        issuer = x509.load_der_x509_certificate(receipt.issuer_der)
    except (InputError, ValueError, x509.InvalidVersion) as error:
        raise IntegrityError(f"receipt cannot be read: {error}") from None
    if not isinstance(entry, CertificateEntry) or entry.certificate_der != receipt.certificate_der:
        raise IntegrityError("receipt proves another ledger entry than that of its certificate")
    if entry.serial != format_serial(certificate.serial_number):
        raise IntegrityError("receipt's ledger entry has another serial than its certificate")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        raise IntegrityError("receipt's certificate was not signed by the issuer it names") from None
