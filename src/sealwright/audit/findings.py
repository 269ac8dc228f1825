"""What an audit says: claim by claim how often it was tried, every problem with its place, and what it cannot know."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from sealwright.errors import PolicyViolation, SealwrightError

CLAIMS: Final[Mapping[str, str]] = {
    "AUDIT-FILES": "the export has every file that its checkpoint asks for, and no other",
    "AUDIT-ANCHOR": "anchor.json is the one whose SHA-256 is the PKI id",
    "AUDIT-CA": "the root is the anchor's, the issuing CA is under it, and every roster names it, or what it renewed",
    "AUDIT-GENESIS": "anchor and root came out of the root ceremony, replayed",
    "AUDIT-CHECKPOINT": "the ledger key that the officers signed for signed the root of exactly these entries",
    "AUDIT-TILES": "every hash tile is that of the entries",
    "AUDIT-CONSISTENCY": "the ledger continues the one of the earlier checkpoint",
    "AUDIT-ENTRY": "every entry reads strictly as one of the kinds",
    "AUDIT-TIME": "the signer's time never went back",
    "AUDIT-START": "every start was of this PKI, in its mode",
    "AUDIT-ROSTER": "every roster carries the thresholds before it and of its own, from the anchor on, without a gap",
    "AUDIT-POLICY": "every file that a roster pins is recorded, with the digest that it pins",
    "AUDIT-INTENT": "every serial was reserved once, for a certificate that the profile in force allows",
    "AUDIT-ORDER": "every request and its approvals were signed by those whom the roster in force allowed",
    "AUDIT-USE": "every request has one certificate, or none once denied; every key is one team's and not compromised",
    "AUDIT-DENIAL": "every denial was signed by who might, of a request without a certificate; none stands twice",
    "AUDIT-CERTIFICATE": "every certificate is the reserved one, signed by the issuing CA",
    "AUDIT-RESPONDER": "responder certificates are for the pinned OCSP key only",
    "AUDIT-REVOCATION": "every revocation was ordered by who may, or closes what a crash left open; none twice",
    "AUDIT-LOSS": "every declared loss carries the officers' threshold, at its place, and what it revokes is revoked",
    "AUDIT-CRL": "CRL numbers strictly increase, and every CRL follows its reservation",
    "AUDIT-REFUSAL": "every refusal names its rule and what it refused",
}


_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
)
"""What the decoders raise for bytes that are none of theirs."""


@dataclass(frozen=True, slots=True)
class Problem:
    """``where`` is a file of the export or "entry N"."""

    claim: str
    where: str
    message: str
    rule: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}{f' [{self.rule}]' if self.rule else ''}"


@dataclass(slots=True)
class Findings:
    pki: str
    size: int = 0
    checkpoint: str = ""
    """The signed note, once it is verified."""
    tried: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    cannot_know: list[str] = field(default_factory=list)
    declared: list[str] = field(default_factory=list)
    """What officers declared lost: no problem, and nothing to be passed over."""

    def check(self, claim: str, where: str) -> "_Check":
        """For ``with``: what is raised inside is a problem of this claim, at this place, and goes no further."""
        self.tried[claim] += 1
        return _Check(self, claim, where)

    @property
    def is_sound(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {
            "sound": self.is_sound,
            "pki": self.pki,
            "ledger_entries": self.size,
            "claims": [
                {
                    "claim": claim,
                    "says": says,
                    "tried": self.tried[claim],
                    "problems": sum(each.claim == claim for each in self.problems),
                }
                for claim, says in CLAIMS.items()
                if self.tried[claim]
            ],
            "problems": [
                {"claim": each.claim, "where": each.where, "message": each.message, "rule": each.rule}
                for each in self.problems
            ],
            "cannot_know": self.cannot_know,
            "declared": self.declared,
        }


@dataclass(frozen=True, slots=True)
class _Check:
    findings: Findings
    claim: str
    where: str

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        rule = error.rule if isinstance(error, PolicyViolation) else ""
        if isinstance(error, SealwrightError):
            message = error.message
        elif isinstance(error, _UNREADABLE):
            message = f"it cannot be read: {error}"
        else:
            return False
        self.findings.problems.append(Problem(self.claim, self.where, message, rule))
        return True
