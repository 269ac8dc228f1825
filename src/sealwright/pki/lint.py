"""The gate in front of every CA signature: our rules, weak keys, then pkilint. Only here is a LintedDraft made.

Everything is asked of the draft's copy, whose TBS bytes are those that will be signed. A finding is a refusal: there
is no way to override one, and pkilint's count from WARNING on. What may be *asked for* was settled before.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from cryptography import x509

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki.candidate import Candidate
from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import check_key_strength
from sealwright.pki.profiles import CertificateProfile, ProfileKind
from sealwright.pki.rules import RULES
from sealwright.pki.verdicts import Question, Verdict

if TYPE_CHECKING:
    from sealwright.pki.pkilint_parts import PartByPart

_MADE_HERE = object()

PKILINT_ALLOWED: Mapping[ProfileKind, Mapping[str, str]] = {
    ProfileKind.ROOT: {
        # pkilint excuses only self-signed certificates, and the copy has no signature at all. RFC 5280 4.2.1.1
        # lets a self-signed one omit it; PKI-EXTENSIONS sees to it that nothing else does.
        "pkix.authority_key_identifier_extension_absent": "a root needs no AKI",
    }
}
"""Per kind, pkilint code -> why it may stand."""


class LintedDraft:
    """Proof that a draft passed the gate. ``lint_draft`` makes it; nobody else can, and it cannot be changed."""

    __slots__ = ("_draft",)
    _draft: CertificateDraft

    def __init__(self, draft: CertificateDraft, *, made_by: object) -> None:
        if made_by is not _MADE_HERE:
            raise TypeError("a LintedDraft comes from lint_draft only")
        object.__setattr__(self, "_draft", draft)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a LintedDraft does not change: {name}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LintedDraft does not leave the process that linted it")

    @property
    def draft(self) -> CertificateDraft:
        """What was linted."""
        return self._draft

    @property
    def tbs(self) -> bytes:
        """The bytes that were linted and will be signed."""
        return self._draft.tbs

    @property
    def profile(self) -> CertificateProfile:
        """The profile it was linted against."""
        return self._draft.profile

    @property
    def issuer(self) -> IssuerRecord | None:
        """Whose signature it waits for; None for a root."""
        return self._draft.issuer

    @property
    def certificate(self) -> x509.Certificate:
        """The copy, to show to people. It has no signature."""
        return self._draft.copy


def lint_draft(draft: CertificateDraft) -> LintedDraft:
    """Ask every rule. PolicyViolation with the id of the first that refuses, or PKILINT:code."""
    judge_draft(draft)
    return LintedDraft(draft, made_by=_MADE_HERE)


def judge_draft(draft: CertificateDraft) -> None:
    """Ask every rule, here. What it raises is what ``lint_draft`` raises."""
    candidate = Candidate(draft)
    for rule in RULES:
        rule.check(candidate)
    check_key_strength(draft.public_key)
    _check_pkilint(candidate)


def accept_verdict(question: Question, verdict: Verdict) -> LintedDraft:
    """What ``judge_draft`` found of this very draft in a process that this one started, and asked itself.

    Raises as ``lint_draft`` does, and ``IntegrityError`` when the verdict is on anything else, were it one octet.
    """
    if verdict.digest != question.digest:
        raise IntegrityError("a linter judged another draft than it was asked about")
    if verdict.rule:
        raise PolicyViolation(verdict.message, rule=verdict.rule, hint=verdict.hint)
    return LintedDraft(question.draft, made_by=_MADE_HERE)


# --- pkilint as a library: what `lint_pkix_cert lint -s WARNING` runs, its validators built once (3 ms a certificate).


@dataclass(frozen=True, slots=True)
class Finding:
    """What pkilint says: its code, its severity by name, where in the document, and its message."""

    code: str
    severity: str
    where: str
    message: str


def check_findings(subject: str, findings: Iterable[Finding], allowed: Collection[str] = ()) -> None:
    """Raise PolicyViolation PKILINT:code for the first finding that is not allowed by name."""
    for finding in findings:
        if finding.code not in allowed:
            said = f": {finding.message}" if finding.message else ""
            raise PolicyViolation(
                f"{subject}: pkilint says {finding.severity} at {finding.where}{said}", rule=f"PKILINT:{finding.code}"
            )


def pkilint_findings(container: Any, document: Any) -> tuple[Finding, ...]:
    """WARNING and above that ``container``, a pkilint validator, finds in ``document``, which is of no use after it."""
    from pkilint.validation import ValidationFindingSeverity

    from sealwright.pki.pkilint_walk import take_apart, walk

    results: list[Any] = []
    walk(container, document.root, results)
    findings = tuple(
        Finding(each.finding.code, each.finding.severity.name, str(result.node.path), each.message or "")
        for result in results
        for each in result.finding_descriptions
        if each.finding.severity <= ValidationFindingSeverity.WARNING
    )
    take_apart(document.root)
    return findings


def load_pkilint() -> None:
    """Half a second that otherwise the first draft waits for."""
    _part_by_part()


def _check_pkilint(candidate: Candidate) -> None:
    from pkilint import loader

    if candidate.parts is not None and _part_by_part().passes(candidate.der, candidate.parts):
        return
    try:
        document = loader.load_der_certificate(candidate.der, "copy")
    except ValueError as error:
        raise PolicyViolation(f"certificate: pkilint cannot read it: {error}", rule="PKILINT:unreadable") from error
    findings = pkilint_findings(_certificate_validators(), document)
    profile = candidate.draft.profile
    check_findings(f"certificate of profile {profile.name}", findings, PKILINT_ALLOWED.get(profile.kind, {}))


@cache
def _part_by_part() -> "PartByPart":
    from sealwright.pki.pkilint_parts import PartByPart

    return PartByPart(_certificate_validators())


@cache
def _certificate_validators() -> Any:
    # As pkilint/bin/lint_pkix_cert.py builds them. Imported when first used: pkilint takes half a second to load.
    from pkilint.pkix import certificate, extension, name

    from sealwright.pki.pkilint_walk import with_memory

    decoding = certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS)
    return certificate.create_pkix_certificate_validator_container(
        with_memory(decoding),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
