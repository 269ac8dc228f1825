"""How fast OCSP answers are signed ahead of time, beside what the token can do.

Reference: raw ``C_Sign`` of ECDSA P-256 through python-pkcs11, one thread, one session, in turns with ours so that both
see the same load. Ours is what presign does at each step, in one process: ask what is due, splice both answers of each
from linted shapes, sign them on the token through our key class (two sessions at once), write them to a publication
database (SQLite on this disk, durable), and note them as done. Once for the first time, once as a refresh of the same.

Synthetic: the certificate entries of the ledger are fed to presign's projection without a ledger around them, all with
the same certificate under serials of their own.
"""

import argparse
import hashlib
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from pkcs11 import Mechanism, ObjectClass

from sealwright.bench.report import Row
from sealwright.bench.testbed import Testbed, make_testbed, use_softhsm
from sealwright.hsm.keys import private_key
from sealwright.hsm.pool import Worker
from sealwright.hsm.private_keys import TokenECPrivateKey
from sealwright.hsm.session import TokenSession
from sealwright.ledger.entries import CertificateEntry
from sealwright.pki.certificates import draft_certificate, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind, PrivateKey
from sealwright.pki.names import responder_subject
from sealwright.pki.ocsp import AnswerTemplate
from sealwright.pki.profiles import load_profile
from sealwright.pki.serials import format_serial, new_serial
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.publication.answers import AnswerSigner
from sealwright.publication.presign import BATCH
from sealwright.publication.statuses import LedgerStatuses
from sealwright.publication.writer import Writer
from sealwright.store.migrations import upgrade
from sealwright.store.publication import open_publication

ROUND = 4000
"""Raw signatures, and answers, in one turn."""
_PASS = timedelta(hours=13)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--certificates", type=int, default=20_000, help="that have answers; default 20000")
    parser.add_argument("--known", type=int, default=100_000, help="serials in presign's projection; default 100000")
    parser.add_argument("--dir", type=Path, help="on which disk; default: that of temporary files")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-presign-", dir=arguments.dir) as name:
        folder = Path(name)
        module = use_softhsm(folder)
        testbed = make_testbed(folder / "pki", module, KeyKind.P384)
        settings = load_settings(testbed.installed.pinned_files()["pki.toml"], source="pki.toml")
        template = AnswerTemplate.of(testbed.installed.issuing, _responder(testbed, settings))
        with testbed.ocsp.open(module) as token:
            key = private_key(token, testbed.ocsp.key_id)
            signer = AnswerSigner(template=template, key=key, settings=settings)
            yield from _signing(folder, arguments.certificates, signer, token)
        yield from _knowing(folder, arguments.known)


def _signing(folder: Path, count: int, signer: AnswerSigner, token: TokenSession) -> Iterator[Row]:
    url = f"sqlite:///{folder / 'publication.db'}"
    upgrade("publication", url)
    statuses = LedgerStatuses(folder / "presign.db")
    statuses.follow(_entries(count))
    now = datetime.now(UTC).replace(microsecond=0)
    with closing(open_publication(url)) as publication, closing(statuses):
        writer = Writer(publication, statuses)
        _raw(token, signer.key, ROUND)  # to warm up
        for what, moment in (("first", now), ("refreshed", now + _PASS)):
            ours = raw = 0.0
            made = signed = 0
            while made < 2 * count:
                raw += _raw(token, signer.key, ROUND)
                signed += ROUND
                began = time.perf_counter()
                made += _sign_due(signer, statuses, writer, moment, ROUND)
                ours += time.perf_counter() - began
            note = "raw C_Sign, python-pkcs11, one session"
            yield Row(f"answers signed and stored, {what}", made / ours, "/s", signed / raw, note)
        writer.close()


def _sign_due(signer: AnswerSigner, statuses: LedgerStatuses, writer: Writer, now: datetime, most: int) -> int:
    """As ``publication.presign`` does at each of its steps. Returns how many answers were made."""
    made = 0
    while made < most:
        batch = writer.not_under_way(statuses.due(now, BATCH + writer.under_way))[:BATCH]
        if not batch:
            break
        answered = [each.answered for each in batch]
        parts = signer.sign_many([each.status for each in batch], now=now, answered=answered)
        writer.write(batch, parts)
        made += 2 * len(batch)
    writer.land()
    return made


def _raw(token: TokenSession, key: PrivateKey, count: int) -> float:
    """Seconds for so many signatures by one thread on one session."""
    if not isinstance(key, TokenECPrivateKey):
        raise TypeError("the OCSP key is not on a token")
    key_id = key.key_id

    def sign(worker: Worker) -> float:
        native: Any = worker.native.get_key(object_class=ObjectClass.PRIVATE_KEY, id=key_id)
        began = time.perf_counter()
        for number in range(count):
            native.sign(hashlib.sha256(number.to_bytes(8, "big")).digest(), mechanism=Mechanism.ECDSA)
        return time.perf_counter() - began

    return token.call(sign, doing="measuring")


def _knowing(folder: Path, count: int) -> Iterator[Row]:
    """What a serial costs presign in memory and at a start."""
    path = folder / "known.db"
    with closing(LedgerStatuses(path)) as statuses:
        began = time.perf_counter()
        statuses.follow(_entries(count))
        yield Row(f"{count:,} certificates read from ledger entries", time.perf_counter() - began, "s")
    began = time.perf_counter()
    with closing(LedgerStatuses(path)) as statuses:
        statuses.due(datetime.now(UTC), BATCH)
        yield Row(f"start with {count:,} serials known", 1000 * (time.perf_counter() - began), "ms")
    yield Row(f"projection of {count:,} serials", path.stat().st_size / 2**20, "MiB", None, "on disk")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield Row("memory of all this at its peak", peak, "MiB", None, "pkilint and the token module included")


def _responder(testbed: Testbed, settings: PKISettings) -> x509.Certificate:
    path = testbed.folder / "ca/profiles/ocsp-responder.toml"
    profile = load_profile(path.read_bytes(), source=str(path))
    now = datetime.now(UTC).replace(microsecond=0)
    draft = draft_certificate(
        profile,
        issuer=testbed.installed.issuer(settings),
        subject=responder_subject(settings, rehearsal=True),
        public_key=testbed.installed.ocsp_key,
        serial=new_serial(),
        not_before=now - timedelta(minutes=1),
    )
    with testbed.issuing.open(testbed.module) as token:
        return sign_certificate(lint_draft(draft), private_key(token, testbed.issuing.key_id))


def _entries(count: int) -> Iterator[bytes]:
    """Certificate entries, each with a serial of its own around the same certificate."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp payments terminal")])
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC).replace(microsecond=0)
    builder = x509.CertificateBuilder(name, name, key.public_key(), new_serial(), now, now + timedelta(days=397))
    der = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
    for _ in range(count):
        yield CertificateEntry.for_der(at=now, serial=format_serial(new_serial()), intent=0, der=der).to_bytes()
