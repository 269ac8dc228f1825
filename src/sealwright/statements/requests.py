"""Requests, judged on what they contain and on the roster.

  REQ-PERSON REQ-ROLE REQ-TEAM REQ-PROJECT REQ-PROFILE REQ-PROFILE-PIN REQ-EMERGENCY, those of ``key_places``, and
  CS-CSR-... of ``pki``

Whether enough people agreed is ``orders``' to check, and when it may be issued.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509

from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.approval import ApprovalRule
from sealwright.pki.profiles import CertificateProfile, ProfileKind
from sealwright.pki.requests import CertificateRequest, check_csr_names, parse_csr
from sealwright.pki.settings import PKISettings
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.key_places import KeyPlace, check_place
from sealwright.statements.kinds import RequestStatement, Role
from sealwright.statements.people import Person
from sealwright.statements.proof import Proven
from sealwright.statements.quorum import Signer
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh import SSHPublicKey
from sealwright.statements.wire import decode_base64

_PROOF: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRequest(Proven):
    made_by = _PROOF

    signed: SignedStatement
    request: RequestStatement
    requester: Person
    key: SSHPublicKey
    """The key that signed the request."""
    profile: CertificateProfile
    csr: CertificateRequest
    subject: x509.Name
    san_uri: str
    place: KeyPlace
    """Where the key lives, as far as it is known."""

    @property
    def team(self) -> str:
        return self.request.team

    @property
    def project(self) -> str:
        return self.request.project

    @property
    def sha256(self) -> str:
        """The digest that decisions pin."""
        return self.signed.sha256

    @property
    def signer(self) -> Signer:
        return signer_of(self.requester, self.key)

    @property
    def approval(self) -> ApprovalRule:
        """Whose word the profile wants for it."""
        people = self.profile.people
        return people.emergency if self.request.emergency and people.emergency else people.of(self.team).approval


def verify_request(
    signed: SignedStatement,
    *,
    roster: VerifiedRoster,
    profiles: Mapping[str, CertificateProfile],
    settings: PKISettings,
    rehearsal: bool,
    now: datetime,
) -> VerifiedRequest:
    """Judge a request. ``profiles`` and ``settings`` are those that ``roster`` pins.

    Raises ``InputError`` when it or its CSR cannot be read, ``PolicyViolation`` when a rule refuses it.
    """
    request = check_statement(signed, RequestStatement, pki_id=roster.pki_id, now=now)
    roster.check_in_force(now)
    requester = find_person(roster, request.person, "REQ-PERSON")
    key = check_signer(signed, request, requester.keys)
    roster.check_not_suspended(request)
    check_role(requester, (Role.REQUESTER, Role.MACHINE), "REQ-ROLE")
    check_team(requester, request.team, "REQ-TEAM")
    if request.project not in roster.projects.get(request.team, ()):
        raise PolicyViolation(
            f"team {request.team!r} has no project {request.project!r}",
            rule="REQ-PROJECT",
            hint="`sealwright roster show` lists teams and projects",
        )
    profile = _check_profile(request, roster, profiles)
    der = decode_base64(request.csr)
    csr = parse_csr(der)
    if csr.der != der:
        raise InputError("CSR-FORMAT: a request embeds the CSR's DER, and nothing around it")
    subject = profile.subject(settings, team=request.team, project=request.project, rehearsal=rehearsal)
    san_uri = profile.san_uri(settings, request.team, request.project)
    check_csr_names(csr, subject, san_uri)
    _check_emergency(request, requester, profile)
    return VerifiedRequest(
        signed=signed,
        request=request,
        requester=requester,
        key=key,
        profile=profile,
        csr=csr,
        subject=subject,
        san_uri=san_uri,
        place=check_place(request, csr.public_key, profile=profile, roster=roster, now=now),
        proof=_PROOF,
    )


def _check_profile(
    request: RequestStatement, roster: VerifiedRoster, profiles: Mapping[str, CertificateProfile]
) -> CertificateProfile:
    profile = profiles.get(request.profile)
    if profile is None or profile.kind is not ProfileKind.CODE_SIGNING:
        offered = sorted(name for name, each in profiles.items() if each.kind is ProfileKind.CODE_SIGNING)
        raise PolicyViolation(
            f"there is no code-signing profile {request.profile!r}; wanted one of {', '.join(offered) or 'none'}",
            rule="REQ-PROFILE",
        )
    pinned = roster.profile_pins.get(f"profiles/{profile.name}.toml")
    if not request.profile_sha256 == profile.sha256 == pinned:
        raise PolicyViolation(
            f"request is for profile {profile.name!r} with digest {request.profile_sha256[:16]}…;"
            f" in force is {profile.sha256[:16]}…, pinned is {(pinned or 'none')[:16]}",
            rule="REQ-PROFILE-PIN",
            hint="the profile was changed: make a new request",
        )
    return profile


def _check_emergency(request: RequestStatement, requester: Person, profile: CertificateProfile) -> None:
    if not request.emergency:
        return
    if profile.people.emergency is None:
        raise PolicyViolation(f"profile {profile.name!r} has no emergency path", rule="REQ-EMERGENCY")
    if Role.MACHINE in requester.roles:
        raise PolicyViolation(
            f"{requester.name!r} is a machine, and an emergency is a person's to see", rule="REQ-EMERGENCY"
        )


def check_role(person: Person, roles: tuple[Role, ...], rule: str) -> None:
    """Raises ``PolicyViolation`` unless the person has one of ``roles``."""
    if not person.roles.intersection(roles):
        raise PolicyViolation(f"{person.name!r} is no {roles[0]}", rule=rule, hint="the officers give roles")


def check_team(person: Person, team: str, rule: str) -> None:
    if team not in person.teams:
        raise PolicyViolation(
            f"{person.name!r} is not in team {team!r}", rule=rule, hint="the officers say who is in which team"
        )


def find_person(roster: VerifiedRoster, name: str, rule: str) -> Person:
    """Raises ``PolicyViolation`` when nobody of this name is among the people."""
    person = roster.people.get(name)
    if person is None:
        raise PolicyViolation(
            f"nobody called {name!r} is on roster {roster.version}",
            rule=rule,
            hint="`sealwright roster show` lists people",
        )
    return person


def signer_of(person: Person, key: SSHPublicKey) -> Signer:
    """For the arithmetic of ``quorum``."""
    return Signer(person.name, key.identity, frozenset(each.identity for each in person.keys), person.groups)
