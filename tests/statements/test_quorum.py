"""Dual control as arithmetic, on names and keys alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwright.errors import PolicyViolation
from sealwright.pki.approval import ApprovalRule
from sealwright.statements.quorum import Signer, check_quorum, missing_approvals


def signer(person: str, *keys: str) -> Signer:
    return Signer(person, keys[0], frozenset(keys))


ALICE, BOB, CAROL = signer("alice", "k1", "k2"), signer("bob", "k3"), signer("carol", "k4", "k5")


def refused(rule: str, approvers: list[Signer], wanted: int = 1) -> None:
    with pytest.raises(PolicyViolation) as caught:
        check_quorum(ALICE, approvers, ApprovalRule(wanted))
    assert caught.value.rule == rule


def test_lets_one_other_person_approve() -> None:
    check_quorum(ALICE, [BOB], ApprovalRule(1))


def test_lets_more_approve_than_are_wanted() -> None:
    check_quorum(ALICE, [BOB, CAROL], ApprovalRule(1))


def test_order_self() -> None:
    refused("ORDER-SELF", [ALICE])
    refused("ORDER-SELF", [signer("alice", "k9")])
    refused("ORDER-SELF", [BOB, ALICE])


def test_order_self_key() -> None:
    refused("ORDER-SELF-KEY", [signer("bob", "k1")])
    refused("ORDER-SELF-KEY", [signer("bob", "k3", "k2")])


def test_order_same_person() -> None:
    refused("ORDER-SAME-PERSON", [BOB, BOB], 2)
    refused("ORDER-SAME-PERSON", [CAROL, signer("carol", "k9")], 2)


def test_order_same_key() -> None:
    refused("ORDER-SAME-KEY", [BOB, signer("dave", "k3")], 2)
    refused("ORDER-SAME-KEY", [CAROL, signer("dave", "k9", "k5")], 2)


def test_order_quorum() -> None:
    check_quorum(ALICE, [BOB, CAROL], ApprovalRule(2))
    refused("ORDER-QUORUM", [BOB], 2)
    refused("ORDER-QUORUM", [], 1)


def of(person: str, *groups: str) -> Signer:
    return Signer(person, person, frozenset({person}), frozenset(groups))


def test_order_group() -> None:
    rule = ApprovalRule(2, {"release": 1})
    with pytest.raises(PolicyViolation, match="missing: 1 of group release") as caught:
        check_quorum(ALICE, [of("bob"), of("carol")], rule)
    assert caught.value.rule == "ORDER-GROUP"
    with pytest.raises(PolicyViolation) as caught:
        check_quorum(ALICE, [of("carol", "release")], rule)
    assert caught.value.rule == "ORDER-QUORUM"
    check_quorum(ALICE, [of("bob"), of("carol", "release")], rule)


@pytest.mark.parametrize(
    ("approvers", "missing"),
    [
        ((), ("2 in all", "1 of group a", "1 of group b")),
        ((of("x", "a"),), ("1 in all", "1 of group b")),
        ((of("x", "a", "b"), of("y")), ("1 of group a or b",)),
        ((of("x", "a", "b"), of("y", "a")), ()),
        ((of("x", "a"), of("y", "a"), of("z", "b")), ()),
    ],
    ids=["nobody", "one", "one for two groups", "two who fit", "three"],
)
def test_a_person_counts_for_one_group(approvers: tuple[Signer, ...], missing: tuple[str, ...]) -> None:
    assert missing_approvals(approvers, ApprovalRule(2, {"a": 1, "b": 1})) == missing


def test_a_quorum_of_nobody_cannot_be_asked_for() -> None:
    for wanted in (0, -1):
        with pytest.raises(ValueError, match="nobody"):
            check_quorum(ALICE, [BOB], ApprovalRule(wanted))


def test_nobody_signs_with_a_key_of_somebody_else() -> None:
    with pytest.raises(ValueError, match="somebody else"):
        Signer("bob", "k1", frozenset({"k3"}))


people = st.builds(
    lambda person, keys: Signer(person, min(keys), frozenset(keys)),
    st.sampled_from("abcd"),
    st.sets(st.sampled_from("123456"), min_size=1, max_size=2),
)


@given(people, st.lists(people, max_size=4), st.integers(1, 3))
def test_passes_only_what_is_distinct_by_person_and_by_key(
    requester: Signer, approvers: list[Signer], wanted: int
) -> None:
    everybody = [requester, *approvers]
    persons = {each.person for each in everybody}
    keys = frozenset[str]().union(*(each.keys for each in everybody))
    good = (
        len(approvers) >= wanted
        and len(persons) == len(everybody)
        and len(keys) == sum(len(each.keys) for each in everybody)
    )
    try:
        check_quorum(requester, approvers, ApprovalRule(wanted))
    except PolicyViolation:
        assert not good
    else:
        assert good
