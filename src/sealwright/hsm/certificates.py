"""A certificate beside its key on the token: what Java's keystore and most signing tools look for.

It is public data and nothing here trusts it; it is stored only where the key that it certifies is.
"""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkcs11 import Attribute, CertificateType, ObjectClass

from sealwright.errors import Conflict, KeyAttributeError
from sealwright.hsm.keys import private_key
from sealwright.hsm.objects import find_objects
from sealwright.hsm.pool import Worker
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import spki_sha256


def store_certificate(session: TokenSession, certificate: x509.Certificate, *, key_id: bytes, label: str) -> None:
    """Put ``certificate`` on the token, under the CKA_ID of its key. ``label`` is the alias that Java shows.

    A certificate that is there under this CKA_ID already is replaced when it is for the same key (it was renewed).
    Raises KeyAttributeError when the key is another one, TokenNotFound when there is none, TokenError.
    """
    key = private_key(session, key_id)
    if spki_sha256(key.public_key()) != spki_sha256(certificate.public_key()):  # type: ignore[arg-type]  # another kind has another digest
        raise KeyAttributeError(
            f"key {key_id.hex()} on token {session.serial} is not the key of this certificate",
            hint="name the CKA_ID that `sealwright request` printed",
        )
    session.call_once(lambda worker: _store(worker, certificate, key_id, label), doing="storing a certificate")


def _store(worker: Worker, certificate: x509.Certificate, key_id: bytes, label: str) -> None:
    old = find_objects(worker.native, ObjectClass.CERTIFICATE, key_id)
    if len(old) > 1:
        raise Conflict(f"the token holds {len(old)} certificates with CKA_ID {key_id.hex()}; wanted one at most")
    worker.native.create_object(
        {
            Attribute.CLASS: ObjectClass.CERTIFICATE,
            Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: False,
            Attribute.ID: key_id,
            Attribute.LABEL: label,
            Attribute.SUBJECT: certificate.subject.public_bytes(),
            Attribute.VALUE: certificate.public_bytes(Encoding.DER),
        }
    )
    for each in old:  # after the new one is there: a power cut leaves two, and both are this key's
        each.destroy()
