"""Leaves and CRLs by the keys that ceremonies made, on their tokens: what verifiers are shown of a whole hierarchy."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from sealwright.ceremony.record import CeremonyRecord
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.pki.certificates import IssuerRecord, draft_certificate, lint_draft, sign_certificate
from sealwright.pki.crl import RevocationEntry, draft_crl, lint_crl, sign_crl
from sealwright.pki.keys import PrivateKey, PublicKey, key_identifier
from sealwright.pki.serials import new_serial
from sealwright.pki.settings import PKISettings
from softpki import profiles, software_key


@dataclass(frozen=True)
class IssuingKey:
    """An issuing CA's key while its token is open."""

    settings: PKISettings
    key: PrivateKey

    def issue(self, issuing: x509.Certificate, at: datetime) -> x509.Certificate:
        """A code-signing certificate, under this certificate of the CA."""
        profile = profiles()["code-signing"]
        draft = draft_certificate(
            profile,
            issuer=self._record(issuing),
            subject=profile.subject(self.settings, "web", "shop", rehearsal=True),
            san_uri=profile.san_uri(self.settings, "web", "shop"),
            public_key=software_key().public_key(),
            serial=new_serial(),
            not_before=at,
        )
        return sign_certificate(lint_draft(draft), self.key)

    def crl(self, issuing: x509.Certificate, at: datetime, *entries: RevocationEntry) -> bytes:
        """DER; number 1."""
        draft = draft_crl(
            issuer=self._record(issuing),
            number=1,
            this_update=at,
            next_update=at + timedelta(days=7),
            entries=entries,
            expired_certs_since=issuing.not_valid_before_utc,
        )
        return sign_crl(lint_crl(draft), self.key).public_bytes(Encoding.DER)

    def _record(self, issuing: x509.Certificate) -> IssuerRecord:
        return IssuerRecord.of(issuing, self.settings, self.settings.issuing.id)


@contextmanager
def issuing_key(module: Path, made: CeremonyRecord, pin_file: Path, settings: PKISettings) -> Iterator[IssuingKey]:
    """``made``: the issuing-key record."""
    held = json.loads(made.read("keys.json"))["issuing"]
    with TokenSession.open(load_module(module), held["token_serial"], Pin.from_file(pin_file)) as token:
        key = private_key(token, bytes.fromhex(held["key_id"]))
        public: PublicKey = load_der_public_key(base64.b64decode(held["spki"]))  # type: ignore[assignment]  # of a CA's kinds
        assert key_identifier(key.public_key()) == key_identifier(public)
        yield IssuingKey(settings, key)


def write_files(folder: Path, **files: bytes | x509.Certificate) -> Path:
    """``NAME.pem`` of each certificate; of a CRL ``NAME.crl`` and ``NAME.crl.pem``, and all CRLs as ``crls.pem``."""
    folder.mkdir(parents=True, exist_ok=True)
    crls = []
    for name, value in files.items():
        if isinstance(value, x509.Certificate):
            (folder / f"{name}.pem").write_bytes(value.public_bytes(Encoding.PEM))
            continue
        crls.append(x509.load_der_x509_crl(value).public_bytes(Encoding.PEM))
        (folder / f"{name}.crl").write_bytes(value)
        (folder / f"{name}.crl.pem").write_bytes(crls[-1])
    (folder / "crls.pem").write_bytes(b"".join(crls))
    return folder
