"""Receipts: a certificate is in the ledger, shown to who has the ledger's public key and nothing else."""

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

import softpki
from sealwright.errors import InputError, IntegrityError
from sealwright.ledger.entries import CertificateEntry, StartEntry
from sealwright.ledger.log import Ledger
from sealwright.ledger.receipt import check_receipt, make_receipt
from sealwright.pki.serials import format_serial
from sealwright.statements.receipts import Receipt

PKI = softpki.soft_pki()
KEY = Ed25519PrivateKey.generate()
ORIGIN = "sealwright/" + "ab" * 32


@pytest.fixture(scope="module")
def receipts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Receipt]:
    folder: Path = tmp_path_factory.mktemp("receipts") / "ledger"
    made = {}
    with Ledger.create(folder, ORIGIN, KEY) as ledger:
        start = StartEntry(at=softpki.NOW, pki="a" * 64, mode="REHEARSAL", version="1").to_bytes()
        ledger.append(start)
        for name in ("one", "two"):
            certificate = PKI.issue(softpki.software_key(label=name))
            serial = format_serial(certificate.serial_number)
            der = certificate.public_bytes(Encoding.DER)
            entry = CertificateEntry.for_der(at=softpki.NOW, serial=serial, intent=0, der=der)
            other = CertificateEntry.for_der(at=softpki.NOW, serial="77", intent=0, der=der)
            (place, wrong) = ledger.append(entry.to_bytes(), other.to_bytes())
            made[name] = make_receipt(ledger, place, certificate, PKI.issuing)
            made[f"{name} with another serial"] = make_receipt(ledger, wrong, certificate, PKI.issuing)
            made[f"{name} at the start"] = make_receipt(ledger, 0, certificate, PKI.issuing)
    return made


def check(receipt: Receipt) -> None:
    check_receipt(receipt, origin=ORIGIN, ledger_key=KEY.public_key())


def test_a_receipt_is_checked_offline(receipts: dict[str, Receipt]) -> None:
    for name in ("one", "two"):
        check(receipts[name])
        check(Receipt.parse(receipts[name].to_wire()))
    assert receipts["one"].load_certificate() != receipts["two"].load_certificate()
    assert receipts["one"].issuer_der == PKI.issuing.public_bytes(Encoding.DER)


def test_refuses_a_receipt_with_any_field_of_another(receipts: dict[str, Receipt]) -> None:
    one, two = receipts["one"], receipts["two"]
    changes: dict[str, Any] = {
        "certificate": two.certificate,
        "issuer": base64.b64encode(PKI.root.public_bytes(Encoding.DER)).decode(),
        "entry_index": two.entry_index,
        "entry": two.entry,
        "proof": two.proof,
        "checkpoint": two.checkpoint,
    }
    assert changes.keys() == Receipt.model_fields.keys()
    for name, value in changes.items():
        assert getattr(one, name) != value
        with pytest.raises(IntegrityError):
            check(one.model_copy(update={name: value}))


def test_refuses_a_receipt_over_another_entry(receipts: dict[str, Receipt]) -> None:
    with pytest.raises(IntegrityError, match="another serial"):
        check(receipts["one with another serial"])
    with pytest.raises(IntegrityError, match="another ledger entry"):
        check(receipts["one at the start"])


def test_refuses_a_receipt_of_another_ledger(receipts: dict[str, Receipt]) -> None:
    with pytest.raises(IntegrityError, match="not signed by the ledger key"):
        check_receipt(receipts["one"], origin=ORIGIN, ledger_key=Ed25519PrivateKey.generate().public_key())
    with pytest.raises(IntegrityError, match="wanted"):
        check_receipt(receipts["one"], origin="sealwright/cd", ledger_key=KEY.public_key())


def test_a_receipt_is_read_strictly(receipts: dict[str, Receipt]) -> None:
    good = receipts["one"].to_wire()
    for change in ({"extra": 1}, {"entry_index": -1}, {"proof": ["?"]}, {"entry": 1}, {"checkpoint": None}):
        with pytest.raises(InputError):
            Receipt.parse({**good, **change})
    with pytest.raises(IntegrityError, match="cannot be read"):
        check(receipts["one"].model_copy(update={"certificate": "AAAA"}))
