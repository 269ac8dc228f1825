"""Receipts: a certificate with the proof that the ledger holds it.

The signer gives one with each certificate. Where it was lost (a crash, a database made again) it is made here from the
projection; nobody need believe the registry, because the proof leads to a checkpoint that the ledger key signed.
"""

import json

from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.errors import NotReady
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.registration.projection import catch_up, load_tree
from sealwright.registration.registry import Registry
from sealwright.registration.requests import find_request
from sealwright.statements.receipts import Receipt
from sealwright.statements.wire import encode_base64
from sealwright.store.models import RequestState
from sealwright.store.registry import RegistryTransaction


def find_receipt(registry: Registry, key: str) -> Receipt:
    """Of the request with this id or SHA-256. Raises ``NotReady`` before it is issued."""
    record = find_request(registry, key)
    if record.row.state != RequestState.ISSUED:
        catch_up(registry)
        record = find_request(registry, key)
    row = record.row
    if row.state != RequestState.ISSUED or row.serial is None:
        raise NotReady(
            f"request {row.id} is {record.state(registry.clock())}: there is no certificate to fetch",
            hint=row.reason or f"`sealwright show {row.id}` says what it waits for",
        )
    if row.receipt is not None:
        return Receipt.parse(json.loads(row.receipt))
    with registry.lock, registry.database.writing() as tx:
        receipt = _make(registry, tx, row.serial)
        tx.request(row.sha256).receipt = receipt.to_bytes().decode()
    return receipt


def _make(registry: Registry, tx: RegistryTransaction, serial: str) -> Receipt:
    """From the entry and the tree of what was read."""
    row, state = tx.certificate(serial), tx.projection()
    index = row.entry_index
    if index is None or row.certificate is None:
        raise NotReady(f"certificate {serial} is not in the ledger that was read")
    key = registry.verified_rosters(tx)[-1].ledger_key
    size, _ = verify_checkpoint(state.checkpoint, registry.installed.anchor.ledger_origin, key)
    (entry,) = tx.ledger_entries(index, index + 1)
    load_tree(registry, tx, state.next_index)
    proof = registry.tree.inclusion_proof(index, size)
    return Receipt(
        certificate=encode_base64(row.certificate),
        issuer=encode_base64(registry.installed.issuing.public_bytes(Encoding.DER)),
        entry_index=index,
        entry=encode_base64(entry),
        proof=tuple(encode_base64(each) for each in proof),
        checkpoint=state.checkpoint,
    )
