"""A PKI of software keys with a publication database, at the present time: what verifiers ask, without the signer.

Times are the clock's, because the verifiers of other people look at theirs. What is in the database was drafted,
linted and signed by the real code.
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.pki.crl import RevocationEntry, RevocationReason, draft_crl, lint_crl, sign_crl
from sealwright.pki.keys import KeyKind, spki_der
from sealwright.pki.ocsp import AnswerTemplate, CertificateStatus
from sealwright.pki.serials import SerialNumber
from sealwright.publication.answers import AnswerSigner
from sealwright.publication.files import CRL_TYPE, publish_ca_certificate
from sealwright.statements.anchor import Anchor
from sealwright.statements.kinds import OfficerEntry
from sealwright.store.migrations import upgrade
from sealwright.store.publication import Publication, PublishedAnswer, PublishedObject, open_publication
from softpki import CA_FOLDER, SoftPKI, soft_pki, software_key

OCSP_KEY = software_key(KeyKind.P256, "ocsp")


def present() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Published:
    """``folder`` is installed; ``port`` is where its URLs point."""

    folder: Path
    port: int
    pki: SoftPKI
    url: str
    database: Publication
    template: AnswerTemplate
    revoked: list[RevocationEntry] = field(default_factory=list)
    crl_number: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def issue(self, kind: KeyKind = KeyKind.P256, label: str = "leaf") -> x509.Certificate:
        return self.pki.issue(software_key(kind, label))

    def answers(
        self,
        certificate: x509.Certificate,
        revoked: RevocationEntry | None = None,
        *,
        now: datetime | None = None,
        template: AnswerTemplate | None = None,
    ) -> tuple[PublishedAnswer, ...]:
        signer = AnswerSigner(template=template or self.template, key=OCSP_KEY, settings=self.pki.settings)
        serial = SerialNumber(certificate.serial_number)
        return signer.sign(CertificateStatus(serial, revoked), now=now or present())

    def publish(self, certificate: x509.Certificate) -> x509.Certificate:
        """As good."""
        self.database.put_answers(self.answers(certificate))
        return certificate

    def revoke(
        self, certificate: x509.Certificate, reason: RevocationReason | None = RevocationReason.KEY_COMPROMISE
    ) -> RevocationEntry:
        """In OCSP and in a new CRL."""
        entry = RevocationEntry(SerialNumber(certificate.serial_number), present(), reason)
        self.revoked.append(entry)
        self.database.put_answers(self.answers(certificate, entry))
        self.publish_crl()
        return entry

    def crl(self, *, root: bool = False, number: int | None = None, scope: str = "") -> bytes:
        now = present()
        draft = draft_crl(
            issuer=self.pki.root_record if root else self.pki.issuing_record,
            number=number or self.crl_number,
            this_update=now,
            next_update=now + timedelta(days=7),
            entries=() if root else self.revoked,
            expired_certs_since=None if root else self.pki.issuing.not_valid_before_utc,
            distribution_point=self.pki.issuing_record.crl_url(scope) if scope else None,
        )
        key = self.pki.root_key if root else self.pki.issuing_key
        return sign_crl(lint_crl(draft), key).public_bytes(Encoding.DER)

    def publish_crl(self, *, root: bool = False) -> None:
        self.crl_number += 1
        self.database.put_object(self.crl_row(self.crl(root=root), root=root))

    def crl_row(self, body: bytes, *, root: bool = False) -> PublishedObject:
        crl = x509.load_der_x509_crl(body)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        settings = self.pki.settings
        return PublishedObject(
            path=f"/crl/{settings.root.id if root else settings.issuing.id}.crl",
            content_type=CRL_TYPE,
            number=f"{number:x}",
            this_update=crl.last_update_utc,
            next_update=crl.next_update_utc,
            refresh_at=crl.last_update_utc + timedelta(hours=24),
            body=body,
        )

    def write_pem(self, folder: Path, **certificates: x509.Certificate) -> None:
        """``NAME.pem`` for each, and ``root.pem``, ``issuing.pem``, ``chain.pem`` (both)."""
        chain = {"root": self.pki.root, "issuing": self.pki.issuing}
        pems = {name: each.public_bytes(Encoding.PEM) for name, each in (chain | certificates).items()}
        for name, pem in pems.items():
            (folder / f"{name}.pem").write_bytes(pem)
        (folder / "chain.pem").write_bytes(pems["issuing"] + pems["root"])


def make_published(folder: Path, url: str | None = None) -> Published:
    """CAs, CRLs and CA certificates are published; no end entity yet. ``url``: of a migrated database."""
    port = free_port()
    # An hour ago, so that everything below may begin now.
    pki = soft_pki(moment=present() - timedelta(hours=1), base=f"http://127.0.0.1:{port}")
    installed = folder / "pki"
    installed.mkdir(parents=True)
    shutil.copytree(CA_FOLDER, installed / "ca")
    own = (CA_FOLDER / "pki.toml").read_text()
    (installed / "ca/pki.toml").write_text(own.replace("http://pki.example.org", f"http://127.0.0.1:{port}"))
    (installed / "root.pem").write_bytes(pki.root.public_bytes(Encoding.PEM))
    (installed / "issuing.pem").write_bytes(pki.issuing.public_bytes(Encoding.PEM))
    keys = {"ocsp": OCSP_KEY.public_key(), "ledger": Ed25519PrivateKey.generate().public_key()}
    spki = {name: {"spki": base64.b64encode(spki_der(key)).decode()} for name, key in keys.items()}
    (installed / "keys.json").write_text(json.dumps(spki))
    anchor = Anchor(
        mode="REHEARSAL",
        root_sha256=pki.root.fingerprint(SHA256()).hex(),
        officers=tuple(OfficerEntry(name=name, key=_ssh_key()) for name in ("olga", "omar", "odile")),
        threshold=2,
    )
    (installed / "anchor.json").write_bytes(anchor.to_bytes())
    if url is None:
        url = f"sqlite:///{installed / 'publication.db'}"
        upgrade("publication", url)
    template = AnswerTemplate.of(pki.issuing, pki.issue_responder(OCSP_KEY))
    published = Published(installed, port, pki, url, open_publication(url), template)
    publish_ca_certificate(published.database, pki.settings.root.id, pki.root)
    publish_ca_certificate(published.database, pki.settings.issuing.id, pki.issuing)
    published.publish_crl(root=True)
    published.publish_crl()
    return published


def _ssh_key() -> str:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


PROGRAM = (
    "import sys; from pathlib import Path; from sealwright.validation.config import ValidationConfig;"
    "from sealwright.validation.service import run_validation; f, d, p = sys.argv[1:];"
    "run_validation(ValidationConfig(folder=Path(f), publication=d, host='127.0.0.1', port=int(p)))"
)


@contextmanager
def serving(published: Published) -> Iterator[subprocess.Popen[bytes]]:
    """Validation in processes of its own, until the block ends; it must then end by itself and well."""
    command = [sys.executable, "-c", PROGRAM, str(published.folder), published.url, str(published.port)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONWARNINGS": "error"})
    try:
        wait_until(lambda: get(f"{published.base}/healthz").status_code == 200, 60)
        yield process
    finally:
        process.terminate()
        assert process.wait(15) == 0


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=5)


def wait_until(true: object, seconds: float = 60.0) -> None:
    """``true`` is a function; connection errors count as not yet. A busy machine takes 20 s to start a node."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while True:
        try:
            if true():
                return
        except (httpx.HTTPError, OSError):
            pass
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
