"""The folder of an installed PKI, as every process reads it: the anchor, the CA certificates, the OCSP key, ``ca/``.

``installation`` writes it. The trust in it is read once; the files under ``ca/`` are read whenever they are asked for,
so that an edited profile meets the roster's pins before the next order, not at the next restart.
"""

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.errors import IntegrityError, NotFound, StorageError
from sealwright.pki.certificates import IssuerRecord
from sealwright.pki.keys import PublicKey, key_kind, secret_sha256, spki_der
from sealwright.pki.settings import PKISettings
from sealwright.statements.anchor import Anchor, load_anchor
from sealwright.statements.canonical import parse_json

FILE_LIMIT = 256 * 1024
"""Octets. No file of an installed PKI is longer."""
_HINT = "is this a folder that `sealwrightd install` made?"


@dataclass(frozen=True, slots=True)
class Installed:
    folder: Path
    anchor: Anchor
    root: x509.Certificate
    issuing: x509.Certificate
    ocsp_key: PublicKey

    @property
    def rehearsal(self) -> bool:
        return self.anchor.mode == "REHEARSAL"

    @property
    def issuing_pem(self) -> bytes:
        """``issuing``, and after it the earlier certificates of the same CA, which earlier rosters name."""
        return _read(self.folder / "issuing.pem")

    @property
    def own_secrets(self) -> frozenset[str]:
        """``secret_sha256`` of root, issuing CA and OCSP key: of what nobody else has certified."""
        return _secrets_of(self.root, self.issuing, spki_der(self.ocsp_key))

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def ledger_key(self) -> Ed25519PublicKey:
        """Whose signature is under the ledger's checkpoints."""
        key = _key(self.folder / "keys.json", "ledger")
        if not isinstance(key, Ed25519PublicKey):
            raise IntegrityError("the ledger key in keys.json is not Ed25519", hint="install again from the records")
        return key

    @property
    def crls(self) -> Path:
        """Where the signer puts its CRL, beside the root's."""
        return self.folder / "crl"

    def pinned_files(self) -> Mapping[str, bytes]:
        """The files of ``ca/`` that a roster pins, by their names relative to it."""
        base = f"{self.folder}/ca"
        try:
            names = os.listdir(f"{base}/profiles")  # for every order: no Path of each is made
        except OSError:
            names = []
        profiles = (f"profiles/{name}" for name in names if name.endswith(".toml"))
        return {name: _read(f"{base}/{name}") for name in sorted(["pki.toml", "policy.md", *profiles])}

    def issuer(self, settings: PKISettings) -> IssuerRecord:
        """The issuing CA as an issuer: its certificate, and the URLs of what it issues."""
        return IssuerRecord.of(self.issuing, settings, settings.issuing.id)


def load_installed(folder: Path) -> Installed:
    """Read the trust of an installed PKI. Raises ``IntegrityError`` when its parts do not belong together."""
    anchor = load_anchor(_read(folder / "anchor.json"))
    root = x509.load_pem_x509_certificate(_read(folder / "root.pem"))
    issuing = x509.load_pem_x509_certificate(_read(folder / "issuing.pem"))
    anchor.check_root(root)
    try:
        issuing.verify_directly_issued_by(root)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise IntegrityError(
            f"{folder / 'issuing.pem'} was not issued by {folder / 'root.pem'}",
            hint="install again from the ceremony records; do not edit an installed folder",
        ) from error
    return Installed(folder, anchor, root, issuing, _key(folder / "keys.json", "ocsp"))


@lru_cache(maxsize=4)  # asked twice for every order, of the same installation
def _secrets_of(root: x509.Certificate, issuing: x509.Certificate, ocsp_key: bytes) -> frozenset[str]:
    keys = (root.public_key(), issuing.public_key(), load_der_public_key(ocsp_key))
    return frozenset(map(secret_sha256, keys))  # type: ignore[arg-type]  # of our kinds, or they were not installed


def _key(path: Path, name: str) -> PublicKey:
    """A key that the issuing-key ceremony made. Of OCSP keys it is the only one that the standing order certifies."""
    try:
        key = load_der_public_key(base64.b64decode(parse_json(_read(path))[name]["spki"], validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"{path} does not hold the {name} key", hint="install again from the records") from error
    key_kind(key)  # refuses what is none of our kinds
    return key  # type: ignore[return-value]  # one of our kinds, as just checked


def _read(path: Path | str) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(descriptor, FILE_LIMIT + 1)
            while len(data) <= FILE_LIMIT and (more := os.read(descriptor, FILE_LIMIT + 1)):
                data += more
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there", hint=_HINT) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint=_HINT) from error
    if len(data) > FILE_LIMIT:
        raise StorageError(f"{path} is over {FILE_LIMIT} octets; no file of an installed PKI is that long")
    return data
