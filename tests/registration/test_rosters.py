"""Signatures of one roster are gathered until the officers' quorum; the real signer has the last word."""

import hashlib

import pytest

from office import Office
from sealwright.errors import PolicyViolation
from sealwright.ledger.entries import PolicyEntry, parse_entry
from sealwright.registration.rosters import proposals, publish_roster, roster_chain


def test_a_quorum_puts_a_roster_in_force(empty: Office) -> None:
    standing = publish_roster(empty.registry, empty.sign(empty.world.roster(), "olga", "omar"))
    assert (standing.version, standing.in_force) == (1, True)
    assert empty.registry.last_roster().version == 1


def test_signatures_may_come_one_by_one(empty: Office) -> None:
    statement = empty.world.roster()
    first = publish_roster(empty.registry, empty.sign(statement, "olga"))
    assert not first.in_force
    assert "1 (olga)" in first.waiting
    assert [each.sha256 for each in proposals(empty.registry)] == [first.sha256]
    second = publish_roster(empty.registry, empty.sign(statement, "odile"))
    assert (second.in_force, second.signatures) == (True, 2)
    assert proposals(empty.registry) == ()


def test_one_officer_twice_is_no_quorum(empty: Office) -> None:
    statement = empty.world.roster()
    for _ in range(2):
        assert not publish_roster(empty.registry, empty.sign(statement, "olga")).in_force


def test_a_signature_by_no_officer_is_refused_and_not_kept(empty: Office) -> None:
    with pytest.raises(PolicyViolation) as caught:
        publish_roster(empty.registry, empty.sign(empty.world.roster(), "olga", "mallory"))
    assert caught.value.rule == "STMT-SIGNER"
    assert proposals(empty.registry) == ()


def test_an_old_roster_is_refused(office: Office) -> None:
    with pytest.raises(PolicyViolation) as caught:
        publish_roster(office.registry, office.sign(office.world.roster(version=1), "olga", "omar"))
    assert caught.value.rule == "ROSTER-VERSION"


def test_a_version_is_never_skipped(office: Office) -> None:
    with pytest.raises(PolicyViolation) as caught:
        publish_roster(office.registry, office.sign(office.world.roster(version=3), "olga", "omar"))
    assert caught.value.rule == "ROSTER-VERSION"


def test_the_chain_is_kept_from_the_first_one_on(office: Office) -> None:
    publish_roster(office.registry, office.sign(office.world.roster(version=2), "omar", "odile"))
    assert [each.statement["version"] for each in roster_chain(office.registry)] == [1, 2]
    assert office.registry.last_roster().version == 2


def test_a_roster_for_another_authority_is_refused_by_the_signer(empty: Office) -> None:
    statement = empty.world.roster()
    statement["authority"] = {**statement["authority"], "issuing_sha256": "0" * 64}
    with pytest.raises(PolicyViolation) as caught:
        publish_roster(empty.registry, empty.sign(statement, "olga", "omar"))
    assert caught.value.rule == "ROSTER-AUTHORITY"


def test_the_files_that_a_roster_pins_are_in_the_ledger_once(office: Office) -> None:
    assert office.world.authority is not None
    ledger = office.world.authority.ledger
    files = office.world.installed.pinned_files()

    def recorded() -> list[tuple[str, str]]:
        entries = [parse_entry(data) for data in ledger.iterate()]
        return [(each.name, each.sha256) for each in entries if isinstance(each, PolicyEntry) and each.part == 1]

    assert recorded() == [(name, hashlib.sha256(data).hexdigest()) for name, data in files.items()]
    second = office.world.roster(2)
    publish_roster(office.registry, office.sign(second, "olga", "omar"))
    assert len(recorded()) == len(files)
