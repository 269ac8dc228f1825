"""A whole PKI online, for tests: signer, registry and validation as they run, presign a step at a time.

CA keys are software and the desks are in this process; the registry's HTTP and validation are processes of their own.
The time is the machine's, because other people's verifiers look at it; ``born`` may lie back, so that things expire.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

import published
from office import Office, free_server, open_office
from office import serving as serving_registry
from published import free_port, present, wait_until
from sealwright.channel import SignerChannel
from sealwright.client.monitor.ledger import Books
from sealwright.client.monitor.places import crl_path
from sealwright.errors import StorageError
from sealwright.issuing.recovery import close_open_intents
from sealwright.ledger.entries import IntentEntry, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.crl import draft_crl, lint_crl, sign_crl
from sealwright.pki.keys import PrivateKey
from sealwright.pki.serials import format_serial
from sealwright.pki.signatures import assemble_signed, sign_bytes
from sealwright.publication.presign import Presign
from sealwright.statements.receipts import Receipt
from sealwright.store.migrations import upgrade
from sealwright.store.publication import Publication, open_publication
from softpki import SoftPKI, soft_pki
from world import World, make_world, wire_time


class Time:
    """The machine's, less ``behind``: never back."""

    def __init__(self, behind: timedelta = timedelta(0)) -> None:
        self.behind = behind

    def __call__(self) -> datetime:
        return present() - self.behind

    def steady(self) -> float:
        """The clock that nobody can set agrees: as much time has passed."""
        return self().timestamp()


@dataclass
class Online:
    """``base`` is where verifiers ask, ``registry`` the registry's URL."""

    folder: Path
    pki: SoftPKI
    world: World
    office: Office
    time: Time
    database: Publication
    presign: Presign
    base: str
    roster: int = 0

    @property
    def registry(self) -> str:
        return self.office.config.url

    def call(self, name: str, **arguments: Any) -> Any:
        return SignerChannel(self.office.config.socket).call(name, **arguments)

    def new_roster(self) -> None:
        self.roster += 1
        self.call("publish-roster", roster=self.world.signed(self.world.roster(self.roster), "olga", "omar").to_wire())

    def issue(self, key: PrivateKey | None = None, **changes: Any) -> x509.Certificate:
        """By a request of alice's and an approval of bob's."""
        if key is not None:
            changes["csr"] = published.base64.b64encode(self.world.csr(key=key)).decode()
        receipt = Receipt.parse(self.call("issue", order=self.world.order(**changes))["receipt"])
        return x509.load_der_x509_certificate(receipt.certificate_der)

    def lose(self) -> x509.Certificate:
        """Reserved and signed, and then the signer died: the ledger has its intent, and at the next start revokes it.

        Returns the certificate as whoever watched the token could have it.
        """
        authority = self.world.authority
        assert authority is not None
        with pytest.MonkeyPatch.context() as patched:

            def die(*_: object) -> None:
                raise StorageError("the power is gone")

            patched.setattr("sealwright.issuing.issuance.sign_certificate", die)
            with pytest.raises(StorageError):
                self.issue()
        entries = [parse_entry(data) for data in authority.ledger.iterate(0)]
        intent = [each for each in entries if isinstance(each, IntentEntry)][-1]
        close_open_intents(authority)
        scheme = self.pki.issuing_record.scheme
        signature = sign_bytes(self.pki.issuing_key, scheme, intent.tbs_der)
        return x509.load_der_x509_certificate(assemble_signed(intent.tbs_der, scheme, signature))

    def revoke(
        self, *certificates: x509.Certificate, since: datetime | None = None, reason: str = "superseded"
    ) -> None:
        """From now on, or from ``since`` on, which takes a second person."""
        self._order("revocation", certificates, reason, since)

    def correct(self, certificate: x509.Certificate, since: datetime, reason: str = "keyCompromise") -> None:
        self._order("correction", (certificate,), reason, since)

    def _order(
        self, kind: str, certificates: tuple[x509.Certificate, ...], reason: str, since: datetime | None
    ) -> None:
        world = self.world
        fields = {
            "serials": [format_serial(each.serial_number) for each in certificates],  # type: ignore[arg-type]
            "reason": reason,
            "revocation_date": wire_time(since) if since else None,
            "comment": "",
        }
        signed = world.signed(world.statement(kind, "bob", **fields))
        order = {"revocation": signed.to_wire()}
        if since is not None or len(certificates) > 1:
            order["countersignature"] = world.signed(world.countersignature(signed)).to_wire()
        self.call("revoke", order=order)

    def publish(self) -> None:
        """Presign's work until nothing is left, and validation serves it."""
        wait_until(self._crl_is_written)
        while self.presign.work():
            pass
        assert not self.presign.troubles, self.presign.troubles
        wanted = self.database.state()[1]
        wait_until(lambda: published.get(f"{self.base}/healthz").json().get("change", -1) >= wanted)
        size = self.books().tree.size
        wait_until(lambda: published.get(f"{self.registry}/healthz").json()["ledger_entries"] >= size)

    def _crl_is_written(self) -> bool:
        """The signer makes the list that a certificate names within a second or two; the full one once a day."""
        books = self.books()
        named = {serial: crl_path(each) or "" for serial, each in books.certificates.items()}
        for path in {"/crl/issuing-1.crl", *named.values()}:
            file = self.world.installed.crls / path.rpartition("/")[2]
            if not file.exists():
                return False
            crl = x509.load_der_x509_crl(file.read_bytes())
            listed = {(each.serial_number, each.revocation_date_utc) for each in crl}
            for serial, said in books.revoked.items():
                wanted = named.get(serial, "/crl/issuing-1.crl") or "/crl/issuing-1.crl"
                if path == wanted and (serial, said.entry.revocation_date) not in listed:
                    return False
        return True

    def books(self) -> Books:
        """What the ledger says now."""
        installed = self.world.installed
        books = Books(installed.anchor)
        books.read(LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key).iterate(0))
        return books

    def ask(self, certificate: x509.Certificate) -> ocsp.OCSPResponse:
        request = ocsp.OCSPRequestBuilder().add_certificate(
            certificate, self.pki.issuing, published.SHA256()
        ).build()  # fmt: skip
        body, headers = request.public_bytes(Encoding.DER), {"Content-Type": "application/ocsp-request"}
        reply = httpx.post(f"{self.base}/ocsp", content=body, headers=headers, trust_env=False)
        return ocsp.load_der_ocsp_response(reply.content)


@contextmanager
def online(
    folder: Path,
    *,
    age: timedelta = timedelta(hours=1),
    behind: timedelta = timedelta(0),
    partitions: int = 0,
) -> Iterator[Online]:
    """``age`` of the CAs; ``behind``: where the signer's clock stands at first. A roster is in force.

    ``partitions``: of the everyday profile's CRL.
    """
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    pki = soft_pki(moment=present() - age, base=base)
    world = make_world(folder / "w", pki=pki)
    time = Time(behind)
    world.clock = time  # type: ignore[assignment]  # the machine's
    installed = world.installed
    if partitions:
        profile = installed.folder / "ca/profiles/code-signing.toml"
        text, count = re.subn(r"(?m)^# crl_partitions = \d+ ", f"crl_partitions = {partitions} ", profile.read_text())
        assert count == 1
        profile.write_text(text)
    root_crl(pki, installed.crls / "root-1.crl")
    url = f"sqlite:///{folder / 'publication.db'}"
    upgrade("publication", url)
    database = open_publication(url)
    served = published.Published(installed.folder, port, pki, url, database, None)  # type: ignore[arg-type]
    with ExitStack() as resources:
        resources.callback(database.close)
        office = resources.enter_context(open_office(world, folder, free_server()))
        ledger = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
        channel = SignerChannel(office.config.socket)
        presign = Presign(installed, database, ledger, world.keys["ocsp"], channel, time)
        resources.enter_context(serving_registry(office.config))
        resources.enter_context(published.serving(served))
        made = Online(folder, pki, world, office, time, database, presign, base)
        made.new_roster()
        yield made


def root_crl(pki: SoftPKI, path: Path, *, number: int = 1) -> bytes:
    """The root's, with nothing on it."""
    now = present()
    draft = draft_crl(
        issuer=pki.root_record,
        number=number,
        this_update=now,
        next_update=now + timedelta(days=180),
        entries=(),
        expired_certs_since=None,
    )
    data = sign_crl(lint_crl(draft), pki.root_key).public_bytes(Encoding.DER)
    path.write_bytes(data)
    return data
