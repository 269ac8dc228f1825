"""OCSP answers for CA certificates, which a ceremony made: from files to the publication database.

The root signs no answers while it is offline, and its delegate's key is offline too; so its answers come as files, in
``answers/`` of the installed folder, one OCSPResponse (DER) in each. Every one is judged as validation will judge it:
by a responder that the root itself certified, for this root's CertID, by all rules; and none that says good of what
the root's CRL lists by now. The database lets none go back.
"""

import logging
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp

from sealwright.errors import InputError, IntegrityError, SealwrightError
from sealwright.pki.crl import read_crl
from sealwright.pki.crl_scope import FULL, crl_file_name
from sealwright.pki.ocsp import AnswerTemplate, CertIDForm, cert_id
from sealwright.pki.ocsp_rules import check_answer
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber, format_serial, parse_serial
from sealwright.pki.signatures import verify_bytes
from sealwright.store.publication import GOOD, REVOKED, Publication, PublishedAnswer

log = logging.getLogger("sealwright.presign")

FOLDER = "answers"
_LIMIT = 64 * 1024


class RootAnswers:
    """The files under watch. What is wrong with one is said once, and the others are published."""

    def __init__(self, folder: Path, root_id: str, root: x509.Certificate) -> None:
        self._folder, self._root_id, self._root = folder / FOLDER, root_id, root
        self._crl = folder / "crl" / crl_file_name(root_id, FULL)
        self._seen: dict[Path, tuple[int, int, int]] = {}

    def publish(self, publication: Publication) -> None:
        """Those that are new. Raises what the database raises; then they are tried again."""
        for path in sorted(self._folder.glob("*.der")):
            try:
                status = path.stat()
                seen = (status.st_mtime_ns, status.st_size, status.st_ino)
                if self._seen.get(path) == seen:
                    continue
                row = self._read(path)
            except OSError as error:
                log.warning("not published: cannot read %s: %s", error.filename, error.strerror)
                continue
            except SealwrightError as error:
                log.warning("not published: %s: %s", path, error)
            else:
                publication.put_answers([row])
                log.info("published what the root says of %s: %s", row.serial, row.status)
            self._seen[path] = seen

    def _read(self, path: Path) -> PublishedAnswer:
        row = read_root_answer(path.read_bytes(), self._root_id, self._root)
        if row.status == GOOD:
            crl, number = read_crl(self._crl.read_bytes(), self._root)
            if crl.get_revoked_certificate_by_serial_number(parse_serial(row.serial)) is not None:
                raise IntegrityError(f"it says good of {row.serial}, which the root's CRL number {number} lists")
        return row


def read_root_answer(data: bytes, root_id: str, root: x509.Certificate) -> PublishedAnswer:
    """Raises ``InputError``, ``IntegrityError`` or ``PolicyViolation`` for what is not to be published."""
    if len(data) > _LIMIT:
        raise InputError(f"an OCSP answer of {len(data)} octets")
    try:
        read = ocsp.load_der_ocsp_response(data)
        (responder,) = read.certificates
        form = CertIDForm(read.hash_algorithm.name)
        serial, this_update, next_update = read.serial_number, read.this_update_utc, read.next_update_utc
        moment, reason = read.revocation_time_utc, read.revocation_reason
        revoked = None
        if moment is not None:
            said = None if reason is None else RevocationReason(reason.value)
            revoked = RevocationEntry(SerialNumber(serial), moment, said)
        tbs, signature = read.tbs_response_bytes, read.signature
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(f"an OCSP answer that cannot be read: {error}") from error
    template = AnswerTemplate.of(root, responder)
    verify_bytes(template.public_key, template.scheme, tbs, signature)
    hashes = cert_id(form, root)
    check_answer(data, responder=responder, form=form, hashes=hashes, serial=serial, revoked=revoked, of_ca=True)
    if next_update is None:
        raise IntegrityError("an OCSP answer without nextUpdate")
    return PublishedAnswer(
        ca_id=root_id,
        serial=format_serial(serial),
        form=form.value,
        status=GOOD if revoked is None else REVOKED,
        revocation_date=revoked.revocation_date if revoked else None,
        reason=revoked.reason if revoked else None,
        this_update=this_update,
        next_update=next_update,
        refresh_at=next_update,
        der=data,
    )
