"""``scripts/bench ledger``: what an append costs and how long a start takes, at ten thousand and at a million entries.

The ledger is filled with intents and certificates of an issuance's size, on the real disk, with a software Ed25519 key;
the reference of an append is the bare fsync of this disk. Start-up is the ledger verified from its files
(``Ledger.open``), and the signer's index taken from its file, every row of it read (``LedgerIndex.open``).
"""

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from sealwright.bench.report import Row
from sealwright.issuing.index import INDEX, LedgerIndex
from sealwright.issuing.index_file import remove_index
from sealwright.ledger.entries import CertificateEntry, Entry, IntentEntry
from sealwright.ledger.log import BATCH_LIMIT, Ledger
from sealwright.pki.serials import format_serial
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.signed import SignedStatement

ORIGIN = "sealwright/bench"
APPENDS = 300
REMADE = 10_000
"""Above this the index is not made again: it takes minutes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", default="10000,1000000", help="entries, separated by commas")
    parser.add_argument("--dir", type=Path, help="on which disk; default: that of temporary files")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    folder = Path(tempfile.mkdtemp(prefix="bench-ledger-", dir=arguments.dir))
    try:
        fsync = fsync_ms(folder)
        for size in map(int, arguments.sizes.split(",")):
            yield from _measure(folder / str(size), size, fsync)
            shutil.rmtree(folder / str(size))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(directory: Path, size: int, fsync: float) -> Iterator[Row]:
    key = Ed25519PrivateKey.generate()
    begun = time.perf_counter()
    with Ledger.create(directory, ORIGIN, key) as ledger, closing(LedgerIndex.open(directory / INDEX, ledger)) as index:
        for batch in _batches(_entries(size), BATCH_LIMIT):
            ledger.append(*(entry.to_bytes() for entry in batch))
            for entry in batch:
                index.apply(entry)
        filled = time.perf_counter() - begun
        costs = []
        for entry in _entries(APPENDS, first=size):
            data = entry.to_bytes()
            begun = time.perf_counter()
            ledger.check_unchanged()
            ledger.append(data)
            index.apply(entry)
            costs.append(1000 * (time.perf_counter() - begun))
        grown = ledger.size
    octets = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    yield Row(f"append and index at {size:,} entries", statistics.median(costs), "ms", fsync, "one fsync of this disk")
    yield Row(f"the same, slowest of a hundred at {size:,}", _percentile(costs, 0.99), "ms", fsync, "the same")
    yield Row(f"fill to {size:,} entries, {BATCH_LIMIT} an append, for each", 1000 * filled / size, "ms")
    yield Row(f"files of {size:,} entries", octets / 2**20, "MiB")
    yield Row(f"of these the index at {size:,}", (directory / INDEX).stat().st_size / 2**20, "MiB")
    opened, indexed, peak = _start(directory, key, grown)
    yield Row(f"start at {size:,}: open and verify every octet", opened, "s")
    yield Row(f"start at {size:,}: the index from its file", indexed, "s")
    yield Row(f"start at {size:,}: in all", opened + indexed, "s")
    yield Row(f"memory of that start at {size:,}, at its peak", peak, "MiB")
    if size <= REMADE:
        remove_index(directory / INDEX)
        yield Row(f"start at {size:,} with no index: made again", _start(directory, key, grown)[1], "s")


def _start(directory: Path, key: Ed25519PrivateKey, size: int) -> tuple[float, float, float]:
    """Seconds to open, seconds to have the index, MiB at the peak: in a process of its own, whose memory it is."""
    parent, child = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_start_here, args=(child, directory, key.private_bytes_raw(), size)
    )
    process.start()
    child.close()
    opened, indexed, peak = parent.recv()
    process.join()
    return opened, indexed, peak


def _start_here(answer: Connection, directory: Path, key: bytes, size: int) -> None:
    begun = time.perf_counter()
    with Ledger.open(directory, ORIGIN, Ed25519PrivateKey.from_private_bytes(key)) as ledger:
        opened = time.perf_counter() - begun
        begun = time.perf_counter()
        with closing(LedgerIndex.open(directory / INDEX, ledger)) as index:
            indexed = time.perf_counter() - begun
            if index.size != size:
                raise RuntimeError("the index has not seen every entry")
        answer.send((opened, indexed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def _batches(entries: Iterator[Entry], width: int) -> Iterator[tuple[Entry, ...]]:
    while batch := tuple(islice(entries, width)):
        yield batch


def _entries(count: int, first: int = 0) -> Iterator[Entry]:
    """Intent and certificate in turn, each with a serial of its own. The certificate's signature is nobody's."""
    template = _certificate()
    der, tbs = template.public_bytes(Encoding.DER), template.tbs_certificate_bytes
    words = {"person": "alice", "team": "payments", "csr": "A" * 1200, "profile_sha256": "0" * 64}
    signed = SignedStatement(statement=words, signatures=("-" * 400,))
    order = IssuanceOrder(
        request=signed, decisions=(SignedStatement(statement={"id": "0" * 400}, signatures=("-" * 400,)),)
    )
    at = datetime(2026, 11, 23, tzinfo=UTC)
    for place in range(first, first + count):
        serial, moment = format_serial((1 << 158) + place // 2), at + timedelta(seconds=place)
        if place % 2 == 0:
            words["csr"] = f"{place:08d}" + "A" * 1192
            unique = order.model_copy(
                update={"request": SignedStatement(statement=dict(words), signatures=("-" * 400,))}
            )
            yield IntentEntry.for_tbs(
                at=moment, serial=serial, tbs=tbs, profile="code-signing", order=unique, standing=None
            )
        else:
            yield CertificateEntry.for_der(at=moment, serial=serial, intent=place - 1, der=der)


def _certificate() -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp payments terminal")])
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime(2026, 11, 23, tzinfo=UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=1 << 158,
        not_valid_before=now,
        not_valid_after=now + timedelta(days=397),
        extensions=[x509.Extension(x509.OID_SUBJECT_KEY_IDENTIFIER, False, x509.SubjectKeyIdentifier(bytes(600)))],
    )
    return builder.sign(key, hashes.SHA256())


def fsync_ms(folder: Path) -> float:
    """One write of 4 KiB with its fsync on the disk of ``folder``, in ms, the median."""
    path = folder / "probe"
    costs = []
    with path.open("wb") as file:
        for _ in range(APPENDS):
            begun = time.perf_counter()
            os.write(file.fileno(), b"x" * 4096)
            os.fsync(file.fileno())
            costs.append(1000 * (time.perf_counter() - begun))
    path.unlink()
    return statistics.median(costs)


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]
