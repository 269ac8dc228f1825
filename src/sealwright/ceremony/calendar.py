"""``calendar``: what must happen when, from the records of what was done and the rules of what may be done.

Each duty has a last moment, after which something stops working or may no longer be done, and a moment to begin, early
enough to fail once and try again. Nothing here reads the clock. How a calendar program reads it is ``icalendar``'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from cryptography import x509

from sealwright.ceremony.answers import ANSWERS, DELEGATE, parse_answers
from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.kinds import NEW
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import Register, RegisteredCertificate, parse_register
from sealwright.ceremony.script import Kind
from sealwright.errors import InputError, IntegrityError
from sealwright.pki.profiles import CertificateProfile
from sealwright.pki.rules_validity import ANSWER_YEARS, ISSUE_YEARS, add_years
from sealwright.pki.table import TABLE, ProfileKind
from sealwright.statements.anchor import Anchor, load_anchor
from sealwright.statements.kinds import RosterStatement, namespace_of
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh import parse_signature

CRL_LEAD, CA_LEAD, ROOT_LEAD, ROSTER_LEAD = (timedelta(days=days) for days in (60, 90, 365, 14))
"""How long before the last moment a duty begins: people have to be found, and a rehearsal comes first."""

ANSWERS_TIME = timedelta(hours=24)
"""From the revocation of a CA to answers that say so (CSBR 4.9.10)."""

_RESPONDER_LEAD = timedelta(days=2)

State = Literal["late", "now", "later"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """``key`` names it from one calendar to the next. ``begin`` and ``last``: from when, and until when."""

    key: str
    what: str
    why: str
    begin: datetime
    last: datetime
    ceremonies: tuple[str, ...] = ()

    def state(self, now: datetime) -> State:
        return "late" if now >= self.last else "now" if now >= self.begin else "later"

    def to_json(self, now: datetime) -> dict[str, Any]:
        return {
            "key": self.key,
            "what": self.what,
            "why": self.why,
            "begin": format_time(self.begin),
            "last": format_time(self.last),
            "state": self.state(now),
            "ceremonies": list(self.ceremonies),
        }


@dataclass(frozen=True, slots=True)
class Calendar:
    """``version`` grows with every root ceremony. ``unknown``: what could not be looked at, and how to show it."""

    anchor: Anchor
    version: int
    duties: tuple[Duty, ...]
    unknown: tuple[str, ...]


def make_calendar(
    records: Sequence[CeremonyRecord],
    *,
    profiles: Sequence[CertificateProfile] = (),
    roster: SignedStatement | None = None,
    responder: x509.Certificate | None = None,
) -> Calendar:
    """From replayed records: root-genesis, and whatever came after it; the newest register counts.

    Raises ``InputError`` without a root-genesis record or with records of two roots, ``IntegrityError`` for a roster
    that its officers did not sign.
    """
    genesis = next((record for record in records if record.kind is Kind.ROOT_GENESIS), None)
    if genesis is None:
        raise InputError("no root-genesis record was named", hint="every calendar begins with the root's own record")
    anchor, root = load_anchor(genesis.read("anchor.json")), x509.load_pem_x509_certificate(genesis.read("root.pem"))
    register = max(_registers(records, anchor), key=lambda one: one.version)
    if register.destroyed is not None:
        ended = f"nothing: the root's key was destroyed on {register.destroyed}; its last CRL, number "
        until = f"{register.crl.number}, is served until {register.crl.next_update}"
        return Calendar(anchor, register.version, (), (ended + until,))
    duties = [_crl(register), *_issuing(register, profiles), *_root(root, profiles)]
    unknown = []
    issuing = [each for each in register.certificates if each.kind == "issuing-ca"]
    if not issuing:
        unknown.append("no issuing CA is in the newest register: name the issuing-ca record, if there was one")
    elif all(each.revoked for each in issuing):
        unknown.append("every issuing CA is revoked: nothing is issued until issuing-key and issuing-ca make a new one")
    answers = _newest_answers(records)
    if answers is not None:
        duties += _answers(answers, register)
    elif register.delegates:
        unknown.append("when the root's OCSP answers end: name the newest ocsp-delegate record")
    if roster is None:
        unknown.append("when the roster expires, and which officer's key was not used: name it with --roster")
    else:
        duties += roster_duties(roster, anchor)
    if responder is None:
        unknown.append("when the OCSP responder's certificate expires: name it with --responder")
    else:
        duties.append(_responder(responder))
    return Calendar(
        anchor, register.version, tuple(sorted(duties, key=lambda one: (one.last, one.key))), tuple(unknown)
    )


def _registers(records: Sequence[CeremonyRecord], anchor: Anchor) -> Iterator[Register]:
    """This root's own. A rollover's record has one of each root, and one of them is."""
    for record in records:
        names = [name for name in ("register.json", f"{NEW}register.json") if name in record.outputs]
        own = [one for one in map(parse_register, map(record.read, names)) if one.root.sha256 == anchor.root_sha256]
        if names and not own:
            raise InputError("the records are of two roots", hint="one calendar is of one PKI")
        yield from own


def _crl(register: Register) -> Duty:
    last = parse_time(register.crl.next_update, "register.json")
    return Duty(
        key="root-crl",
        what=f"The root's CRL number {register.crl.number + 1}",
        why="the CRL in force ends: verifiers then refuse the issuing CA, and everything under it",
        begin=last - CRL_LEAD,
        last=last,
        ceremonies=(Kind.ROOT_CRL,),
    )


def _issuing(register: Register, profiles: Sequence[CertificateProfile]) -> Iterator[Duty]:
    unrevoked = [each for each in register.certificates if each.revoked is None]
    yield from (_cross(each) for each in unrevoked if each.kind == "cross-root")
    living = [each for each in unrevoked if each.kind == "issuing-ca"]
    if not living:
        return
    newest = max(living, key=lambda one: one.not_before)
    last = last_issuance(newest, _longest(profiles, ProfileKind.CODE_SIGNING))
    yield Duty(
        key="issuing-ca",
        what=f"A new issuing CA takes over from {newest.subject}",
        why=f"it may sign for code no longer: CA-ISSUE-WINDOW ({ISSUE_YEARS} years), and CA-OUTLIVES-ANSWERS "
        f"(its answers have to outlive its last certificate by {ANSWER_YEARS} years)",
        begin=last - CA_LEAD,
        last=last,
        ceremonies=(Kind.ISSUING_KEY, Kind.ISSUING_CA_RENEWAL),
    )
    for each in living:
        end = parse_time(each.not_after, "register.json")
        yield Duty(
            key=f"issuing-ca-ends-{each.serial}",
            what=f"The issuing CA {each.subject} (serial {each.serial}) ends",
            why="nothing that it signed is answered for any more; its key can be destroyed",
            begin=end - CA_LEAD,
            last=end,
        )


def _cross(entry: RegisteredCertificate) -> Duty:
    end = parse_time(entry.not_after, "register.json")
    return Duty(
        key=f"cross-root-ends-{entry.serial}",
        what=f"The certificate of {entry.subject} by this root (serial {entry.serial}) ends",
        why="whoever trusts this root alone builds no path any more to what the other one issued",
        begin=end - ROOT_LEAD,
        last=end,
    )


def last_issuance(ca: RegisteredCertificate, longest_days: int) -> datetime:
    """The moment from which this issuing CA may not sign a code-signing certificate of ``longest_days``."""
    first, end = (parse_time(text, "register.json") for text in (ca.not_before, ca.not_after))
    window = add_years(first, ISSUE_YEARS)
    leaf_end = add_years(end, -ANSWER_YEARS)
    if add_years(leaf_end, ANSWER_YEARS) > end:  # the CA's last day is a 29 February
        leaf_end -= timedelta(days=1)
    return min(window, leaf_end - timedelta(days=longest_days))


def _root(root: x509.Certificate, profiles: Sequence[CertificateProfile]) -> Iterator[Duty]:
    end = root.not_valid_after_utc
    last = end - timedelta(days=_longest(profiles, ProfileKind.ISSUING_CA))
    yield Duty(
        key="root",
        what=f"A new root takes over from {root.subject.rfc4514_string()}",
        why="an issuing CA of full length no longer fits into the root's validity (CA-NESTING)",
        begin=last - ROOT_LEAD,
        last=last,
        ceremonies=(Kind.ROOT_GENESIS, Kind.ROOT_ROLLOVER),
    )
    yield Duty(
        key="root-ends",
        what=f"The root {root.subject.rfc4514_string()} ends",
        why="no path is built from it any more",
        begin=end - ROOT_LEAD,
        last=end,
    )


def _newest_answers(records: Sequence[CeremonyRecord]) -> CeremonyRecord | None:
    told = [record for record in records if record.kind is Kind.OCSP_DELEGATE]
    return max(told, key=lambda one: parse_register(one.read("register.json")).version, default=None)


def _answers(record: CeremonyRecord, register: Register) -> Iterator[Duty]:
    """The root's OCSP answers, and whether they still say what its CRL says; and the delegate that signed them."""
    answers = parse_answers(record.read(ANSWERS))
    last = min(parse_time(each.next_update, ANSWERS) for each in answers)
    begin, why = last - CRL_LEAD, "the answers in force end with the CRL that they repeat"
    said = {(each.serial, each.revocation_date) for each in answers}
    unsaid = {(each.serial, each.revoked and each.revoked.date) for each in register.certificates} - said
    if unsaid:
        begin = parse_time(register.crl.this_update, "register.json")
        why = f"nothing true is answered for {', '.join(sorted(serial for serial, _ in unsaid))} since CRL number "
        why += f"{register.crl.number} or its certificate (CSBR 4.9.10: 24 hours after a revocation)"
    if any(date is not None for _, date in unsaid):
        last = begin + ANSWERS_TIME
    yield Duty(
        key="root-answers",
        what="New OCSP answers of the root for its CA certificates",
        why=why,
        begin=begin,
        last=last,
        ceremonies=(Kind.ROOT_CRL, Kind.OCSP_DELEGATE) if not unsaid else (Kind.OCSP_DELEGATE,),
    )
    delegate = x509.load_pem_x509_certificate(record.read(DELEGATE))
    end = delegate.not_valid_after_utc
    yield Duty(
        key=f"ocsp-delegate-ends-{delegate.serial_number:x}",
        what=f"The root's OCSP delegate {delegate.subject.rfc4514_string()} ends",
        why="nothing that it signed is believed any more; its key is gone since its ceremony",
        begin=end - CRL_LEAD,
        last=end,
    )


def _longest(profiles: Sequence[CertificateProfile], kind: ProfileKind) -> int:
    """Days. Of the profiles that were named, or what the certificate table allows."""
    own = [profile.validity_days for profile in profiles if profile.kind is kind]
    return max(own) if own else TABLE[kind].longest_days


def roster_duties(signed: SignedStatement, anchor: Anchor) -> Iterator[Duty]:
    """The next roster, and of every officer who did not sign this one, a sign of life of the key."""
    roster = signed.content
    if not isinstance(roster, RosterStatement):
        raise InputError(f"this is a {roster.kind}; wanted a roster")
    if roster.pki != anchor.pki_id:
        raise InputError(f"the roster is of the PKI {roster.pki}; the records are of {anchor.pki_id}")
    signers = _signers(signed)
    idle = [each.name for each in roster.officers if each.key not in signers]
    if len(roster.officers) - len(idle) < roster.threshold:
        raise IntegrityError(
            f"roster {roster.version} is signed by {len(roster.officers) - len(idle)} of its officers; "
            f"wanted {roster.threshold}"
        )
    last = roster.expires_at
    yield Duty(
        key="roster",
        what=f"Roster {roster.version + 1}, signed by {roster.threshold} officers",
        why="the roster in force expires: nothing is issued without one",
        begin=last - ROSTER_LEAD,
        last=last,
    )
    for name in idle:
        yield Duty(
            key=f"officer-{name}",
            what=f"The officer {name} signs the next roster",
            why=f"{name} has not signed roster {roster.version}: a key that was lost is noticed by using it",
            begin=last - ROSTER_LEAD,
            last=last,
        )


def _signers(signed: SignedStatement) -> frozenset[str]:
    """The key lines whose signatures on this roster verify."""
    lines = set()
    for armored in signed.signatures:
        signature = parse_signature(armored)
        if signature.namespace != namespace_of("roster"):
            raise IntegrityError(f"a signature on the roster was made for {signature.namespace!r}")
        signature.verify(signed.statement_bytes)
        lines.add(signature.key.line)
    return frozenset(lines)


def _responder(certificate: x509.Certificate) -> Duty:
    last = certificate.not_valid_after_utc
    return Duty(
        key="responder",
        what="Look at presign: the OCSP responder's certificate was not renewed",
        why="presign renews it by itself, days before; without it no answer verifies",
        begin=last - _RESPONDER_LEAD,
        last=last,
    )


def read_certificate(data: bytes, source: str) -> x509.Certificate:
    """PEM or DER. Raises ``InputError``."""
    try:
        if data.lstrip().startswith(b"-----"):
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError as error:
        raise InputError(f"{source} is not a certificate: {error}") from None
