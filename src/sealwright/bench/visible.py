"""From a revocation to who says so, in a PKI at work: the last rows of ``scripts/bench ocsp``.

Signer and presign are processes with their keys on SoftHSM. Presign takes all that is published already for its own.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from cryptography import x509
from cryptography.x509 import ocsp

from sealwright.bench.answers import Published, serial
from sealwright.bench.testbed import Testbed
from sealwright.errors import Unavailable
from sealwright.ledger.reader import LedgerReader
from sealwright.publication.statuses import LedgerStatuses
from sealwright.statements.receipts import Receipt
from sealwright.store.publication import open_publication

_AGAIN: Final = 3


def measure_visible(testbed: Testbed, published: Published, port: int) -> dict[str, float]:
    """Seconds until validation on ``port`` says by OCSP, and by CRL, that one more certificate is revoked: the
    slowest of a few."""
    _remember(testbed, published)
    with testbed.signer() as channel, _presign(testbed):
        issued = [_issue(channel.call("issue", order=order)) for order in testbed.orders(_AGAIN)]
        says = [(partial(_is_revoked, published, port, each), partial(_is_listed, port, each)) for each in issued]
        _wait(lambda: all(each() is False for pair in says for each in pair))
        took: dict[str, float] = {"ocsp": 0.0, "crl": 0.0}
        for each, (is_revoked, is_listed) in zip(issued, says, strict=True):
            order = testbed.revocation(f"{each:x}")
            began = time.perf_counter()
            channel.call("revoke", order=order)
            _wait(is_revoked)
            took["ocsp"] = max(took["ocsp"], time.perf_counter() - began)
            _wait(is_listed)
            took["crl"] = max(took["crl"], time.perf_counter() - began)
        return took


def _issue(answer: dict[str, str]) -> int:
    return Receipt.parse(answer["receipt"]).load_certificate().serial_number


def _remember(testbed: Testbed, published: Published) -> None:
    """In presign's projection, as if the ledger had had so many certificates."""
    installed, state = testbed.installed, testbed.folder / "presign.db"
    now = datetime.now(UTC)
    at, again, ends = (int((now + each).timestamp()) for each in (timedelta(0), timedelta(hours=11), timedelta(4000)))
    statuses = LedgerStatuses(state)
    statuses.catch_up(LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key))
    statuses.close()
    with closing(sqlite3.connect(state)) as database:
        every = sorted(serial(number) for number in range(published.count))  # so it is filled sooner
        database.executemany(
            "INSERT INTO serials (serial, ends, revoked, answered, due, version) VALUES (?, ?, 0, ?, ?, 0)",
            ((each.to_bytes((each.bit_length() + 7) // 8, "big"), ends, at, again) for each in every),
        )
        database.commit()
    with closing(LedgerStatuses(state)) as statuses, closing(open_publication(published.url)) as publication:
        statuses.put_published_up_to(*publication.state())


def _is_revoked(published: Published, port: int, wanted: int) -> bool | None:
    """None when there is no answer yet."""
    found = _fetch(Request(f"http://127.0.0.1:{port}/ocsp", published.request_for(wanted)))  # http, as written here
    if found is None:
        return None
    answer = ocsp.load_der_ocsp_response(found)
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return None
    return answer.certificate_status is ocsp.OCSPCertStatus.REVOKED


def _is_listed(port: int, wanted: int) -> bool | None:
    found = _fetch(Request(f"http://127.0.0.1:{port}/crl/issuing-1.crl"))
    if found is None:
        return None
    return x509.load_der_x509_crl(found).get_revoked_certificate_by_serial_number(wanted) is not None


def _fetch(request: Request) -> bytes | None:
    with suppress(URLError, OSError), build_opener(ProxyHandler({})).open(request, timeout=5) as answer:
        found: bytes = answer.read()
        return found
    return None


def _wait(true: Callable[[], bool | None]) -> None:
    deadline = time.monotonic() + 120
    while not true():
        if time.monotonic() > deadline:
            raise Unavailable("it was not published within two minutes")
        time.sleep(0.005)


@contextmanager
def _presign(testbed: Testbed) -> Iterator[None]:
    with (testbed.folder / "presign.log").open("ab") as log:
        command = [sys.executable, "-m", "sealwright.cli.daemon", "presign", "--dir", str(testbed.folder)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
