"""Issuances a second through the real signer process, with all checks, all signatures and all fsyncs.

Tokens are SoftHSM's. Keys, CSRs, statements and people's signatures are prepared beforehand, as requesters are other
machines: one here does no more than ask. In the same run: one thread that calls C_Sign on the same token through
python-pkcs11, the disk's fsyncs, and django-ca's sign_cert. Then whose processor time an issuance took with 16
requesters, and what each step of one costs, alone, in this process.
"""

import argparse
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from pkcs11 import Mechanism, ObjectClass

from sealwright.bench.django_ca import sign_cert_rate
from sealwright.bench.ledger import fsync_ms
from sealwright.bench.processor import children, processor_ms
from sealwright.bench.report import Row
from sealwright.bench.steps import step_costs
from sealwright.bench.testbed import Testbed, make_testbed, use_softhsm
from sealwright.channel import MESSAGE_LIMIT
from sealwright.hsm.objects import find_one
from sealwright.hsm.pool import Worker
from sealwright.pki.keys import KeyKind
from sealwright.statements.canonical import canonical_bytes, parse_canonical

_NAMES: Final = {KeyKind.RSA_3072: "RSA-3072", KeyKind.P256: "P-256"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, default=1600, help="issuances in each measurement (default: 1600)")
    parser.add_argument("--keys", nargs="+", choices=_NAMES, default=list(_NAMES), help="kinds of issuing key")
    parser.add_argument("--dir", type=Path, help="on which disk; default: that of temporary files")
    parser.add_argument("--without-peer", action="store_true", help="leave django-ca out")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=arguments.dir))
    try:
        module = use_softhsm(folder)
        fsyncs = 1000 / fsync_ms(folder)
        yield Row("fsyncs of this disk, one after the other", fsyncs, "/s")
        for kind in map(KeyKind, arguments.keys):
            testbed = make_testbed(folder / kind, module, kind)
            peer = None if arguments.without_peer else sign_cert_rate(kind, arguments.count, folder)
            yield from _rates(testbed, kind, arguments.count, fsyncs, peer)
            yield from step_costs(testbed, _NAMES[kind], max(10, arguments.count // 16))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rates(testbed: Testbed, kind: KeyKind, count: int, fsyncs: float, peer: float | None) -> Iterator[Row]:
    name = _NAMES[kind]
    raw = _raw_signatures(testbed, kind, count)
    yield Row(f"{name}: C_Sign, one thread", raw, "/s")
    # One requester waits for every answer: a part of the orders says as much.
    prepared = {1: testbed.orders(max(10, count // 4)), 16: testbed.orders(max(32, count))}
    django = "django-ca's sign_cert" + (", RSA-4096: it has no 3072" if kind is KeyKind.RSA_3072 else "")
    with testbed.signer_process() as (_, signer):
        costs = _Costs(signer)
        for requesters, orders in prepared.items():
            costs.begin()
            rate = issuance_rate(testbed, orders, requesters)
            costs.end(len(orders))
            what = f"{name}: issuances, {requesters} requester{'s' if requesters > 1 else ''}"
            yield Row(what, rate, "/s", raw, "C_Sign, one thread")
            yield Row(what, rate, "/s", fsyncs, "fsyncs")
            if peer is not None:
                yield Row(what, rate, "/s", peer, django)
        yield from costs.rows(f"{name}: processor time of one issuance, {requesters} requesters")


class _Costs:
    """Milliseconds of processor for one issuance, by process."""

    def __init__(self, signer: int) -> None:
        self._processes = {
            "signer": (signer,),
            "linters": children(signer),
            "this process: asking for it": (os.getpid(),),
        }
        self._each: dict[str, float] = {}

    def begin(self) -> None:
        self._before = self._now()

    def end(self, count: int) -> None:
        self._each = {name: (now - self._before[name]) / count for name, now in self._now().items()}

    def _now(self) -> dict[str, float]:
        return {name: processor_ms(*processes) for name, processes in self._processes.items()}

    def rows(self, what: str) -> Iterator[Row]:
        """Of the last measurement."""
        whole = sum(self._each.values())
        for name, cost in self._each.items():
            yield Row(f"{what}: {name}", cost, "ms", whole, f"all three; {os.cpu_count()} cores")


def issuance_rate(testbed: Testbed, orders: Sequence[dict[str, Any]], requesters: int) -> float:
    """Issuances a second, as long as all requesters are at it. Raises ``RuntimeError`` when one is refused."""
    messages = [canonical_bytes({"call": "issue", "arguments": {"order": order}}) for order in orders]
    warm, messages = messages[:requesters], messages[requesters:]
    with ThreadPoolExecutor(requesters) as pool:
        answers = list(pool.map(lambda message: _ask(testbed.socket, message), warm))
        begun = time.perf_counter()
        answers += pool.map(lambda message: _ask(testbed.socket, message), messages)
        seconds = time.perf_counter() - begun
    for answer in answers:
        said = parse_canonical(answer, limit=MESSAGE_LIMIT)
        if "receipt" not in said:
            raise RuntimeError(f"the signer refused: {said}")
    return len(messages) / seconds


def _ask(path: Path, message: bytes) -> bytes:
    """One call with the octets that are ready: what ``SignerChannel.call`` sends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(str(path))
        connection.send(message)
        return connection.recv(MESSAGE_LIMIT)


def _raw_signatures(testbed: Testbed, kind: KeyKind, count: int) -> float:
    """One thread, one session, one key object: what the token gives to whoever asks nothing else of it."""
    message = os.urandom(32 if kind is KeyKind.P256 else 1000)  # a digest, or a TBS that the token hashes
    mechanism = Mechanism.ECDSA if kind is KeyKind.P256 else Mechanism.SHA256_RSA_PKCS

    def sign(worker: Worker) -> float:
        key = find_one(worker.native, ObjectClass.PRIVATE_KEY, testbed.issuing.key_id, token="")
        key.sign(message, mechanism=mechanism)
        begun = time.perf_counter()
        for _ in range(count):
            key.sign(message, mechanism=mechanism)
        return count / (time.perf_counter() - begun)

    with testbed.issuing.open(testbed.module) as token:
        return token.call(sign, doing="being measured")
