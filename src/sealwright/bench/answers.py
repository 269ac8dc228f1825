"""A publication database with as many answers as a bench wants, in a minute for a million; and a PKI for it.

CA and responder certificates are the real code's. An answer is the real template's with another serial and its own
signature, by a responder with a software key and all processors at once: what follows the database checks each as it
checks any.
"""

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key

from sealwright.bench.testbed import OFFICERS, POLICY, install_folder
from sealwright.pki import der
from sealwright.pki.certificates import IssuerRecord, draft_certificate, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind, PrivateKey, PublicKey
from sealwright.pki.names import responder_subject
from sealwright.pki.ocsp import AnswerTemplate, CertIDForm, CertificateStatus, cert_id, draft_ocsp_answer
from sealwright.pki.profiles import load_profile
from sealwright.pki.serials import SerialNumber, format_serial, new_serial
from sealwright.pki.settings import load_settings
from sealwright.pki.signatures import algorithm_identifier
from sealwright.store.migrations import upgrade

_CHUNK: Final = 4000
_PLACEHOLDER: Final = SerialNumber(1 << 158)
_BASIC: Final = der.oid("1.3.6.1.5.5.7.48.1.1")

_INSERT: Final = (
    "INSERT INTO answers (ca_id, this_update, next_update, refresh_at, change, serial, form, der, status)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'good')"
)

Answer = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class Published:
    """``folder`` is what validation runs on; ``issuing`` the CA whose certificates are asked for."""

    folder: Path
    url: str
    issuing: x509.Certificate
    count: int

    def request(self, number: int) -> bytes:
        """DER of an OCSP request for certificate ``number``."""
        return self.request_for(serial(number))

    def request_for(self, wanted: int) -> bytes:
        """With SHA-1, as most clients have it."""
        hashes = b"".join(der.octet_string(each) for each in cert_id(CertIDForm.SHA1, self.issuing))
        algorithm = der.sequence(der.oid("1.3.14.3.2.26"), der.encode(der.NULL))
        certificate = der.sequence(algorithm, hashes, der.integer(wanted))
        return der.sequence(der.sequence(der.sequence(der.sequence(certificate))))


def serial(number: int) -> SerialNumber:
    """Of certificate ``number``: as random as a real one, and the same each time."""
    return new_serial(lambda octets: hashlib.sha256(b"%d" % number).digest()[:octets])


def publish(folder: Path, issuing_key: PrivateKey, count: int) -> Published:
    """Answers in both forms for ``count`` certificates of the PKI in ``folder``, whose issuing key this is."""
    now = datetime.now(UTC).replace(microsecond=0)
    issuing = x509.load_pem_x509_certificate((folder / "issuing.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    settings = load_settings((POLICY / "pki.toml").read_bytes(), source="ca/pki.toml")
    job = _Job(
        issuing.public_bytes(Encoding.DER),
        _responder(issuing, issuing_key, key.public_key(), now).public_bytes(Encoding.DER),
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        now,
        now + timedelta(hours=48),
    )
    said = [f"{each:%Y-%m-%d %H:%M:%S}.000000" for each in (now, job.next_update, now + timedelta(hours=12))]
    database = folder / "publication.db"
    url = f"sqlite:///{database}"
    upgrade("publication", url)
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        for change, answers in enumerate(_all_answers(job, count), start=1):
            fixed = (settings.issuing.id, *said, change)
            connection.executemany(_INSERT, ((*fixed, *answer) for answer in answers))
            connection.execute("UPDATE state SET change = ?", (change,))
    connection.close()
    return Published(folder, url, issuing, count)


@dataclass(frozen=True, slots=True)
class _Job:
    """What a process needs to make answers: DER, because it travels."""

    issuing: bytes
    responder: bytes
    key: bytes
    this_update: datetime
    next_update: datetime


def _all_answers(job: _Job, count: int) -> Iterator[list[Answer]]:
    chunks = [range(first, min(first + _CHUNK, count)) for first in range(0, count, _CHUNK)]
    if len(chunks) == 1:
        yield _make_answers(job, chunks[0])
        return
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_make_answers, [job] * len(chunks), chunks)


def _make_answers(job: _Job, numbers: range) -> list[Answer]:
    template = AnswerTemplate.of(
        x509.load_der_x509_certificate(job.issuing), x509.load_der_x509_certificate(job.responder)
    )
    key = load_der_private_key(job.key, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101  # made below
    algorithm, hashing = algorithm_identifier(template.scheme), ec.ECDSA(SHA256())
    hole = der.integer(_PLACEHOLDER)
    made: list[Answer] = []
    for form in CertIDForm:
        draft = draft_ocsp_answer(
            template,
            form,
            CertificateStatus(_PLACEHOLDER),
            this_update=job.this_update,
            next_update=job.next_update,
            archive_cutoff=job.this_update - timedelta(days=3653),
        )
        before, after = draft.tbs.split(hole)
        for number in numbers:
            tbs = b"".join((before, der.integer(serial(number)), after))
            signature = der.encode(der.BIT_STRING, b"\x00", key.sign(tbs, hashing))
            basic = der.sequence(tbs, algorithm, signature, template.certificates)
            wrapped = der.encode(der.context(0), der.sequence(_BASIC, der.octet_string(basic)))
            made.append((format_serial(serial(number)), form.value, der.sequence(b"\x0a\x01\x00", wrapped)))
    return made


def make_software_pki(folder: Path) -> ec.EllipticCurvePrivateKey:
    """An installed PKI without tokens. Gives its issuing key."""
    issuing_key = ec.generate_private_key(ec.SECP384R1())
    publics: dict[str, PublicKey] = {
        "issuing": issuing_key.public_key(),
        "ocsp": ec.generate_private_key(ec.SECP256R1()).public_key(),
        "ledger": Ed25519PrivateKey.generate().public_key(),
    }
    folder.mkdir(parents=True)
    install_folder(folder, KeyKind.P384, publics, {name: Ed25519PrivateKey.generate() for name in OFFICERS})
    return issuing_key


def _responder(
    issuing: x509.Certificate, issuing_key: PrivateKey, public: PublicKey, now: datetime
) -> x509.Certificate:
    settings = load_settings((POLICY / "pki.toml").read_bytes(), source="ca/pki.toml")
    draft = draft_certificate(
        load_profile((POLICY / "profiles/ocsp-responder.toml").read_bytes(), source="ocsp-responder.toml"),
        issuer=IssuerRecord.of(issuing, settings, settings.issuing.id),
        subject=responder_subject(settings, rehearsal=True),
        public_key=public,
        serial=new_serial(),
        not_before=now - timedelta(minutes=5),
    )
    return sign_certificate(lint_draft(draft), issuing_key)
