"""What may enter the snapshot: each answer, CRL and certificate is judged as if an enemy had written the database.

The trust is the installed CA certificates, nothing that came with the row. Checks signature, responder, CertID, times
and agreement with the row; ``sync`` compares with what is served already.
"""

import functools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ocsp

from sealwright.errors import IntegrityError, SealwrightError, StorageError
from sealwright.installed import Installed
from sealwright.pki import der
from sealwright.pki.crl import RevocationEntry, RevocationReason, read_crl
from sealwright.pki.crl_scope import scope_of_crl, scope_of_path
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    assemble_answer,
    cert_id,
    draft_ocsp_answer,
)
from sealwright.pki.ocsp_rules import CA_MAXIMUM_VALIDITY, MAXIMUM_VALIDITY, check_answer
from sealwright.pki.revocation import END_ENTITY_REASONS
from sealwright.pki.serials import parse_serial
from sealwright.pki.settings import PKISettings
from sealwright.pki.signatures import verify_bytes
from sealwright.store.publication import GOOD, REVOKED, AnswerRow, PublishedAnswer, PublishedObject

_TIME_OCTETS: Final = 17
"""A GeneralizedTime with tag and length. The archive cutoff's is the last of a ResponseData."""

CLOCK_SKEW = timedelta(seconds=60)
"""How far ahead presign's clock may be."""


class NotYet(IntegrityError):
    """Nothing is wrong with it, but it is of the future: a clock is. ``at``: from when it may be let in."""

    def __init__(self, what: str, this_update: datetime, now: datetime) -> None:
        super().__init__(f"{what} is of the future: thisUpdate {this_update}, now {now}")
        self.at = this_update - CLOCK_SKEW


class Acceptance:
    """Raises ``IntegrityError`` or ``PolicyViolation`` for what is not to be served; ``NotYet`` if later it may be."""

    def __init__(self, installed: Installed, settings: PKISettings) -> None:
        self.root_id = settings.root.id
        own = {settings.root.id: installed.root, settings.issuing.id: installed.issuing}
        self._cas = load_former(installed) | own
        # A responder certificate is verified once, not at each of its answers.
        self._template: Callable[[str, bytes], AnswerTemplate] = functools.lru_cache(maxsize=64)(self._make_template)
        self._hashes = functools.lru_cache(maxsize=64)(self._make_hashes)

    def hashes(self, ca_id: str, form: CertIDForm) -> tuple[bytes, bytes]:
        """A CA's name and key hash, as a CertID of this form has them."""
        return self._hashes(ca_id, form)

    def check_answer(self, row: PublishedAnswer | AnswerRow, now: datetime) -> None:
        """The answer in ``row`` is what the row says, signed by a responder of its CA, and valid now."""
        if not self._is_as_we_write_it(row):
            self._check_foreign(row)
        if not row.this_update <= row.refresh_at <= row.next_update:
            raise IntegrityError(f"answer is to be refreshed outside its time: at {row.refresh_at}")
        if row.this_update > now + CLOCK_SKEW:
            raise NotYet("answer", row.this_update, now)
        if row.next_update <= now:
            raise IntegrityError(f"answer is over: nextUpdate {row.next_update}, now {now}")

    def _is_as_we_write_it(self, row: PublishedAnswer | AnswerRow) -> bool:
        """The bytes are, one for one, what ``pki.ocsp`` writes for such a row, and signed. A third of the cost of
        reading them; what is not so is read, and judged by the rules."""
        try:
            parts = split_answer(row.der)
            template = self._template(row.ca_id, parts.responder)
            serial, cutoff = parse_serial(row.serial), _read_time(parts.tbs[-_TIME_OCTETS:])
            revoked = _revocation(row, serial)
            if cutoff is None or cutoff > row.this_update or row.status not in (GOOD, REVOKED):
                return False
            draft = draft_ocsp_answer(
                template,
                CertIDForm(row.form),
                CertificateStatus(serial, revoked),
                this_update=row.this_update,
                next_update=row.next_update,
                archive_cutoff=cutoff,
            )
        except (ValueError, SealwrightError):
            return False
        responder, is_ca = template.responder, row.ca_id == self.root_id
        is_regular = (
            draft.tbs == parts.tbs
            and assemble_answer(template, parts.tbs, parts.signature) == row.der
            and row.this_update
            < row.next_update
            <= row.this_update + (CA_MAXIMUM_VALIDITY if is_ca else MAXIMUM_VALIDITY)
            and responder.not_valid_before_utc <= row.this_update
            and row.next_update <= responder.not_valid_after_utc
            and (
                revoked is None
                or (
                    revoked.revocation_date <= row.this_update
                    and (is_ca or revoked.reason is None or revoked.reason in END_ENTITY_REASONS)
                )
            )
        )
        if is_regular:
            verify_bytes(template.public_key, template.scheme, parts.tbs, parts.signature)
        return is_regular

    def _check_foreign(self, row: PublishedAnswer | AnswerRow) -> None:
        try:
            form = CertIDForm(row.form)
            serial = parse_serial(row.serial)
            read = ocsp.load_der_ocsp_response(row.der)
            (responder,) = read.certificates
            algorithm = read.signature_hash_algorithm
        except (ValueError, SealwrightError, UnsupportedAlgorithm) as error:
            raise IntegrityError(f"answer cannot be read: {error}") from error
        template = self._template(row.ca_id, responder.public_bytes(Encoding.DER))
        verify_bytes(template.public_key, template.scheme, read.tbs_response_bytes, read.signature)
        if row.status not in (GOOD, REVOKED) or algorithm is None:
            raise IntegrityError(f"answer has status {row.status!r}")
        check_answer(
            row.der,
            responder=responder,
            form=form,
            hashes=self.hashes(row.ca_id, form),
            serial=serial,
            revoked=_revocation(row, serial),
            of_ca=row.ca_id == self.root_id,
        )
        if (row.this_update, row.next_update) != (read.this_update_utc, read.next_update_utc):
            raise IntegrityError("answer has other times than its row")

    def check_object(self, row: PublishedObject, now: datetime) -> None:
        """The file under ``row.path`` is one that belongs there."""
        for ca_id, ca in self._cas.items():
            scope = scope_of_path(row.path, ca_id)
            if scope is not None:
                return self._check_crl(row, ca, now, scope)
            match row.path:
                case path if path == f"/ca/{ca_id}.cer":
                    _check_timeless(row)
                    if row.body != ca.public_bytes(Encoding.DER) or row.content_type != "application/pkix-cert":
                        raise IntegrityError("it is not the CA's certificate")
                    return None
                case path if path == f"/ca/{ca_id}.p7c":
                    _check_timeless(row)
                    if row.content_type != "application/pkcs7-mime" or not _holds_only(row.body, ca):
                        raise IntegrityError("it does not hold the CA's certificate, and that alone")
                    return None
                case _:
                    continue
        raise IntegrityError("nothing is served under this path")

    def _check_crl(self, row: PublishedObject, ca: x509.Certificate, now: datetime, scope: str) -> None:
        crl, number = read_crl(row.body, ca)
        if scope_of_crl(crl) != scope:
            raise IntegrityError("CRL is another partition than its path says, or the full list in its place")
        if (f"{number:x}", row.content_type) != (row.number, "application/pkix-crl"):
            raise IntegrityError("CRL has another number or type than its row")
        this_update, next_update, refresh_at = crl.last_update_utc, crl.next_update_utc, row.refresh_at
        if (row.this_update, row.next_update) != (this_update, next_update):
            raise IntegrityError("CRL has other times than its row")
        if next_update is None or refresh_at is None or not this_update <= refresh_at <= next_update:
            raise IntegrityError(f"CRL is to be refreshed outside its time: at {refresh_at}")
        if this_update > now + CLOCK_SKEW:
            raise NotYet("CRL", this_update, now)

    def _make_template(self, ca_id: str, responder: bytes) -> AnswerTemplate:
        try:
            certificate = x509.load_der_x509_certificate(responder)
        except x509.InvalidVersion as error:  # pyca's own, and no ValueError
            raise IntegrityError(f"the responder's certificate cannot be read: {error}") from error
        return AnswerTemplate.of(self._issuer(ca_id), certificate)

    def _make_hashes(self, ca_id: str, form: CertIDForm) -> tuple[bytes, bytes]:
        return cert_id(form, self._issuer(ca_id))

    def _issuer(self, ca_id: str) -> x509.Certificate:
        issuer = self._cas.get(ca_id)
        if issuer is None:
            raise IntegrityError(f"there is no CA {ca_id!r} here")
        return issuer


# It says the same thousands of times.
_read_time = functools.lru_cache(maxsize=256)(der.read_generalized_time)


class AnswerParts(NamedTuple):
    """DER of the parts of a successful OCSPResponse; ``responder`` is the one certificate that it carries."""

    tbs: bytes
    signature: bytes
    responder: bytes


def load_former(installed: Installed) -> dict[str, x509.Certificate]:
    """Issuing CAs before the present one, by their ids: ``former/ID.pem``. Answers for what they issued go on.

    ``IntegrityError`` when one was not issued by the root.
    """
    found = {}
    for path in sorted((installed.folder / "former").glob("*.pem")):
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            certificate.verify_directly_issued_by(installed.root)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise IntegrityError(
                f"{path} is no certificate that the root issued", hint="take it from the ceremony's record"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error
        found[path.stem] = certificate
    return found


def split_answer(answer: bytes) -> AnswerParts:
    """Without a decoder, of what ``assemble_answer`` put together; whether it did is for the caller to compare.

    Raises InputError when these parts are not found.
    """
    at, end = der.read(answer, 0, len(answer), der.SEQUENCE)
    _, at = der.read(answer, at, end, der.ENUMERATED)
    at, end = der.read(answer, at, end, der.context(0))
    at, end = der.read(answer, at, end, der.SEQUENCE)
    _, at = der.read(answer, at, end, der.OID)
    at, end = der.read(answer, at, end, der.OCTET_STRING)
    start, end = der.read(answer, at, end, der.SEQUENCE)
    _, stop = der.read(answer, start, end, der.SEQUENCE)
    _, at = der.read(answer, stop, end, der.SEQUENCE)
    bits, at = der.read(answer, at, end, der.BIT_STRING)
    certificates, _ = der.read(answer, at, end, der.context(0))
    first, end = der.read(answer, certificates, end, der.SEQUENCE)
    _, last = der.read(answer, first, end, der.SEQUENCE)
    return AnswerParts(answer[start:stop], answer[bits + 1 : at], answer[first:last])


def _revocation(row: PublishedAnswer | AnswerRow, serial: int) -> RevocationEntry | None:
    if row.status == GOOD:
        return None
    if row.revocation_date is None:
        raise IntegrityError("revoked answer without a date")
    try:
        reason = None if row.reason is None else RevocationReason(row.reason)
    except ValueError as error:
        raise IntegrityError(f"answer has reason {row.reason!r}") from error
    return RevocationEntry(parse_serial(f"{serial:x}"), row.revocation_date, reason)


def _check_timeless(row: PublishedObject) -> None:
    if any(each is not None for each in (row.number, row.this_update, row.next_update, row.refresh_at)):
        raise IntegrityError("a certificate's row has a number or a time")


def _holds_only(body: bytes, ca: x509.Certificate) -> bool:
    try:
        return pkcs7.load_der_pkcs7_certificates(body) == [ca]
    except (ValueError, UnsupportedAlgorithm):
        return False
