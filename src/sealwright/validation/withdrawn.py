"""Nothing says good of a CA certificate that the root's CRL lists.

The root's answers last for months, and a CRL that revokes may come before the answers that repeat it. What was good is
then taken out of the snapshot: the responder has no answer (``unauthorized``), and verifiers are left with the CRL.
"""

from cryptography import x509

from sealwright.pki.crl_scope import crl_public_path
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.pki.serials import format_serial
from sealwright.validation.acceptance import Acceptance
from sealwright.validation.snapshot import SnapshotTransaction


def withdraw_good(transaction: SnapshotTransaction, acceptance: Acceptance) -> list[str]:
    """To be called when the root's CRL or its answers changed, in that transaction. Gives what was withdrawn."""
    root_id = acceptance.root_id
    crl = transaction.object(crl_public_path(root_id))
    if crl is None:
        return []
    withdrawn = []
    for entry in x509.load_der_x509_crl(crl.body):
        for form in CertIDForm:
            hashes, serial = acceptance.hashes(root_id, form), entry.serial_number
            record = transaction.answer(form, hashes, serial)
            if record is not None and not record.revoked:
                transaction.drop_answer(form, hashes, serial)
                withdrawn.append(f"answer for {root_id} {format_serial(serial)} {form}")
    return withdrawn
