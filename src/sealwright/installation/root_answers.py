"""The root's OCSP answers on their way into an installed PKI: from a replayed record to ``answers/``, for presign.

Each is judged as presign will judge it, held against the root CRL that is installed, and never put where a newer one
lies. A root CRL that comes later takes away what still says good of a certificate that it lists.
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509

from sealwright.ceremony.answers import RootAnswer, parse_answers
from sealwright.durable import read_file, replace_file, sync_folder
from sealwright.errors import Conflict, PolicyViolation, SealwrightError, StorageError
from sealwright.installed import FILE_LIMIT, Installed
from sealwright.pki.crl import read_crl
from sealwright.pki.serials import format_serial
from sealwright.publication.root_answers import FOLDER, read_root_answer
from sealwright.store.publication import GOOD, PublishedAnswer


def take_answers(data: bytes, root_id: str, installed: Installed, now: datetime) -> str:
    """Put them in place; gives what was done. ``data``: ``answers.json``.

    Raises ``PolicyViolation`` (IMPORT-ENDED, IMPORT-STATUS), ``Conflict`` for what is there already or is older, and
    what ``read_root_answer`` raises; nothing is changed then.
    """
    answers = parse_answers(data)
    rows = [read_root_answer(each.data, root_id, installed.root) for each in answers]
    crl, number = read_crl(read_file(installed.folder / f"crl/{root_id}.crl", limit=FILE_LIMIT), installed.root)
    for each in answers:
        _check_in_force(each, now)
        _check_status(each, crl, number)
    _check_newer(rows, installed, root_id)
    place = installed.folder / FOLDER
    try:
        place.mkdir(exist_ok=True)
        sync_folder(installed.folder)
    except OSError as error:
        raise StorageError(f"cannot make {place}: {error.strerror}") from error
    for row in rows:
        replace_file(place / f"{row.serial}-{row.form}.der", row.der)
    good = sum(row.status == GOOD for row in rows)
    end = min(row.next_update for row in rows)
    return f"{len(rows)} OCSP answers of the root, {good} good, {len(rows) - good} revoked, valid until {end:%Y-%m-%d}"


def withdraw_good(crl: x509.CertificateRevocationList, root_id: str, installed: Installed) -> int:
    """Take away the files that say good of what ``crl`` lists; gives how many."""
    listed = {format_serial(entry.serial_number) for entry in crl}
    withdrawn = [path for path, row in _installed(installed, root_id) if row.status == GOOD and row.serial in listed]
    try:
        for path in withdrawn:
            path.unlink()
        if withdrawn:
            sync_folder(installed.folder / FOLDER)
    except OSError as error:
        raise StorageError(
            f"cannot take away {error.filename}: {error.strerror}",
            hint="the CRL is installed, and no process here publishes or serves an answer that contradicts it",
        ) from error
    return len(withdrawn)


def answers_end(root_id: str, installed: Installed) -> datetime | None:
    """When the first of the answers in place ends; None: there are none, and none are wanted."""
    return min((row.next_update for _, row in _installed(installed, root_id)), default=None)


def _check_in_force(answer: RootAnswer, now: datetime) -> None:
    if answer.next_update <= f"{now:%Y-%m-%dT%H:%M:%SZ}":
        raise PolicyViolation(
            f"the answer for {answer.serial} ended at {answer.next_update}",
            rule="IMPORT-ENDED",
            hint="verifiers would refuse it; hold root-crl and ocsp-delegate again",
        )


def _check_status(answer: RootAnswer, crl: x509.CertificateRevocationList, number: int) -> None:
    """IMPORT-STATUS: what the answers say is what the installed CRL says, one certificate and the other."""
    entry = crl.get_revoked_certificate_by_serial_number(int(answer.serial, 16))
    listed = None if entry is None else f"{entry.revocation_date_utc:%Y-%m-%dT%H:%M:%SZ}"
    if listed != answer.revocation_date:
        said = "good" if answer.revocation_date is None else f"revoked since {answer.revocation_date}"
        found = "does not list it" if listed is None else f"has it revoked since {listed}"
        raise PolicyViolation(
            f"the answers say {said} of {answer.serial}; the installed root CRL number {number} {found}",
            rule="IMPORT-STATUS",
            hint="import the newest root CRL first; if it is the answers that are older, hold ocsp-delegate again",
        )


def _check_newer(rows: list[PublishedAnswer], installed: Installed, root_id: str) -> None:
    there = {(row.serial, row.form): row for _, row in _installed(installed, root_id)}
    before = [(row, there[row.serial, row.form]) for row in rows if (row.serial, row.form) in there]
    for row, old in before:
        if row.this_update < old.this_update:
            raise Conflict(
                f"the answer for {row.serial} is of {row.this_update:%Y-%m-%d %H:%M:%S}; installed is one of "
                f"{old.this_update:%Y-%m-%d %H:%M:%S}",
                hint="an answer is never replaced by an older one; take the newest record",
            )
    if len(before) == len(rows) and all(row.der == old.der for row, old in before):
        raise Conflict("these answers are installed already", hint="there is nothing to do")


def _installed(installed: Installed, root_id: str) -> Iterator[tuple[Path, PublishedAnswer]]:
    """Those that count; what cannot be read, presign does not publish either."""
    for path in sorted((installed.folder / FOLDER).glob("*.der")):
        with contextlib.suppress(SealwrightError):
            yield path, read_root_answer(read_file(path, limit=FILE_LIMIT), root_id, installed.root)
