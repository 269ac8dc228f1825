"""``sealwrightd import``: what a later root ceremony made, taken into a PKI that is installed and running.

The record is replayed first, and then held against what is installed: the same root, the same mode, and newer. Only
then a file is replaced, durably, in one rename; the processes that watch it need no restart. The root's OCSP answers
are several files, and each stands for itself. A first installation is
``install``'s.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony.answers import ANSWERS
from sealwright.ceremony.kinds import NEW
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.durable import read_file, replace_file
from sealwright.errors import Conflict, InputError, IntegrityError, PolicyViolation, StorageError
from sealwright.installation.root_answers import take_answers, withdraw_good
from sealwright.installed import FILE_LIMIT, Installed, load_installed
from sealwright.pki.crl import read_crl
from sealwright.pki.keys import spki_sha256
from sealwright.pki.settings import load_settings

_SEVERAL = "one import at a time: the older of two must not come last"


@dataclass(frozen=True, slots=True)
class Imported:
    """``file`` is relative to the installed folder. ``restart``: which processes read it only when they start."""

    file: str
    sha256: str
    what: str
    restart: tuple[str, ...] = ()


def import_record(folder: Path, record: CeremonyRecord, now: datetime) -> tuple[Imported, ...]:
    """Take what a replayed record has for an installed PKI: its root CRL, its issuing certificate, the root's answers.

    Raises ``PolicyViolation`` (IMPORT-MODE) when rehearsal and production meet, ``IntegrityError`` for the record of
    another root, ``Conflict`` for what is installed already or is older, ``InputError`` for a record that has nothing
    for a running PKI.
    """
    with _alone(folder):
        installed = load_installed(folder)
        _check_belongs(record, installed)
        done = []
        if "root.crl" in record.outputs:
            done.append(_root_crl(record.read("root.crl"), installed, now))
        elif "issuing.pem" in record.outputs:
            done.append(_issuing(record.read("issuing.pem"), installed))
        elif ANSWERS in record.outputs:
            done.append(_answers(record.read(ANSWERS), installed, now))
        else:
            raise InputError(
                f"a {record.kind} record has nothing for a PKI that is installed",
                hint="root CRLs, issuing certificates and the root's OCSP answers are imported; `sealwrightd install` "
                "takes the rest, and cross-certificates go to verifiers: ceremonies/root-rollover/README.md",
            )
    return tuple(done)


def _check_belongs(record: CeremonyRecord, installed: Installed) -> None:
    if record.mode != installed.anchor.mode:
        raise PolicyViolation(
            f"this is the record of a {record.mode} ceremony, and this PKI is {installed.anchor.mode}",
            rule="IMPORT-MODE",
            hint="a rehearsal stays among rehearsals; name the record of the ceremony itself",
        )
    registers = [name for name in ("register.json", f"{NEW}register.json") if name in record.outputs]
    roots = [parse_register(record.read(name)).root.sha256 for name in registers]  # a rollover's are of two
    if roots and installed.anchor.root_sha256 not in roots:
        raise IntegrityError(
            f"this record is of the root {roots[0]}; installed is {installed.anchor.root_sha256}",
            hint="nothing was changed; is this the right PKI's folder, and the right record?",
        )


def _root_crl(data: bytes, installed: Installed, now: datetime) -> Imported:
    settings = load_settings(read_file(installed.folder / "ca/pki.toml", limit=FILE_LIMIT), source="ca/pki.toml")
    name = f"crl/{settings.root.id}.crl"
    crl, number = read_crl(data, installed.root)
    before, number_before = read_crl(read_file(installed.folder / name, limit=FILE_LIMIT), installed.root)
    if number <= number_before:
        same = data == before.public_bytes(Encoding.DER)
        raise Conflict(
            f"root CRL number {number} is {'installed already' if same else 'not newer'}: installed is {number_before}",
            hint="a CRL is never replaced by an older one; take the newest record",
        )
    dropped = {entry.serial_number for entry in before} - {entry.serial_number for entry in crl}
    if dropped:
        raise IntegrityError(
            f"root CRL number {number} no longer lists {', '.join(f'{serial:x}' for serial in sorted(dropped))}",
            hint="nothing is un-revoked; look at how this CRL was made before you go on",
        )
    ends = crl.next_update_utc
    if ends is None or ends <= now:
        raise PolicyViolation(
            f"root CRL number {number} ended at {ends}",
            rule="IMPORT-ENDED",
            hint="verifiers would refuse it; hold a new root-crl ceremony",
        )
    replace_file(installed.folder / name, data)
    what = f"root CRL number {number} in place of {number_before}, valid until {ends:%Y-%m-%d}, {len(crl)} revoked"
    if withdrawn := withdraw_good(crl, settings.root.id, installed):
        what += f"; {withdrawn} OCSP answers that said good are withdrawn: bring those of a new ocsp-delegate ceremony"
    return Imported(name, hashlib.sha256(data).hexdigest(), what)


def _answers(data: bytes, installed: Installed, now: datetime) -> Imported:
    settings = load_settings(read_file(installed.folder / "ca/pki.toml", limit=FILE_LIMIT), source="ca/pki.toml")
    what = take_answers(data, settings.root.id, installed, now)
    return Imported("answers", hashlib.sha256(data).hexdigest(), what)


def _issuing(data: bytes, installed: Installed) -> Imported:
    """A later certificate of the same issuing CA: same name, same key. With another key it is another CA."""
    certificate = x509.load_pem_x509_certificate(data)
    digest = certificate.fingerprint(hashes.SHA256()).hex()
    if certificate == installed.issuing:
        raise Conflict("this issuing certificate is installed already", hint="there is nothing to do")
    try:
        certificate.verify_directly_issued_by(installed.root)
    except Exception as error:  # pyca raises InvalidSignature, ValueError or TypeError
        raise IntegrityError("issuing.pem is not signed by the installed root") from error
    own = (installed.issuing.subject, spki_sha256(installed.issuing.public_key()))  # type: ignore[arg-type]  # load_installed read it
    if (certificate.subject, spki_sha256(certificate.public_key())) != own:  # type: ignore[arg-type]  # the root signs only our kinds
        raise PolicyViolation(
            "this issuing certificate has another key or name than the installed one: it is another issuing CA",
            rule="IMPORT-KEY",
            hint="another issuing CA has another ledger: `sealwrightd install` makes its folder",
        )
    if certificate.not_valid_before_utc <= installed.issuing.not_valid_before_utc:
        raise Conflict(
            "this issuing certificate is older than the installed one",
            hint="a certificate is never replaced by an older one; take the newest record",
        )
    # The earlier ones stay behind it: rosters name them, and an audit judges what was issued under them.
    replace_file(installed.folder / "issuing.pem", data.rstrip() + b"\n" + installed.issuing_pem)
    return Imported(
        "issuing.pem",
        digest,
        "a later certificate of the issuing CA; the officers' next roster has to name it",
        ("signer", "presign", "registry", "validation"),
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Held against a second import of this folder, until the block ends or the process does."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(
            f"cannot read {folder}: {error.strerror}", hint="is this a folder that `sealwrightd install` made?"
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"another import into {folder} is under way", hint=_SEVERAL) from None
        yield
    finally:
        os.close(handle)
