"""A world with a running signer, and presign beside it, which works when a test says so."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.x509 import ocsp

from office import running_signer
from sealwright.channel import SignerChannel
from sealwright.ledger.reader import LedgerReader
from sealwright.publication.presign import Presign
from sealwright.statements.receipts import Receipt
from sealwright.store.publication import Publication
from world import World


@dataclass
class Desk:
    """A world with a running signer, and presign beside it, which works when a test says so."""

    world: World
    socket: Path
    url: str
    database: Publication
    resources: ExitStack

    def channel(self) -> SignerChannel:
        return SignerChannel(self.socket)

    def presign(self, state: Path | None = None, database: Publication | None = None) -> Presign:
        installed = self.world.installed
        ledger = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
        key, clock = self.world.keys["ocsp"], self.world.clock
        return Presign(installed, database or self.database, ledger, key, self.channel(), clock, state)

    def issue(self, **changes: object) -> x509.Certificate:
        receipt = Receipt.parse(self.channel().call("issue", order=self.world.order(**changes))["receipt"])
        return x509.load_der_x509_certificate(receipt.certificate_der)

    def revoke(self, certificate: x509.Certificate, **changes: object) -> None:
        signed = self.world.signed(self.world.revocation(f"{certificate.serial_number:x}", **changes))
        self.channel().call("revoke", order={"revocation": signed.to_wire()})

    def answers(self) -> dict[tuple[str, str], ocsp.OCSPResponse]:
        rows = self.database.answers_since(0, 1000)
        return {(row.serial, row.form): ocsp.load_der_ocsp_response(row.der) for row in rows}

    def says(self, certificate: x509.Certificate) -> set[str]:
        serial = f"{certificate.serial_number:x}"
        return {state.status for state in self.database.answer_states("issuing-1") if state.serial == serial}

    def stop_signer(self) -> None:
        self.resources.close()

    def start_signer(self) -> None:
        self.resources.enter_context(running_signer(self.world, self.socket))
