"""``ca/profiles/*.toml``: certificate profiles are data, and this is how they are read.

A profile narrows its kind's column of ``table``; one that would widen it is refused when it is loaded. What is on the
wire of a certificate is ``drafts``'; whether the roster pins this very file is ``statements``'.
"""

import hashlib
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal

from cryptography import x509
from pydantic import Field, RootModel

from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.approval import (
    ApprovalPolicy,
    ApprovalRule,
    BlackoutTable,
    Count,
    EmergencyTable,
    Groups,
    TeamRule,
    TeamTable,
    draft_policy,
)
from sealwright.pki.keys import KeyKind, describe_kinds
from sealwright.pki.names import build_subject
from sealwright.pki.settings import Identifier, PKISettings, Text
from sealwright.pki.table import TABLE, KindTable, ProfileKind
from sealwright.pki.tomlfile import Table, parse_toml

__all__ = ["CertificateProfile", "ProfileKind", "load_profile", "load_profiles"]


class _Common(Table):
    name: Identifier
    keys: tuple[KeyKind, ...]
    validity_days: Annotated[int, Field(ge=1)]


class _Root(_Common):
    kind: Literal["root"]


class _IssuingCA(_Common):
    kind: Literal["issuing-ca"]


class _CrossRoot(_Common):
    kind: Literal["cross-root"]


class _CodeSigning(_Common):
    kind: Literal["code-signing"]
    common_name: Text
    software_keys: bool
    attested_keys: bool
    attestation_roots: tuple[Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")], ...]
    approvals: Count
    live_certificates: Annotated[int, Field(ge=0)]
    renewal_window_days: Annotated[int, Field(ge=0)]
    renewed_by: Literal["team", "holder"]
    renewal_approval: bool
    crl_partitions: Annotated[int, Field(ge=0, le=512)] = 0
    groups: Groups = Field(default_factory=dict)
    teams: dict[Identifier, TeamTable] = Field(default_factory=dict)
    emergency: EmergencyTable | None = None
    blackouts: tuple[BlackoutTable, ...] = ()


_PLAIN: Final = (
    "common_name",
    "software_keys",
    "attested_keys",
    "attestation_roots",
    "renewal_window_days",
    "renewed_by",
    "renewal_approval",
    "crl_partitions",
)


class _OCSPResponder(_Common):
    kind: Literal["ocsp-responder"]


class _RootOCSP(_Common):
    kind: Literal["root-ocsp"]


class _ProfileFile(
    RootModel[
        Annotated[
            _Root | _IssuingCA | _CrossRoot | _CodeSigning | _OCSPResponder | _RootOCSP, Field(discriminator="kind")
        ]
    ]
):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateProfile:
    """A profile, checked. ``sha256`` is the digest of its file, as requests and the roster name it.

    What stands below ``validity_days`` is for code signing.
    """

    name: str
    kind: ProfileKind
    keys: tuple[KeyKind, ...]
    validity_days: int
    common_name: str = ""
    software_keys: bool = False
    attested_keys: bool = False
    attestation_roots: tuple[str, ...] = ()
    """SHA-256 of the roots whose attestations count."""
    renewal_window_days: int = 0
    renewed_by: Literal["team", "holder"] = "team"
    renewal_approval: bool = True
    """False: the same key and subject, inside the window, need no fresh approval."""
    crl_partitions: int = 0
    """Into how many CRLs its certificates are divided; 0: they are on the full list alone."""
    policy: ApprovalPolicy | None = None
    sha256: str

    @property
    def people(self) -> ApprovalPolicy:
        """Whose word is wanted. Only a code-signing profile has it."""
        if self.policy is None:
            raise InputError(f"profile {self.name} is not for code signing: nobody approves it")
        return self.policy

    @property
    def table(self) -> KindTable:
        """The column of the certificate table that this profile narrows."""
        return TABLE[self.kind]

    def subject(self, settings: PKISettings, team: str = "", project: str = "", *, rehearsal: bool) -> x509.Name:
        """The whole subject of a code-signing certificate: nothing in it is the requester's to choose.

        CAs and responders get theirs from ``names.ca_subject`` and ``names.responder_subject``.
        """
        if self.kind is not ProfileKind.CODE_SIGNING:
            raise InputError(f"profile {self.name} is not for code signing: its subject follows from ca/pki.toml")
        common_name = self.common_name.format(organisation=settings.organisation.name, team=team, project=project)
        return build_subject(settings, common_name, rehearsal=rehearsal)

    def san_uri(self, settings: PKISettings, team: str, project: str) -> str:
        """The one SAN of a code-signing certificate."""
        return settings.san_uri(team, project)


def load_profile(data: bytes, *, source: str) -> CertificateProfile:
    """Read one profile. InputError: not the right fields; PolicyViolation: weaker than its kind's column."""
    file = parse_toml(data, _ProfileFile, source=source).root
    kind = ProfileKind(file.kind)
    _check_keys(file.keys, TABLE[kind], source)
    _check_validity(file.validity_days, TABLE[kind], source)
    own: dict[str, Any] = {}
    if isinstance(file, _CodeSigning):
        _check_code_signing(file, source)
        own = {name: getattr(file, name) for name in _PLAIN}
        everybody = TeamRule(ApprovalRule(file.approvals, file.groups), file.live_certificates)
        own["policy"] = draft_policy(source, everybody, file.teams, file.emergency, file.blackouts)
    return CertificateProfile(
        name=file.name,
        kind=kind,
        keys=file.keys,
        validity_days=file.validity_days,
        sha256=hashlib.sha256(data).hexdigest(),
        **own,
    )


def load_profiles(files: Mapping[str, bytes]) -> dict[str, CertificateProfile]:
    """All profiles of a folder by name, from file name -> bytes. A file must be called as its profile is."""
    profiles = {}
    for path, data in sorted(files.items()):
        profile = load_profile(data, source=path)
        if PurePosixPath(path).name != f"{profile.name}.toml":
            raise InputError(f"{path}: name is {profile.name!r}; wanted the file's own")
        profiles[profile.name] = profile
    return profiles


def _check_keys(keys: tuple[KeyKind, ...], table: KindTable, source: str) -> None:
    if not keys or len(set(keys)) != len(keys) or not set(keys) <= set(table.keys):
        raise PolicyViolation(
            f"{source}: keys are {describe_kinds(keys) or 'none'}; "
            f"{table.kind} wants one or more, each once, of {describe_kinds(table.keys)}",
            rule="PROFILE-KEYS",
        )


def _check_validity(days: int, table: KindTable, source: str) -> None:
    if days > table.longest_days:
        raise PolicyViolation(
            f"{source}: validity_days is {days}; {table.kind} wants at most {table.longest_days}",
            rule="PROFILE-VALIDITY",
        )


def _check_code_signing(file: _CodeSigning, source: str) -> None:
    if file.attested_keys and (file.software_keys or not file.attestation_roots):
        raise PolicyViolation(
            f"{source}: attested_keys is true, with software_keys {str(file.software_keys).lower()} and"
            f" {len(file.attestation_roots)} attestation_roots; wanted no software keys and at least one root",
            rule="PROFILE-KEY-LOCATION",
        )
    if file.renewal_window_days > file.validity_days:
        raise PolicyViolation(
            f"{source}: renewal_window_days is {file.renewal_window_days}; "
            f"wanted at most the {file.validity_days} days of validity",
            rule="PROFILE-RENEWAL",
        )
    if file.crl_partitions == 1:
        raise PolicyViolation(
            f"{source}: crl_partitions is 1; wanted 0 (the full list) or 2 and more",
            rule="PROFILE-PARTITIONS",
        )
    _check_template(file.common_name, source)


def _check_template(template: str, source: str) -> None:
    try:
        parts = tuple(string.Formatter().parse(template))
    except ValueError:
        parts = ()
    fields = [field for _, field, _, _ in parts if field is not None]
    plain = all(not spec and conversion is None for _, _, spec, conversion in parts)
    if not plain or not {"team", "project"} <= set(fields) <= {"organisation", "team", "project"}:
        # Without both in it, two teams could hold certificates with the same name.
        raise PolicyViolation(
            f"{source}: common_name is {template!r}; wanted text with {{team}} and {{project}}, "
            "perhaps {organisation}, and no other braces",
            rule="PROFILE-SUBJECT",
        )
