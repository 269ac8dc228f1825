"""The responder certificate: found in the ledger, or asked of the signer, and renewed before it ends.

The signer issues it under the standing order and only for the OCSP key that installation pinned. While the signer is
away, the certificate there is serves to its end.
"""

import base64
import binascii
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509

from sealwright.errors import IntegrityError, NotReady, SealwrightError
from sealwright.pki.keys import PublicKey, spki_sha256
from sealwright.pki.ocsp import AnswerTemplate

log = logging.getLogger("sealwright.presign")

FIRST_RETRY, LAST_RETRY = timedelta(seconds=1), timedelta(minutes=5)
"""How soon the signer is asked again after it did not help: twice as long each time, for it may record its refusals."""


class Responder:
    """``ask_signer`` is the channel's ``responder-certificate`` call."""

    def __init__(self, issuer: x509.Certificate, own_key: PublicKey, ask_signer: Callable[[], dict[str, Any]]) -> None:
        self._issuer, self._own_key, self._ask_signer = issuer, own_key, ask_signer
        self._template: AnswerTemplate | None = None
        self._ask_again: datetime | None = None
        self._retry = FIRST_RETRY
        self._said = ""

    def template(self, seen: Sequence[x509.Certificate], renew_before: timedelta, now: datetime) -> AnswerTemplate:
        """The template of the best certificate there is. ``seen``: those of the ledger, the newest last.

        Raises ``NotReady`` (or what the signer said) when there is none that is valid now.
        """
        newest = next((each for each in reversed(seen) if self._is_own(each)), None)
        if newest is not None and (self._template is None or newest != self._template.responder):
            self._take(newest)
        if not self._lasts(now, renew_before) and (self._ask_again is None or now >= self._ask_again):
            self._renew(now)
        if self._template is None or not self._lasts(now, timedelta(0)):
            raise NotReady("there is no valid OCSP responder certificate", hint=self._said or "is the signer running?")
        return self._template

    def ask_soon(self) -> None:
        """Something changed (a new roster) that may change the signer's mind."""
        self._ask_again, self._retry = None, FIRST_RETRY

    def _renew(self, now: datetime) -> None:
        self._ask_again = now + self._retry
        self._retry = min(2 * self._retry, LAST_RETRY)
        try:
            reply = self._ask_signer()
            certificate = x509.load_der_x509_certificate(base64.b64decode(reply["certificate"], validate=True))
            if not self._is_own(certificate):
                raise IntegrityError("the signer's responder certificate is for another key than this OCSP token's")
            self._take(certificate)
            self._retry, self._said = FIRST_RETRY, ""
        except (SealwrightError, KeyError, TypeError, ValueError, binascii.Error) as error:
            if str(error) != self._said:
                log.warning("no new responder certificate: %s", error)
            self._said = str(error)

    def _take(self, certificate: x509.Certificate) -> None:
        if self._template is None or certificate.not_valid_after_utc > self._template.responder.not_valid_after_utc:
            self._template = AnswerTemplate.of(self._issuer, certificate)
            log.info("responder certificate %x until %s", certificate.serial_number, certificate.not_valid_after_utc)

    def _lasts(self, now: datetime, margin: timedelta) -> bool:
        return self._template is not None and self._template.responder.not_valid_after_utc - now > margin

    def _is_own(self, certificate: x509.Certificate) -> bool:
        public: Any = certificate.public_key()
        return spki_sha256(public) == spki_sha256(self._own_key)
