"""CRLs of a million entries after one more revocation, beside ``openssl ca -gencrl`` on the same entries.

Ours is the signer's way: the entry is encoded and added to the kept ones, the CRL linted and assembled around them,
digested while it is written, signed with a software P-384 key, as OpenSSL signs its own, synced to this disk and put in
the old one's place. The same with 128 partitions of it, of which one is made anew. Memory is that of the process which
did it, at its peak: Python, our modules and pkilint included.

Synthetic: serials and dates of the entries; no certificate was issued for them.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from sealwright.bench.report import Row
from sealwright.bench.testbed import POLICY, make_cas
from sealwright.errors import Unavailable
from sealwright.issuing.files import replacing_file
from sealwright.pki.crl_book import CRLBook, CRLFields, lint_book, sign_book
from sealwright.pki.crl_scope import crl_scope
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import KeyKind
from sealwright.pki.revocation import END_ENTITY_REASONS, RevocationEntry
from sealwright.pki.serials import new_serial
from sealwright.pki.settings import load_settings

PARTITIONS: Final = 128
_AGAIN: Final = 5
_OPENSSL_CONFIG: Final = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
crlnumber = {folder}/crlnumber
certificate = {folder}/issuing.pem
private_key = {folder}/key.pem
default_md = sha384
default_crl_days = 7
crl_extensions = extensions
[extensions]
authorityKeyIdentifier = keyid:always
"""
Figures = dict[str, float]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--entries", type=int, default=1_000_000, help="on the CRL; default a million")
    parser.add_argument("--dir", type=Path, help="on which disk; default: that of temporary files")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Unavailable("there is no openssl here", hint="apt install openssl")
    count = arguments.entries
    with tempfile.TemporaryDirectory(prefix="bench-crl-", dir=arguments.dir) as name:
        folder = Path(name)
        key = ec.generate_private_key(ec.SECP384R1())
        (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        _, issuing = make_cas(KeyKind.P384, key.public_key())
        (folder / "issuing.pem").write_bytes(issuing.public_bytes(Encoding.PEM))
        ours = _apart(_ours, folder, count)
        theirs = _openssl(openssl, folder, count)
        what, mib = f"CRL of {count:,} entries", 2**20
        note = "openssl ca -gencrl"
        yield Row(f"{what}, one more revocation", ours["seconds"], "s", theirs["seconds"], note)
        yield Row(f"{what}, peak memory", ours["peak"] / mib, "MiB", ours["size"] / mib, "the CRL's size")
        yield Row(f"{what}, peak memory", ours["peak"] / mib, "MiB", theirs["peak"] / mib, note)
        yield Row(f"{what}, its entries encoded at a start", ours["made"], "s")
        divided = _apart(_ours_divided, folder, count)
        what = f"one of {PARTITIONS} partitions of {count:,} entries"
        yield Row(f"{what}, one more revocation", divided["milliseconds"], "ms", None, "with the signature")
        yield Row(f"{what}, of that the signature", divided["signature"], "ms")


def _apart(act: Callable[[Path, int], Figures], folder: Path, count: int) -> Figures:
    """In a process of its own, so that its memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(act, folder, count).result()


def _ours(folder: Path, count: int) -> Figures:
    issuer, key, now = _issuer(folder)
    path = folder / "ours.crl"
    with tempfile.TemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        book = CRLBook(file)
        book.add(_entries(count, now))
        made = time.perf_counter() - began
        _make(book, issuer, key, path, number=1, now=now)
        costs = []
        for number in range(2, 2 + _AGAIN):
            began = time.perf_counter()
            book.add(_entries(1, now))
            _make(book, issuer, key, path, number=number, now=now)
            costs.append(time.perf_counter() - began)
    return {"seconds": statistics.median(costs), "made": made, "size": path.stat().st_size, "peak": _peak()}


def _ours_divided(folder: Path, count: int) -> Figures:
    issuer, key, now = _issuer(folder)
    costs, signatures = [], []
    with ExitStack() as files:
        books = [CRLBook(files.enter_context(tempfile.TemporaryFile(dir=folder))) for _ in range(PARTITIONS)]
        for number, book in enumerate(books):
            book.add(_entries(count // PARTITIONS + (number < count % PARTITIONS), now))
        for number in range(1, 3 * _AGAIN):
            scope = crl_scope(PARTITIONS, number)
            began = time.perf_counter()
            books[number].add(_entries(1, now))
            _make(books[number], issuer, key, folder / "part.crl", number=number, now=now, scope=scope)
            costs.append(1000 * (time.perf_counter() - began))
            began = time.perf_counter()
            key.sign(bytes(48), ec.ECDSA(Prehashed(hashes.SHA384())))
            signatures.append(1000 * (time.perf_counter() - began))
    return {"milliseconds": statistics.median(costs), "signature": statistics.median(signatures)}


def _make(
    book: CRLBook,
    issuer: IssuerRecord,
    key: ec.EllipticCurvePrivateKey,
    path: Path,
    *,
    number: int,
    now: datetime,
    scope: str = "",
) -> None:
    """As ``issuing.crl`` does, without the ledger."""
    fields = CRLFields(
        issuer=issuer,
        number=number,
        this_update=now,
        next_update=now + timedelta(days=7),
        expired_certs_since=issuer.certificate.not_valid_before_utc,
        distribution_point=issuer.crl_url(scope) if scope else None,
    )
    linted = lint_book(book, fields)
    with replacing_file(path) as replacement:
        sign_book(linted, key, replacement.file)
        replacement.sync()
        replacement.commit()


def _issuer(folder: Path) -> tuple[IssuerRecord, ec.EllipticCurvePrivateKey, datetime]:
    settings = load_settings((POLICY / "pki.toml").read_bytes(), source="pki.toml")
    certificate = x509.load_pem_x509_certificate((folder / "issuing.pem").read_bytes())
    key = load_pem_private_key((folder / "key.pem").read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key is not on a curve")
    issuer = IssuerRecord.of(certificate, settings, settings.issuing.id)
    return issuer, key, datetime.now(UTC).replace(microsecond=0)


def _entries(count: int, now: datetime) -> Iterator[RevocationEntry]:
    reasons = sorted(END_ENTITY_REASONS)
    for number in range(count):
        date = now - timedelta(seconds=number % 100_000)
        yield RevocationEntry(new_serial(), date, reasons[number % len(reasons)])


def _openssl(openssl: str, folder: Path, count: int) -> Figures:
    now = datetime.now(UTC)
    with (folder / "index.txt").open("w") as index:
        expires = f"{now + timedelta(days=300):%y%m%d%H%M%SZ}"
        for entry in _entries(count + 1, now.replace(microsecond=0)):
            date, moment = f"{entry.revocation_date:%y%m%d%H%M%SZ}", f"{entry.revocation_date:%Y%m%d%H%M%SZ}"
            # keyTime is openssl's word for keyCompromise with an invalidityDate.
            reason = f"keyTime,{moment}"
            index.write(f"R\t{expires}\t{date},{reason}\t{entry.serial:040X}\tunknown\t/CN=x{entry.serial:x}\n")
    (folder / "index.txt.attr").write_text("unique_subject = no\n")
    (folder / "crlnumber").write_text("01\n")
    (folder / "openssl.cnf").write_text(_OPENSSL_CONFIG.format(folder=folder))
    command = [openssl, "ca", "-config", str(folder / "openssl.cnf"), "-gencrl", "-out", str(folder / "theirs.pem")]
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    said = process.stderr.read() if process.stderr else b""
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Unavailable(f"openssl ca -gencrl failed: {said.decode(errors='replace')[-500:]}")
    return {"seconds": seconds, "peak": used.ru_maxrss * 1024}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
