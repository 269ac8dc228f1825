"""CRLs and CA certificates on their way to the publication database.

CRLs are read from where the signer and the installation put them. The issuing CA's is published when it is the last one
in the ledger; any CRL only when its CA signed it and its number goes on. CA certificates come as DER and as p7c.
"""

import hashlib
import logging
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from sealwright.errors import IntegrityError
from sealwright.pki.crl import read_crl
from sealwright.pki.crl_scope import FULL, crl_file_name, crl_public_path, scope_of_crl
from sealwright.store.publication import Publication, PublishedObject

log = logging.getLogger("sealwright.presign")

CRL_TYPE = "application/pkix-crl"  # RFC 2585
CERTIFICATE_TYPE = "application/pkix-cert"
BUNDLE_TYPE = "application/pkcs7-mime"  # RFC 5280 4.2.2.1


def publish_ca_certificate(publication: Publication, ca_id: str, certificate: x509.Certificate) -> None:
    """``/ca/ID.cer`` and ``/ca/ID.p7c``, unless they are there already."""
    bodies = {
        f"/ca/{ca_id}.cer": (CERTIFICATE_TYPE, certificate.public_bytes(Encoding.DER)),
        f"/ca/{ca_id}.p7c": (BUNDLE_TYPE, pkcs7.serialize_certificates([certificate], Encoding.DER)),
    }
    for path, (content_type, body) in bodies.items():
        found = publication.find_object(path)
        if found is None or found.body != body:
            publication.put_object(PublishedObject(path=path, content_type=content_type, body=body))


class CRLFile:
    """One CRL under watch in ``folder``. ``refresh`` is when its CA makes the next one; None: at its nextUpdate."""

    def __init__(
        self, folder: Path, ca_id: str, ca: x509.Certificate, refresh: timedelta | None, *, scope: str = FULL
    ) -> None:
        self._path, self._ca, self._refresh = folder / crl_file_name(ca_id, scope), ca, refresh
        self._public_path, self._scope = crl_public_path(ca_id, scope), scope
        self._seen: tuple[int, int, int] | None = None
        self._said = ""

    def publish(self, publication: Publication, sha256: str | None = None) -> bool:
        """Publish the file if it is new. ``sha256``: of the newest CRL in the ledger, if this CA's are there.

        False while the file is not (yet) the one to publish: the signer records first and writes after.
        """
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen == self._seen:
                return True
            body = self._path.read_bytes()
        except OSError as error:
            return self._wait(f"cannot read {self._path}: {error.strerror}")
        if sha256 is not None and hashlib.sha256(body).hexdigest() != sha256:
            return self._wait(f"{self._path} is not the last CRL of the ledger")
        try:
            crl, number = self._read(body)
        except IntegrityError as error:
            return self._wait(f"{self._path}: {error.message}")
        before = int(publication.object_number(self._public_path) or "0", 16)
        if number < before or (number == before and not publication.has_object(self._public_path, body)):
            return self._wait(f"{self._path} has number {number:#x}; published is {before:x} already")
        if number > before:
            publication.put_object(self._row(crl, number, body))
            log.info("published %s number %d", self._public_path, number)
        self._seen, self._said = seen, ""
        return True

    def _read(self, body: bytes) -> tuple[x509.CertificateRevocationList, int]:
        crl, number = read_crl(body, self._ca)
        if scope_of_crl(crl) != self._scope:
            raise IntegrityError("it is another partition, or the full list, under this name")
        return crl, number

    def _row(self, crl: x509.CertificateRevocationList, number: int, body: bytes) -> PublishedObject:
        this_update, next_update = crl.last_update_utc, crl.next_update_utc
        refresh_at = next_update
        if self._refresh is not None and next_update is not None:
            refresh_at = min(this_update + self._refresh, next_update)
        return PublishedObject(
            path=self._public_path,
            content_type=CRL_TYPE,
            number=f"{number:x}",
            this_update=this_update,
            next_update=next_update,
            refresh_at=refresh_at,
            body=body,
        )

    def _wait(self, why: str) -> bool:
        if why != self._said:
            log.warning("not published: %s", why)
            self._said = why
        return False
