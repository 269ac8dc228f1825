"""A time-stamping authority for tests: OpenSSL's, behind HTTP, under a root of its own (RFC 3161)."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealwright.pki.keys import KeyKind
from softpki import software_key

_CONFIG = """[tsa]
default_tsa = tsa_config
[tsa_config]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
certs = tsa-root.pem
signer_digest = sha256
default_policy = 1.3.6.1.4.1.32473.1.9
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


def _certificate(name: str, issuer: str, key: Any, issuer_key: Any, *extensions: tuple[Any, bool]) -> x509.Certificate:
    now = datetime.now(UTC)
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)]
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    for value, critical in extensions:
        builder = builder.add_extension(value, critical)
    return builder.sign(issuer_key, SHA256())


@contextmanager
def time_stamping(folder: Path, *, self_signed: bool = False) -> Iterator[str]:
    """Its URL; ``folder`` gets ``tsa-root.pem``, to be trusted. ``self_signed``: it has no status to ask for."""
    root_key, key = software_key(KeyKind.RSA_3072, "tsa-root"), software_key(KeyKind.RSA_3072, "tsa")
    root = _certificate("TSA root", "TSA root", root_key, root_key, (x509.BasicConstraints(True, 0), True))
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    if self_signed:
        signer = root = _certificate("TSA", "TSA", key, key, (purpose, True))
    else:
        signer = _certificate("TSA", "TSA root", key, root_key, (purpose, True))
    (folder / "tsa-root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "tsa.pem").write_bytes(signer.public_bytes(Encoding.PEM))
    (folder / "tsa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "tsa.cnf").write_text(_CONFIG)
    (folder / "serial").write_text("01\n")

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (folder / "query.tsq").write_bytes(self.rfile.read(int(self.headers["content-length"])))
            command = (
                "openssl",
                "ts",
                "-reply",
                "-config",
                "tsa.cnf",
                "-section",
                "tsa_config",
                "-queryfile",
                "query.tsq",
            )
            body = subprocess.run(command, cwd=folder, capture_output=True, check=True).stdout
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Desk) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
