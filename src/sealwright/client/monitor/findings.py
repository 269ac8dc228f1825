"""What a look found: one line for each check and subject, figures, and how bad the worst of it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import Any, Final

from sealwright.errors import SealwrightError
from sealwright.statements.wire import format_time


class Level(IntEnum):
    OK = 0
    WARNING = 1
    ALARM = 2

    @property
    def word(self) -> str:
        return self.name.lower()


EXIT_CODES: Final = {Level.OK: 0, Level.WARNING: 20, Level.ALARM: 21}
"""Beside those of ``errors``, which say that there was no look at all."""

CHECKS: Final = {
    "ledger-reachable": "the registry shows the ledger",
    "ledger-signature": "the checkpoint is signed by the ledger key of the officers' roster, over these very entries",
    "ledger-rollback": "the ledger goes on from where it was at the last look",
    "roster-expiry": "the roster in force has weeks left",
    "ca-certificate": "the CA certificates that are served are this PKI's",
    "ca-expiry": "the CA certificates have a year left",
    "crl-reachable": "each CRL that a certificate names is served",
    "crl-signature": "each CRL is signed by its CA",
    "crl-fresh": "each CRL is for now, and has time left",
    "crl-rollback": "no CRL is older than one seen before, and no number has two CRLs",
    "crl-ledger": "each CRL is in the ledger, and lists what the ledger revoked, and nothing else",
    "ocsp-reachable": "the OCSP responder answers for what was issued",
    "ocsp-signature": "each answer is for what was asked, signed by the responder of the officers' roster",
    "ocsp-fresh": "each answer is for now, and has time left",
    "ocsp-rollback": "no answer is older than one seen before, and none went from revoked to good",
    "ocsp-ledger": "each answer says what the ledger says",
    "ocsp-unissued": "a serial that was never issued is answered as unauthorized",
    "responder-expiry": "the responder's certificate has days left",
    "certificate-expiry": "no certificate that is in use ends soon",
}


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    level: Level
    subject: str
    text: str


@dataclass(slots=True)
class Report:
    """``figures``: metric name -> (labels, value), for Prometheus."""

    url: str
    pki: str
    at: datetime
    findings: list[Finding] = field(default_factory=list)
    figures: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def add(self, check: str, level: Level, subject: str, text: str) -> None:
        if check not in CHECKS:
            raise KeyError(check)
        self.findings.append(Finding(check, level, subject, text))

    def ok(self, check: str, subject: str, text: str) -> None:
        self.add(check, Level.OK, subject, text)

    def warn(self, check: str, subject: str, text: str) -> None:
        self.add(check, Level.WARNING, subject, text)

    def alarm(self, check: str, subject: str, text: str) -> None:
        self.add(check, Level.ALARM, subject, text)

    def figure(self, name: str, value: float, **labels: str) -> None:
        self.figures.append((name, labels, value))

    @contextmanager
    def alarmed(self, check: str, subject: str) -> Iterator[None]:
        """What is raised inside is an alarm of this check, and goes no further."""
        try:
            yield
        except SealwrightError as error:
            self.alarm(check, subject, str(error))

    @property
    def level(self) -> Level:
        return max((each.level for each in self.findings), default=Level.OK)

    def level_of(self, check: str) -> Level | None:
        """None when it was not tried."""
        return max((each.level for each in self.findings if each.check == check), default=None)

    def to_json(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "pki": self.pki,
            "at": format_time(self.at),
            "state": self.level.word,
            "checks": [
                {"check": each.check, "state": each.level.word, "subject": each.subject, "text": each.text}
                for each in self.findings
            ],
            "figures": [{"name": name, "labels": labels, "value": value} for name, labels, value in self.figures],
        }
