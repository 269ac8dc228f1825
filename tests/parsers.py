"""Every parser of foreign bytes in the online half, and the readers of ceremony records: fed with bytes, one by one.

``PARSERS`` are those that ``tests/fuzz`` feeds with noise and with damaged ``seeds``; ``ELSEWHERE`` says where the
others have their fuzz test, or why they need none.
"""

import base64
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from sealwright.audit.export import ZipExport, read_entries
from sealwright.ceremony.answers import compose_answers, parse_answers
from sealwright.ceremony.transcript import parse_transcript, parse_written
from sealwright.channel import SignerCall, read_call
from sealwright.client.drafts import load_roster_file
from sealwright.client.monitor.seen import load_seen
from sealwright.client.revocations import load_certificate, load_order
from sealwright.client.status import check_answer
from sealwright.client.trust import Identity, Trust
from sealwright.ledger.bundles import encode_entry, split_bundle
from sealwright.ledger.checkpoint import sign_checkpoint, verify_checkpoint
from sealwright.ledger.entries import StartEntry, parse_entry
from sealwright.ledger.tiles import parse_tile
from sealwright.pki.attestation import check_attestation
from sealwright.pki.crl import draft_crl, lint_crl, read_crl, sign_crl
from sealwright.pki.keys import KeyKind
from sealwright.pki.ocsp_query import parse_ocsp_query
from sealwright.pki.requests import parse_csr
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import new_serial
from sealwright.pki.verdicts import Verdict, parse_verdict
from sealwright.publication.root_answers import read_root_answer
from sealwright.statements.anchor import load_anchor
from sealwright.statements.canonical import parse_canonical, parse_json
from sealwright.statements.checks import parse_armored
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.receipts import Receipt
from sealwright.statements.revocations import RevocationOrder, parse_order
from sealwright.statements.signed import parse_signed
from sealwright.statements.ssh_keys import parse_key_blob, parse_public_key
from sealwright.statements.ssh_sign import public_half, sign_with_key
from softpki import NOW, soft_pki, software_key
from world import World

Read = Callable[[bytes], object]


@dataclass(frozen=True, repr=False)
class Parser:
    """``reads``: the functions of ours that it feeds, as the table of tests names them."""

    reads: tuple[str, ...]
    read: Read
    seeds: tuple[bytes, ...]


def ocsp_requests() -> list[bytes]:
    """As pyca asks."""
    found = []
    for algorithm, size in ((hashes.SHA1(), 20), (hashes.SHA256(), 32)):  # noqa: S303  # a CertID's
        plain = ocsp.OCSPRequestBuilder().add_certificate_by_hash(bytes(size), bytes(size), 0x1234, algorithm)
        for builder in (plain, plain.add_extension(x509.OCSPNonce(bytes(32)), critical=False)):
            found.append(builder.build().public_bytes(Encoding.DER))
    return found


def text(read: Callable[[str], object]) -> Read:
    return lambda data: read(data.decode("utf-8", "replace"))


def file(folder: Path, read: Callable[[Path], object], name: str = "file") -> Read:
    def written(data: bytes) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return written


def call_the_signer(data: bytes) -> None:
    """Through a real socket pair; an answer has to come, and to be JSON."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(data or b" ")

        def handle(call: SignerCall) -> dict[str, object]:
            return {"call": call.name}

        call = read_call(theirs, frozenset({os.getuid()}))
        if call is not None:
            call.answer(handle)
        answer = json.loads(ours.recv(1 << 20))
        assert set(answer) == {"call"} or "error" in answer


def make_parsers(world: World, folder: Path) -> dict[str, Parser]:
    pki, key = soft_pki(), software_key(KeyKind.P256, "leaf")
    origin, ledger_key = world.installed.anchor.ledger_origin, world.ledger_key
    request = world.signed(world.request())
    order = world.order()
    revocation = world.signed(world.revocation("4f2a"))
    revoking = RevocationOrder(revocation=revocation, countersignature=world.signed(world.countersignature(revocation)))
    roster = world.signed(world.roster(), "olga", "omar")
    certificate = pki.issue(key)
    crl = sign_crl(
        lint_crl(
            draft_crl(
                issuer=pki.issuing_record,
                number=7,
                this_update=NOW,
                next_update=NOW.replace(day=28),
                entries=[RevocationEntry(new_serial(), NOW, RevocationReason.KEY_COMPROMISE)],
                expired_certs_since=NOW,
            )
        ),
        pki.issuing_key,
    ).public_bytes(Encoding.DER)
    note = sign_checkpoint(origin, 3, bytes(32), ledger_key)
    entry = StartEntry(at=NOW, pki=world.pki, mode="REHEARSAL", version="1").to_bytes()
    receipt = Receipt(
        certificate=base64.b64encode(certificate.public_bytes(Encoding.DER)).decode(),
        issuer=base64.b64encode(pki.issuing.public_bytes(Encoding.DER)).decode(),
        entry=base64.b64encode(entry).decode(),
        entry_index=1,
        proof=(base64.b64encode(bytes(32)).decode(),),
        checkpoint=note,
    )
    line = json.dumps({"n": 0, "previous": "0" * 64, "at": "2026-11-23T12:00:00Z", "kind": "x"}).encode() + b"\n"
    asked = ocsp.OCSPRequestBuilder().add_certificate(certificate, pki.issuing, hashes.SHA256()).build()
    trust = Trust(Identity(world.installed.anchor, pki.root, pki.issuing), _verified(world))
    pub, namespace = public_half(key), "request@sealwright.v1"

    def receipts(data: bytes) -> object:
        return Receipt.parse(parse_json(data))

    def orders(data: bytes) -> object:
        return IssuanceOrder.parse(parse_json(data))

    return {
        "OCSP request": Parser(("parse_ocsp_query",), parse_ocsp_query, tuple(ocsp_requests())),
        "OCSP answer": Parser(
            ("check_answer",),
            lambda data: check_answer(data, asked, certificate, trust, "http://x"),
            (_answer(),),
        ),
        "root's OCSP answer": Parser(
            ("read_root_answer",), lambda data: read_root_answer(data, "root-1", pki.issuing), (_answer(),)
        ),
        "root's list of OCSP answers": Parser(
            ("parse_answers",), parse_answers, (compose_answers([_answer(), _answer()]),)
        ),
        "CSR": Parser(("parse_csr",), parse_csr, (world.csr(),)),
        "CRL": Parser(("read_crl",), lambda data: read_crl(data, pki.issuing), (crl,)),
        "attestation": Parser(
            ("check_attestation",),
            lambda data: check_attestation([data, data], key.public_key(), roots=("0" * 64,), now=NOW),
            (certificate.public_bytes(Encoding.DER),),
        ),
        "certificate": Parser(
            ("load_certificate",),
            file(folder, lambda path: load_certificate(path, trust.identity), "certificate.pem"),
            (certificate.public_bytes(Encoding.DER), certificate.public_bytes(Encoding.PEM)),
        ),
        "verdict": Parser(("parse_verdict",), parse_verdict, (Verdict("0" * 64, "X", "y", "z").to_bytes(),)),
        "JSON": Parser(("parse_json",), parse_json, (request.to_bytes(), entry)),
        "canonical JSON": Parser(("parse_canonical",), parse_canonical, (request.to_bytes(), entry)),
        "signed statement": Parser(
            ("parse_signed", "parse_statement"),
            lambda data: parse_signed(data).content,
            (request.to_bytes(), revocation.to_bytes(), roster.to_bytes()),
        ),
        "issuance order": Parser(("IssuanceOrder.parse",), orders, (json.dumps(order).encode(),)),
        "revocation order": Parser(("parse_order",), parse_order, (revoking.to_bytes(),)),
        "revocation order's file": Parser(("load_order",), file(folder, load_order), (revoking.to_bytes(),)),
        "roster's file": Parser(("load_roster_file",), file(folder, load_roster_file), (roster.to_bytes(),)),
        "anchor": Parser(("load_anchor",), load_anchor, (world.installed.anchor.to_bytes(),)),
        "receipt": Parser(("Receipt.parse",), receipts, (receipt.to_bytes(),)),
        "SSH signature": Parser(
            ("parse_signature", "parse_armored"),
            text(lambda said: parse_armored(said, "request")),
            (sign_with_key(key, namespace, b"message").encode(),),
        ),
        "SSH public key": Parser(("parse_public_key", "parse_line"), text(parse_public_key), (pub.line.encode(),)),
        "SSH key blob": Parser(("parse_key_blob",), parse_key_blob, (base64.b64decode(pub.line.split()[1]),)),
        "call to the signer": Parser(("_read_call",), call_the_signer, (b'{"arguments":{},"call":"status"}',)),
        "ledger entry": Parser(("parse_entry",), parse_entry, (entry,)),
        "checkpoint": Parser(
            ("verify_checkpoint",),
            text(lambda said: verify_checkpoint(said, origin, ledger_key.public_key())),
            (note.encode(),),
        ),
        "ledger bundle": Parser(("split_bundle",), split_bundle, (encode_entry(entry) * 3,)),
        "tile's name": Parser(("parse_tile",), text(parse_tile), (b"tile/entries/000.p/17", b"tile/0/x001/234")),
        "export": Parser(
            ("ZipExport",), file(folder, lambda path: list(read_entries(ZipExport(path)))), (_zip(folder, note, entry),)
        ),
        "monitor's state": Parser(
            ("load_seen",), file(folder, lambda _: load_seen(folder), "seen.json"), (b'{"ledger_size":3,"answers":{}}',)
        ),
        "transcript": Parser(("parse_transcript",), parse_transcript, (line, line * 2)),
        "transcript, cut": Parser(("parse_written",), parse_written, (line + line[:20],)),
    }


def _verified(world: World) -> object:
    from sealwright.statements.roster import check_roster

    signed = world.signed(world.roster(), "olga", "omar")
    return check_roster(signed, anchor=world.installed.anchor, previous=None, now=world.clock())


def _answer() -> bytes:
    from published import OCSP_KEY
    from sealwright.pki.ocsp import (
        AnswerTemplate,
        CertIDForm,
        CertificateStatus,
        draft_ocsp_answer,
        lint_ocsp_answer,
        sign_ocsp_answer,
    )

    soft = soft_pki()
    template = AnswerTemplate.of(soft.issuing, soft.issue_responder(OCSP_KEY))
    draft = draft_ocsp_answer(
        template,
        CertIDForm.SHA256,
        CertificateStatus(new_serial(), None),
        this_update=NOW,
        next_update=NOW.replace(day=25),
        archive_cutoff=NOW.replace(year=2016),
    )
    return sign_ocsp_answer(lint_ocsp_answer(draft), OCSP_KEY)


def _zip(folder: Path, note: str, entry: bytes) -> bytes:
    import zipfile

    path = folder / "seed.zip"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("checkpoint", note)
        packed.writestr("tile/entries/000.p/3", encode_entry(entry) * 3)
    return path.read_bytes()
