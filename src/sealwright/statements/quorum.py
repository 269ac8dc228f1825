"""The arithmetic of dual control, on persons, keys and groups alone. Pure, and small enough to be read in one go.

  ORDER-SELF         no approver is the requester
  ORDER-SELF-KEY     no approver holds the requester's key
  ORDER-SAME-PERSON  no two approvals by one person
  ORDER-SAME-KEY     no two approvals by one key
  ORDER-QUORUM       as many approvals as the profile wants
  ORDER-GROUP        and as many from each group as it wants, each person counted for one

A verified roster gives each key to one person already. The keys are counted again here, so that dual control does not
rest on that alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from sealwright.errors import PolicyViolation
from sealwright.pki.approval import ApprovalRule


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed, and with which keys this person could have: ``keys`` are identities of bare public keys."""

    person: str
    key: str
    keys: frozenset[str]
    groups: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.key not in self.keys:
            raise ValueError(f"{self.person} signed with a key of somebody else")


def check_not_self(requester: Signer, approver: Signer) -> None:
    """Raises ``PolicyViolation`` when the approver is the requester, by name or by any key."""
    if approver.person == requester.person:
        raise PolicyViolation(
            f"{approver.person!r} made this request and cannot decide it",
            rule="ORDER-SELF",
            hint="ask another approver of the team; `sealwright withdraw` takes it back",
        )
    if approver.keys & requester.keys:
        raise PolicyViolation(
            f"{approver.person!r} and {requester.person!r} hold the same key",
            rule="ORDER-SELF-KEY",
            hint="a key belongs to one human being: the officers have to mend the roster",
        )


def check_distinct(requester: Signer, approvers: Sequence[Signer]) -> None:
    """Raises ``PolicyViolation`` unless all are others than the requester, distinct by person and by key."""
    persons: set[str] = set()
    keys: set[str] = set()
    for approver in approvers:
        check_not_self(requester, approver)
        if approver.person in persons:
            raise PolicyViolation(f"{approver.person!r} approved twice", rule="ORDER-SAME-PERSON")
        if approver.keys & keys:
            raise PolicyViolation(f"{approver.person!r} approved with a key already counted", rule="ORDER-SAME-KEY")
        persons.add(approver.person)
        keys |= approver.keys


def check_quorum(requester: Signer, approvers: Sequence[Signer], rule: ApprovalRule) -> None:
    """Raises ``PolicyViolation`` unless as many others as ``rule`` wants, and from its groups, approved."""
    if rule.approvals < 1:
        raise ValueError("a quorum of nobody is no quorum")
    check_distinct(requester, approvers)
    missing = missing_approvals(approvers, rule)
    if missing:
        raise PolicyViolation(
            f"{len(approvers)} of {rule} approvals are there; missing: {', '.join(missing)}",
            rule="ORDER-QUORUM" if len(approvers) < rule.approvals else "ORDER-GROUP",
            hint="another approver of the team, or of that group, has to say yes with `sealwright approve`",
        )


def missing_approvals(approvers: Sequence[Signer], rule: ApprovalRule) -> tuple[str, ...]:
    """In words, what is still wanted; nothing when it is enough.

    By Hall's theorem people can be given to the groups, each to one, when every set of groups has enough of them.
    """
    missing = []
    for size in range(1, len(rule.groups) + 1):
        for groups in combinations(sorted(rule.groups), size):
            wanted = sum(rule.groups[group] for group in groups)
            there = sum(bool(approver.groups.intersection(groups)) for approver in approvers)
            if there < wanted:
                missing.append(f"{wanted - there} of group {' or '.join(groups)}")
        if missing:
            break
    short = rule.approvals - len(approvers)
    return (*((f"{short} in all",) if short > 0 else ()), *missing)
