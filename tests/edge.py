"""An answering process of its own, on a snapshot with something of everything: what tests of the HTTP edge talk to."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from published import wait_until
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.validation.config import WorkerConfig
from sealwright.validation.snapshot import Progress, SnapshotWriter, make_record

HASHES = (bytes(range(20)), bytes(range(20, 40)))
NOW = datetime.now(UTC).replace(microsecond=0)
BODY = b"answer" * 100
MALFORMED, UNAUTHORIZED, TRY_LATER = b"\x30\x03\x0a\x01\x01", b"\x30\x03\x0a\x01\x06", b"\x30\x03\x0a\x01\x03"
LONG_CRL = b"\x30" * 3_000_000


def query(serial: int) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*HASHES, serial, hashes.SHA1())  # noqa: S303  # a CertID's
    return builder.build().public_bytes(Encoding.DER)


def fill(folder: Path) -> SnapshotWriter:
    writer = SnapshotWriter(folder)
    day = timedelta(days=1)
    with writer.write() as transaction:
        for serial, begun in ((1, NOW), (2, NOW - 3 * day)):
            record = make_record(
                content_type="application/ocsp-response",
                body=BODY,
                this_update=begun,
                next_update=begun + 2 * day,
                fresh_until=begun + day / 2,
            )
            transaction.put_answer(CertIDForm.SHA1, HASHES, serial, record)
        certificate = make_record(content_type="application/pkix-cert", body=b"certificate")
        transaction.put_object("/ca/issuing-1.cer", certificate)
        crl = make_record(
            content_type="application/pkix-crl",
            body=LONG_CRL,
            this_update=NOW - 8 * day,
            next_update=NOW - day,
            fresh_until=NOW - 7 * day,
        )
        transaction.put_object("/crl/issuing-1.crl", crl)
        transaction.put_progress(Progress("identity", 7, int(NOW.timestamp())))
    return writer


@dataclass
class Edge:
    port: int
    process: subprocess.Popen[bytes]

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    @property
    def resident(self) -> int:
        """Octets of memory that the process has."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    @property
    def busy(self) -> float:
        """Seconds of a processor that the process has had."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def say(self, data: bytes) -> bytes:
        """Everything that comes back until the server closes."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def get(self, target: str, *headers: str, method: str = "GET") -> tuple[str, dict[str, str], bytes]:
        lines = [f"{method} {target} HTTP/1.1", "Host: pki", "Connection: close", *headers, "", ""]
        return parse(self.say("\r\n".join(lines).encode()))

    def post(self, body: bytes, target: str = "/ocsp") -> tuple[str, dict[str, str], bytes]:
        head = f"POST {target} HTTP/1.1\r\nHost: pki\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        return parse(self.say(head.encode() + body))


def read_all(connection: socket.socket) -> bytes:
    received = b""
    while data := connection.recv(1 << 20):
        received += data
    return received


def parse(reply: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.decode("ascii").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name.lower() not in headers
        headers[name.lower()] = value
    return status.removeprefix("HTTP/1.1 "), headers, body


@contextmanager
def running_worker(
    folder: Path, *, header_seconds: float = 1.0, idle_seconds: float = 2.0, files: int | None = None
) -> Iterator[Edge]:
    """On the snapshot in ``folder``. At the end it must end by itself, and have complained of nothing.

    ``files``: that the system lets it have.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number = listener.fileno()
        config = WorkerConfig(
            snapshot=str(folder), listeners=(number,), header_seconds=header_seconds, idle_seconds=idle_seconds
        )
        process = subprocess.Popen(
            [
                *([] if files is None else ["prlimit", f"--nofile={files}:{files}"]),
                *(sys.executable, "-W", "error", "-m", "sealwright.validation.worker"),
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(number,),
        )
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(config.to_json())
        process.stdin.flush()
        edge = Edge(listener.getsockname()[1], process)
        try:
            wait_until(lambda: edge.get("/healthz")[0] == "200 OK")
            yield edge
        finally:
            process.stdin.close()
            code, said = process.wait(10), process.stderr.read()
            process.stderr.close()
        assert (code, said) == (0, b"")  # whatever came, nothing was an error of ours
