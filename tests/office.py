"""A registry at work, for tests: the world's real signer behind its real socket, and a migrated database.

The CA keys are software (``world``); everything between a person's SSH key and the ledger is the real part.
"""

import os
import socket as socket_module
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from cryptography.x509 import ocsp

from published import wait_until
from sealwright.channel import SignerChannel
from sealwright.errors import SealwrightError
from sealwright.issuing.crl import crl_due, crl_scopes
from sealwright.issuing.responder import responder_certificate
from sealwright.issuing.service import SignerConfig, TokenKey, serve
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    draft_ocsp_answer,
    lint_ocsp_answer,
    sign_ocsp_answer,
)
from sealwright.pki.revocation import RevocationEntry
from sealwright.pki.serials import SerialNumber
from sealwright.registration.config import RegistryConfig
from sealwright.registration.registry import Registry
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement
from sealwright.store.migrations import upgrade
from world import World

SERVER = "http://127.0.0.1:8790"


@dataclass
class Office:
    world: World
    config: RegistryConfig
    registry: Registry

    def sign(self, statement: dict[str, Any], *people: str, namespace: str | None = None) -> SignedStatement:
        return self.world.signed(statement, *people, namespace=namespace)

    def request(self, person: str = "alice", **changes: Any) -> SignedStatement:
        return self.sign(self.world.request(person, **changes))

    def decision(self, request: SignedStatement, person: str = "bob", **changes: Any) -> SignedStatement:
        return self.sign(self.world.decision(request, person, **changes))

    def revocation(self, serial: str, person: str = "alice", **changes: Any) -> RevocationOrder:
        return RevocationOrder(revocation=self.sign(self.world.revocation(serial, person, **changes)))

    def settle(self) -> None:
        """Until no CRL is due: the signer makes them beside what it is asked, and the ledger grows by them."""
        authority = self.world.authority
        assert authority is not None

        def is_settled() -> bool:
            with authority.lock:
                now = authority.time_for_revocation()
                return not any(crl_due(authority, now, scope) for scope in crl_scopes(authority))

        wait_until(is_settled)


@contextmanager
def running_signer(world: World, socket: Path) -> Iterator[None]:
    """The world's signer on ``socket`` until the block ends."""
    nowhere = TokenKey("", b"", Path("nowhere"))
    config = SignerConfig(
        folder=world.installed.folder,
        socket=socket,
        module=Path("nowhere"),
        issuing=nowhere,
        ledger=nowhere,
        peers=frozenset({0, os.getuid()}),
        presign_peers=frozenset({0, os.getuid()}),
    )
    stop = threading.Event()
    authority = world.start()
    thread = threading.Thread(target=serve, args=(authority, config, stop))
    thread.start()
    try:
        _wait(socket)
        yield
    finally:
        stop.set()
        with suppress(SealwrightError):
            SignerChannel(socket).call("status")  # it need not wait for its next look at ``stop``
        thread.join(30)
        world.stop()


def _wait(socket: Path) -> None:
    for _ in range(500):
        try:
            SignerChannel(socket).call("status")
        except SealwrightError:
            threading.Event().wait(0.01)
        else:
            return
    raise AssertionError("the signer did not start")


def registry_config(world: World, folder: Path, server: str = SERVER, *, database: str | None = None) -> RegistryConfig:
    """``database``: the URL of one that is migrated; by default a new SQLite file."""
    if database is None:
        database = f"sqlite:///{folder}/registry.db"
        upgrade("registry", database)
    return RegistryConfig(folder=world.installed.folder, socket=folder / "signer.sock", database=database, url=server)


@contextmanager
def open_office(world: World, folder: Path, server: str = SERVER, *, database: str | None = None) -> Iterator[Office]:
    """Signer and registry, and no roster yet."""
    config = registry_config(world, folder, server, database=database)
    with running_signer(world, config.socket):
        registry = Registry.open(config, clock=world.clock)
        try:
            yield Office(world, config, registry)
        finally:
            registry.database.close()


@contextmanager
def serving(config: RegistryConfig, tls: tuple[Path, Path] | None = None) -> Iterator[str]:
    """The registry under granian, in a process of its own. Its URL. ``tls``: a self-signed certificate, and its key."""
    listen = config.url.partition("://")[2]
    program = (
        "import sys; from pathlib import Path; from sealwright.api.serve import serve_registry;"
        "from sealwright.registration.config import RegistryConfig; f, s, d, u, l, *t = sys.argv[1:];"
        "c = RegistryConfig(folder=Path(f), socket=Path(s), database=d, url=u);"
        "serve_registry(c, listen=l, **({'tls': tuple(map(Path, t))} if t else {}))"
    )
    arguments = (str(config.folder), str(config.socket), config.database, config.url, listen, *map(str, tls or ()))
    child = subprocess.Popen([sys.executable, "-c", program, *arguments])
    trusted = ssl.create_default_context(cafile=str(tls[0])) if tls else True
    try:
        for _ in range(1000):
            assert child.poll() is None, "the registry ended by itself"
            try:
                httpx.get(f"{config.url}/healthz", timeout=2, trust_env=False, verify=trusted).raise_for_status()
                break
            except httpx.HTTPError:
                threading.Event().wait(0.02)
        yield config.url
    finally:
        child.terminate()
        child.wait(30)


def free_server() -> str:
    with socket_module.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@contextmanager
def ocsp_desk(world: World, port: int) -> Iterator[str]:
    """OCSP over HTTP for what the world's signer issued: real answers, without presign, database and snapshot."""
    installed, key = world.installed, world.keys["ocsp"]
    responders: list[AnswerTemplate] = []

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            authority = world.authority
            assert authority is not None
            if not responders:
                responders.append(AnswerTemplate.of(installed.issuing, responder_certificate(authority)))
            query = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["content-length"])))
            serial = SerialNumber(query.serial_number)
            gone, now = authority.index.revoked.get(serial), world.clock()
            entry = RevocationEntry(serial, gone.at, gone.reason) if gone else None
            draft = draft_ocsp_answer(
                responders[0],
                CertIDForm(query.hash_algorithm.name),
                CertificateStatus(serial, entry),
                this_update=now,
                next_update=now + timedelta(hours=48),
                archive_cutoff=now - timedelta(days=3650),
            )
            body = sign_ocsp_answer(lint_ocsp_answer(draft), key)
            self.send_response(200)
            self.send_header("Content-Type", "application/ocsp-response")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Desk) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.shutdown()
            thread.join()
