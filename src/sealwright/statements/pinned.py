"""Settings and profiles, read only from bytes that a verified roster pins.

Where the bytes come from (a folder, the registry) is the caller's; nothing is believed of them before their digests
are the roster's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sealwright.errors import PolicyViolation
from sealwright.pki.profiles import CertificateProfile, load_profiles
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.statements.kinds import Role
from sealwright.statements.people import Person
from sealwright.statements.roster import VerifiedRoster

SETTINGS_FILE = "pki.toml"
PROFILES = "profiles/"


@dataclass(frozen=True, slots=True)
class PinnedPolicy:
    """What may be issued, as the officers signed for it."""

    settings: PKISettings
    profiles: Mapping[str, CertificateProfile]


def read_policy(files: Mapping[str, bytes], roster: VerifiedRoster) -> PinnedPolicy:
    """``files`` as relative name -> bytes. Raises ``PolicyViolation`` (ROSTER-PIN) naming the file that differs."""
    roster.check_pins(files)
    profiles = load_profiles({name: data for name, data in files.items() if name.startswith(PROFILES)})
    check_people(profiles.values(), roster.people.values(), roster.projects)
    return PinnedPolicy(settings=load_settings(files[SETTINGS_FILE], source=SETTINGS_FILE), profiles=profiles)


def check_people(profiles: Iterable[CertificateProfile], people: Iterable[Person], teams: Iterable[str]) -> None:
    """POLICY-TEAM, POLICY-GROUP: the profiles name teams and groups that the roster has, with people enough in them."""
    people, teams = tuple(people), frozenset(teams)
    for policy, name in ((each.policy, each.name) for each in profiles):
        if policy is None:
            continue
        unknown = sorted(policy.teams.keys() - teams)
        if unknown:
            raise PolicyViolation(
                f"profile {name!r} has a table for team {unknown[0]!r}, which the roster does not have",
                rule="POLICY-TEAM",
            )
        for group, wanted in policy.groups.items():
            there = sum(group in person.groups and Role.APPROVER in person.roles for person in people)
            if there < wanted:
                raise PolicyViolation(
                    f"profile {name!r} wants {wanted} approver(s) of group {group!r}; the roster has {there}",
                    rule="POLICY-GROUP",
                    hint="nobody could approve: change the profile, or give people of the roster that group",
                )
