"""Rules about when: how validity is written, how long it may be, and what it must fit into."""

from datetime import datetime, timedelta

from sealwright.pki.candidate import BELOW_THE_ROOT, CODE_SIGNING, EVERY, Candidate, Rule
from sealwright.pki.table import ProfileKind

_SECOND = timedelta(seconds=1)  # validity is inclusive: the last second counts (RFC 5280 4.1.2.5)
ANSWER_YEARS = 10
"""How long the status of a code-signing certificate is answered after it expired (CSBR 4.9.7, 4.9.10)."""
ISSUE_YEARS = 3
"""How long an issuing CA issues."""


def add_years(moment: datetime, years: int) -> datetime:
    """The same moment of another year; 29 February becomes 1 March, never earlier than asked."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)


def _bounds(candidate: Candidate) -> tuple[datetime, datetime]:
    return candidate.certificate.not_valid_before_utc, candidate.certificate.not_valid_after_utc


def _length(candidate: Candidate) -> timedelta:
    first, last = _bounds(candidate)
    return last - first + _SECOND


def _encoding(candidate: Candidate) -> str | None:
    validity = candidate.second_reading("validity")
    for field in ("not_before", "not_after"):
        written, contents = validity[field].name, validity[field].chosen.contents
        wanted, octets = ("utc_time", 13) if validity[field].native.year < 2050 else ("general_time", 15)
        if written != wanted or len(contents) != octets or contents[-1:] != b"Z":
            return f"{field} is a {written} of {len(contents)} octets; wanted {wanted} with seconds and Z"
    return None


def _inclusive(candidate: Candidate) -> str | None:
    length = _length(candidate)
    if length > timedelta(0) and length % timedelta(days=1) == timedelta(0):
        return None
    return f"validity is {length}; wanted whole days: notAfter = notBefore + N days - 1 s"


def _within_profile(candidate: Candidate) -> str | None:
    days = candidate.draft.profile.validity_days
    length = _length(candidate)
    return None if length <= timedelta(days=days) else f"validity is {length}; the profile wants at most {days} days"


def _root(candidate: Candidate) -> str | None:
    return _within_years(candidate, 35)


def _issuing_ca(candidate: Candidate) -> str | None:
    return _within_years(candidate, 15)


def _within_years(candidate: Candidate, years: int) -> str | None:
    first, last = _bounds(candidate)
    return None if last < add_years(first, years) else f"notAfter is {last}; wanted at most {years} years"


def _code_signing(candidate: Candidate) -> str | None:
    return _within_days(candidate, 460)


def _responder(candidate: Candidate) -> str | None:
    return _within_days(candidate, 14)


def _root_ocsp(candidate: Candidate) -> str | None:
    return _within_days(candidate, 366)


def _within_days(candidate: Candidate, days: int) -> str | None:
    length = _length(candidate)
    return None if length <= timedelta(days=days) else f"validity is {length}; wanted at most {days} days"


def _nesting(candidate: Candidate) -> str | None:
    issuer = candidate.draft.issuer
    if issuer is None:
        return None
    (first, last), above = _bounds(candidate), issuer.certificate
    if above.not_valid_before_utc <= first and last <= above.not_valid_after_utc:
        return None
    return (
        f"validity is {first} to {last}; wanted it inside that of {issuer.ca_id}, "
        f"{above.not_valid_before_utc} to {above.not_valid_after_utc}"
    )


def _issue_window(candidate: Candidate) -> str | None:
    issuer, (first, _) = candidate.draft.issuer, _bounds(candidate)
    if issuer is None:
        return None
    end = add_years(issuer.certificate.not_valid_before_utc, ISSUE_YEARS)
    return None if first < end else f"notBefore is {first}; {issuer.ca_id} issues until {end} and then only answers"


def _outlives_answers(candidate: Candidate) -> str | None:
    issuer, (_, last) = candidate.draft.issuer, _bounds(candidate)
    if issuer is None:
        return None
    end = issuer.certificate.not_valid_after_utc
    if add_years(last, ANSWER_YEARS) <= end:
        return None
    return (
        f"notAfter is {last}; wanted it {ANSWER_YEARS} years before the end of {issuer.ca_id}, {end}, "
        "which must answer for it that long"
    )


def _kind(kind: ProfileKind) -> frozenset[ProfileKind]:
    return frozenset({kind})


VALIDITY_RULES = (
    Rule(
        "PKI-VALIDITY-ENCODING",
        "UTCTime through 2049, GeneralizedTime after; seconds, Z, no fractions",
        "RFC 5280 4.1.2.5",
        EVERY,
        _encoding,
    ),
    Rule(
        "PKI-VALIDITY-INCLUSIVE",
        "notAfter = notBefore + N days - 1 s",
        "RFC 5280 4.1.2.5, CSBR 6.3.2",
        EVERY,
        _inclusive,
    ),
    Rule(
        "ROOT-VALIDITY",
        "at most 35 years",
        "ours",
        frozenset({ProfileKind.ROOT, ProfileKind.CROSS_ROOT}),
        _root,
    ),
    Rule("CA-VALIDITY", "at most 15 years", "ours", _kind(ProfileKind.ISSUING_CA), _issuing_ca),
    Rule("CS-VALIDITY", "at most 460 days", "CSBR 6.3.2", CODE_SIGNING, _code_signing),
    Rule(
        "RESPONDER-VALIDITY",
        "at most 14 days",
        "RFC 6960 4.2.2.2.1; ours",
        _kind(ProfileKind.OCSP_RESPONDER),
        _responder,
    ),
    Rule(
        "ROOT-OCSP-VALIDITY",
        "at most 366 days: no longer than the answers it vouches for",
        "CSBR 4.9.10; ours",
        _kind(ProfileKind.ROOT_OCSP),
        _root_ocsp,
    ),
    Rule("PKI-VALIDITY-PROFILE", "not longer than the profile says", "ours", EVERY, _within_profile),
    Rule(
        "CA-NESTING",
        "inside the validity of the issuer",
        "ours; RFC 5280 6.1.3 for every moment",
        BELOW_THE_ROOT,
        _nesting,
    ),
    Rule(
        "CA-ISSUE-WINDOW",
        "an issuing CA issues for code signing in its first 3 years only",
        "ours",
        CODE_SIGNING,
        _issue_window,
    ),
    Rule(
        "CA-OUTLIVES-ANSWERS",
        "leaf.notAfter + 10 years <= issuing.notAfter",
        "CSBR 4.9.7, 4.9.10",
        CODE_SIGNING,
        _outlives_answers,
    ),
)
