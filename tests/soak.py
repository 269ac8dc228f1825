"""The signer, killed again and again under concurrent load; then its ledger is held against what clients were given.

It works on a folder that ``scripts/quickstart`` made: the real ``sealwrightd signer``, real tokens, real SSH keys. Its
ledger is a copy, so the folder stays as it was. Run it for as long as you like with ``scripts/soak``.
"""

import base64
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from cast import SSHKey
from sealwright.channel import SignerChannel
from sealwright.errors import InputError, PolicyViolation, SealwrightError
from sealwright.installed import load_installed
from sealwright.ledger.entries import (
    CertificateEntry,
    CRLIntentEntry,
    IntentEntry,
    RevocationRecord,
    parse_entry,
)
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.profiles import CertificateProfile, load_profile
from sealwright.pki.requests import build_csr
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.pki.signatures import SignatureScheme
from sealwright.statements.kinds import new_statement_id
from sealwright.statements.receipts import Receipt
from sealwright.statements.signed import SignedStatement

TEAM, PROJECT = "payments", "terminal"


@dataclass
class Given:
    """What clients were told. Whatever it is, the ledger has to say the same afterwards."""

    receipts: list[Receipt] = field(default_factory=list)
    revoked: set[str] = field(default_factory=set)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the request's SHA-256."""
    kills: int = 0
    refused: int = 0
    full: threading.Event = field(default_factory=threading.Event)
    surprises: list[str] = field(default_factory=list)
    """What no client should ever be answered."""


class Soak:
    def __init__(self, rehearsal: Path, folder: Path, *, seed: int = 0) -> None:
        self.pki = folder / "pki"
        shutil.copytree(rehearsal / "pki", self.pki, ignore=shutil.ignore_patterns("signer.sock", "log", "snapshot"))
        self.installed = load_installed(self.pki)
        self.environment = {
            **os.environ,
            **tomllib.loads((self.pki / "sealwrightd.toml").read_text())["token"]["environment"],
        }
        self.keys = {name: _key(rehearsal / "people" / name) for name in ("alice", "bob")}
        self.channel = SignerChannel(self.pki / "signer.sock", timeout=20)
        self.log = folder / "signer.log"
        self.random = random.Random(seed)
        self.given = Given()
        self._lock = threading.Lock()
        ca = self.pki / "ca"
        self.settings: PKISettings = load_settings((ca / "pki.toml").read_bytes(), source="pki.toml")
        path = ca / "profiles/code-signing.toml"
        self.profile: CertificateProfile = load_profile(path.read_bytes(), source=path.name)

    # what people sign

    def _signed(self, person: str, kind: str, **fields: Any) -> SignedStatement:
        now = datetime.now(UTC)
        statement = {
            "kind": kind,
            "pki": self.installed.anchor.pki_id,
            "id": new_statement_id(),
            "person": person,
            "issued_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "expires_at": f"{now + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
            **fields,
        }
        draft = SignedStatement(statement=statement, signatures=("x",))
        signature = self.keys[person].sign(draft.statement_bytes, f"{kind}@sealwright.v1")
        return SignedStatement(statement=statement, signatures=(signature,))

    def order(self) -> tuple[str, dict[str, Any]]:
        """A new order that the signer has to answer, by its request's SHA-256."""
        csr = build_csr(
            ec.generate_private_key(ec.SECP256R1()),
            self.profile.subject(self.settings, TEAM, PROJECT, rehearsal=True),
            self.profile.san_uri(self.settings, TEAM, PROJECT),
            SignatureScheme.ECDSA_SHA256,
        )
        request = self._signed(
            "alice",
            "request",
            profile=self.profile.name,
            profile_sha256=self.profile.sha256,
            team=TEAM,
            project=PROJECT,
            csr=base64.b64encode(csr).decode(),
            key_location="token",
            renews=None,
            attestation=[],
            exception=None,
            emergency=False,
            comment="soak",
        )
        decision = self._signed("bob", "decision", request_sha256=request.sha256, verdict="approve", comment="")
        return request.sha256, {"request": request.to_wire(), "decisions": [decision.to_wire()]}

    # the signer, and those who ask it

    @contextmanager
    def signer(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "sealwright.cli.daemon", "signer", "--dir", str(self.pki)],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + 30
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"the signer did not come back: {self.log.read_text()[-2000:]}")
                with suppress(SealwrightError):
                    self.channel.call("status")
                    break
                time.sleep(0.02)
            yield process
        finally:
            process.kill()
            process.wait()

    def client(self, stop: threading.Event) -> None:
        """New orders, old ones again, revocations of what was given: until ``stop``. A dead signer is asked later."""
        chance = random.Random(self.random.random())
        while not stop.is_set():
            with self._lock:
                known = list(self.given.orders.items())
            if known and chance.random() < 0.3:
                digest, order = chance.choice(known)
            else:
                digest, order = self.order()
            self._issue(digest, order)
            if chance.random() < 0.3 or self.given.full.is_set():  # a team holds so many at once, and no more
                self._revoke(chance)
                self.given.full.clear()

    def _issue(self, digest: str, order: dict[str, Any]) -> None:
        with self._lock:
            self.given.orders[digest] = order
        try:
            receipt = Receipt.parse(self.channel.call("issue", order=order)["receipt"])
        except PolicyViolation as error:
            self._note(error, "ORDER-USED")
        except InputError as error:
            self.given.surprises.append(str(error))
        except SealwrightError:
            time.sleep(0.02)
        else:
            with self._lock:
                self.given.receipts.append(receipt)

    def _revoke(self, chance: random.Random) -> None:
        with self._lock:
            serials = [f"{each.load_certificate().serial_number:x}" for each in self.given.receipts]
        if not serials:
            return
        serial = chance.choice(serials)
        statement = self._signed(
            "alice", "revocation", serials=[serial], reason="superseded", revocation_date=None, comment="soak"
        )
        try:
            self.channel.call("revoke", order={"revocation": statement.to_wire()})
        except PolicyViolation as error:
            self._note(error, "REV-ALREADY")
        except SealwrightError:
            time.sleep(0.02)
        else:
            with self._lock:
                self.given.revoked.add(serial)

    def _note(self, error: PolicyViolation, wanted: str) -> None:
        with self._lock:
            if error.rule in (wanted, "ORDER-LIVE"):
                self.given.refused += 1
                if error.rule == "ORDER-LIVE":
                    self.given.full.set()
            else:
                self.given.surprises.append(str(error))

    def run(
        self,
        *,
        kills: int | None = None,
        seconds: float | None = None,
        clients: int = 4,
        tell: Callable[[str], None] = print,
    ) -> Given:
        """Kill and restart until ``kills`` or ``seconds`` are reached, under the load of ``clients`` threads."""
        stop, start = threading.Event(), time.monotonic()
        threads = [threading.Thread(target=self.client, args=(stop,), name=f"client {n}") for n in range(clients)]
        for thread in threads:
            thread.start()
        try:
            while not self._enough(kills, seconds, start):
                with self.signer() as process:
                    self._wait_for_work()
                    time.sleep(self.random.uniform(0.0, 0.4))
                    process.kill()
                self.given.kills += 1
                if self.given.kills % 25 == 0:
                    tell(f"{self.given.kills} kills, {len(self.given.receipts)} certificates were given")
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        with self.signer():  # the last start closes what the last kill left
            pass
        return self.given

    def _wait_for_work(self) -> None:
        """Until the new process has answered an order: a signer that has only just started has nothing to lose."""
        before, deadline = len(self.given.receipts) + self.given.refused, time.monotonic() + 10
        while len(self.given.receipts) + self.given.refused == before and time.monotonic() < deadline:
            time.sleep(0.01)

    def _enough(self, kills: int | None, seconds: float | None, start: float) -> bool:
        return (kills is not None and self.given.kills >= kills) or (
            seconds is not None and time.monotonic() - start >= seconds
        )

    def judge(self) -> dict[str, int]:
        """Raises ``AssertionError`` naming the first thing that was lost, given twice or taken back."""
        assert not self.given.surprises, self.given.surprises[:3]
        public = self.installed.ledger_key
        reader = LedgerReader(self.installed.ledger, self.installed.anchor.ledger_origin, public)
        entries = [parse_entry(data) for data in reader.iterate()]
        certificates = {each.serial: each for each in entries if isinstance(each, CertificateEntry)}
        intents = [each for each in entries if isinstance(each, IntentEntry)]
        revoked = [serial for each in entries if isinstance(each, RevocationRecord) for serial in each.serials]
        reserved = [each.serial for each in intents]
        assert len(reserved) == len(set(reserved)), "a serial was reserved twice"
        assert len(revoked) == len(set(revoked)), "a serial was revoked twice"
        for receipt in self.given.receipts:
            serial = f"{receipt.load_certificate().serial_number:x}"
            assert serial in certificates, f"certificate {serial} was given and is not in the ledger"
            assert certificates[serial].certificate_der == receipt.certificate_der
        for serial in self.given.revoked:
            assert serial in revoked, f"the revocation of {serial} was acknowledged and is not in the ledger"
        lost = set(reserved) - certificates.keys()
        assert lost <= set(revoked), f"open intents were not revoked: {sorted(lost - set(revoked))}"
        live: dict[str, int] = {}
        for intent in intents:
            if intent.order is not None and intent.serial in certificates:
                live[intent.order.request.sha256] = live.get(intent.order.request.sha256, 0) + 1
        assert all(count == 1 for count in live.values()), "an order has two certificates"
        numbers = [each.number for each in entries if isinstance(each, CRLIntentEntry)]
        assert numbers == sorted(set(numbers)), "a CRL number was used twice"
        crl = x509.load_der_x509_crl((self.installed.crls / f"{self.settings.issuing.id}.crl").read_bytes())
        listed = {f"{entry.serial_number:x}" for entry in crl}
        assert listed <= set(revoked), "the CRL lists what was never revoked"
        return {
            "kills": self.given.kills,
            "certificates": len(certificates),
            "given": len(self.given.receipts),
            "lost_in_crashes_and_revoked": len(lost),
            "revoked": len(revoked),
            "refused_replays": self.given.refused,
            "ledger_entries": len(entries),
        }


def _key(path: Path) -> SSHKey:
    return SSHKey(load_ssh_private_key(path.read_bytes(), password=None))


def main() -> None:
    """``scripts/soak FOLDER SECONDS``."""
    usage = "usage: scripts/soak FOLDER SECONDS   (FOLDER: what `scripts/quickstart --dir FOLDER --once` made)"
    if set(sys.argv[1:]) & {"--help", "-h"}:
        print(f"{usage}\n\n  scripts/soak var 3600        an hour; FOLDER is left as it was")
        return
    if len(sys.argv) != 3:
        sys.exit(usage)
    try:
        seconds = float(sys.argv[2])
    except ValueError:
        sys.exit(f"error: SECONDS is {sys.argv[2]!r}; wanted a number\n{usage}")
    if not (Path(sys.argv[1]) / "pki").is_dir():
        sys.exit(f"error: there is no rehearsal PKI in {sys.argv[1]!r}\n{usage}")
    with tempfile.TemporaryDirectory(prefix="sealwright-soak-") as folder:
        soak = Soak(Path(sys.argv[1]), Path(folder), seed=int(time.time()))
        soak.run(seconds=seconds)
        for what, count in soak.judge().items():
            print(f"{count:8} {what.replace('_', ' ')}")
    print("nothing was lost, nothing was given twice, nothing that was revoked came back")


if __name__ == "__main__":
    main()
