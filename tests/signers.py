"""Two machines with one token: real ``sealwrightd`` processes, real SoftHSM, real SSH keys.

``active`` and ``spare`` are folders of one PKI, as two installations from the same ceremonies are; each has a socket
and a ledger of its own. What a test changes of the feed stands between them, in ``Feed``.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.channel import SignerChannel
from sealwright.errors import NotFound, SealwrightError, Unavailable
from sealwright.hsm.epoch import TokenEpoch, read_epoch
from sealwright.hsm.generation import generate_key
from sealwright.hsm.session import Pin, TokenSession
from sealwright.installation.toml import write_toml
from sealwright.installed import Installed, load_installed
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.keys import KeyKind
from softhsm import TokenFactory
from softpki import soft_pki
from world import World, make_world

FREEZE = """
import signal, sys, threading
from sealwright.points import Point, listen
point, sys.argv = Point(sys.argv[1]), sys.argv[1:]
from sealwright.cli.daemon import main
def freeze(reached):
    if reached is point and not frozen:
        frozen.append(reached)
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)  # of this thread, so not a step later
frozen = []
with listen(freeze):
    main()
"""
"""``sealwrightd``, which stops by itself, as by SIGSTOP, when it reaches a point for the first time."""


@dataclass
class Machine:
    folder: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def channel(self) -> SignerChannel:
        return SignerChannel(self.folder / "signer.sock", timeout=40)

    @property
    def installed(self) -> Installed:
        return load_installed(self.folder)

    @property
    def ledger(self) -> LedgerReader:
        return LedgerReader(self.installed.ledger, self.installed.anchor.ledger_origin, self.installed.ledger_key)

    def start(self, *options: str, frozen_at: str = "") -> subprocess.Popen[bytes]:
        """The signer; returns when it answers, or ended."""
        run = ["-c", FREEZE, frozen_at] if frozen_at else ["-m", "sealwright.cli.daemon"]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *run, "signer", *options, "--dir", self.folder],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        self.wait(lambda: process.poll() is not None or self.answers())
        return process

    def run(self, *words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sealwright.cli.daemon", *words, "--dir", self.folder],
            env=self.environment,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )

    def answers(self) -> bool:
        with suppress(SealwrightError):
            self.channel.call("status")
            return True
        return False

    def status(self) -> dict[str, Any]:
        return self.channel.call("status")

    def wait(self, what: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not what():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text()

    def stop(self) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


@dataclass
class Pair:
    world: World
    active: Machine
    spare: Machine
    token: Callable[[], TokenEpoch | None]

    def take_over(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Ask what it would do, then say yes to exactly that."""
        asked = self.spare.run("takeover", *options, answer="no\n")
        found = [line.split("'")[1] for line in asked.stderr.splitlines() if line.startswith("Type '")]
        return self.spare.run("takeover", *options, answer=f"{found[0]}\n") if found else asked


@contextmanager
def two_machines(softhsm: TokenFactory, folder: Path, source: str | None = None) -> Iterator[Pair]:
    """``source``: what the spare one follows; by default the active one's ledger as files."""
    serial, pin = softhsm.new_token("issuing")
    ledger_serial, ledger_pin = softhsm.new_token("ledger")
    with (
        TokenSession.open(softhsm.module, serial, pin) as issuing,
        TokenSession.open(softhsm.module, ledger_serial, ledger_pin) as ledger,
    ):
        issuing_key = generate_key(issuing, KeyKind.P384, key_id=b"issuing", label="issuing")
        ledger_key = generate_key(ledger, KeyKind.ED25519, key_id=b"ledger", label="ledger")
        assert isinstance(ledger_key, Ed25519PrivateKey)
        now = datetime.now(UTC).replace(microsecond=0)
        world = make_world(
            folder / "w",
            ledger_key=ledger_key,
            pki=soft_pki(issuing_key=issuing_key, moment=now - timedelta(hours=1)),
        )
        world.clock.now = now
    places = {
        name: {"token_serial": number, "key_id": name.encode().hex(), "pin_file": str(path)}
        for name, number, path in (
            ("issuing", serial, softhsm.pin_file(folder, pin, "issuing.pin")),
            ("ledger", ledger_serial, softhsm.pin_file(folder, ledger_pin, "ledger.pin")),
        )
    }
    machines = []
    for name in ("active", "spare"):
        shutil.copytree(world.installed.folder, folder / name)
        uid, nowhere = os.getuid(), {"publication": "sqlite:///publication.db"}
        config = {
            "mode": "REHEARSAL",
            "token": {"module": str(softhsm.module_path), "environment": {"SOFTHSM2_CONF": str(softhsm.config)}},
            "signer": {"socket": "signer.sock", "peers": [uid], "presign_peers": [uid], **places},
            "presign": {"ocsp": places["issuing"], **nowhere},
            "registry": {"listen": "127.0.0.1:1", "url": "http://127.0.0.1:1", "database": "sqlite:///registry.db"},
            "validation": {"listen": "127.0.0.1:1", **nowhere},
        }
        if name == "spare":
            where = source or str(folder / "active" / "ledger")
            config["standby"] = {"source": where, "poll_seconds": 0.05, "wait_seconds": 0.2}
        (folder / name / "sealwrightd.toml").write_bytes(write_toml(config))
        machines.append(Machine(folder / name, {**os.environ, "SOFTHSM2_CONF": str(softhsm.config)}))

    def epoch() -> TokenEpoch | None:
        with TokenSession.open(softhsm.module, serial, Pin(pin.reveal().decode())) as session:
            return read_epoch(session)

    try:
        yield Pair(world, *machines, token=epoch)
    finally:
        for machine in machines:
            machine.stop()


class Feed:
    """A registry's tiles, of a ledger's directory; ``change`` may say something else, or raise."""

    def __init__(self) -> None:
        self.reader: LedgerReader | None = None
        self.change: Callable[[str, bytes], bytes] = lambda _, data: data
        feed = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                try:
                    data = feed.get(self.path.removeprefix("/tlog/"))
                except (NotFound, Unavailable) as error:
                    self.send_error(error.http_status)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def get(self, name: str) -> bytes:
        if self.reader is None:
            raise Unavailable("nothing to serve yet")
        if name == "checkpoint":
            self.reader.refresh()
        return self.change(name, self.reader.resource(name))

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
