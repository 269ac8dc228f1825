"""Signatures of one roster are gathered until the officers' quorum; the real signer has the last word."""

import hashlib
from typing import Any

import pytest

from office import Office
from sealwright.errors import PolicyViolation
from sealwright.ledger.entries import PolicyEntry, parse_entry
from sealwright.registration.rosters import PROPOSAL_LIMIT, proposals, publish_roster, roster_chain
from world import new_person


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


def naming(office: Office, name: str, **changes: Any) -> dict[str, Any]:
    """Roster 2, with one more officer."""
    officers = [*office.world.roster()["officers"], {"name": name, "key": office.world.people[name].key}]
    return office.world.roster(2, officers=officers, **changes)


def test_a_stranger_who_names_himself_an_officer_fills_no_place(office: Office) -> None:
    for _ in range(PROPOSAL_LIMIT):
        with pytest.raises(PolicyViolation) as caught:
            publish_roster(office.registry, office.sign({**naming(office, "stranger"), "person": "stranger"}))
        assert caught.value.rule == "ROSTER-QUORUM"
    assert proposals(office.registry) == ()
    assert "1 (olga)" in publish_roster(office.registry, office.sign(office.world.roster(2), "olga")).waiting
    assert len(proposals(office.registry)) == 1


def test_a_new_officer_signs_what_one_in_force_has_signed(office: Office) -> None:
    office.world.people["vera"] = new_person(office.world.installed.folder, "vera")
    statement = naming(office, "vera", threshold=3)
    with pytest.raises(PolicyViolation, match="nobody"):
        publish_roster(office.registry, office.sign(statement, "vera"))
    publish_roster(office.registry, office.sign(statement, "olga"))
    publish_roster(office.registry, office.sign(statement, "vera"))
    assert publish_roster(office.registry, office.sign(statement, "omar")).in_force


def test_of_each_key_one_signature_is_kept_the_newest(office: Office) -> None:
    """ECDSA signs anew each time: who signs often fills no proposal."""
    office.world.people["vera"] = new_person(office.world.installed.folder, "vera", "ecdsa")
    statement = naming(office, "vera")
    publish_roster(office.registry, office.sign(statement, "olga", *["vera"] * 25))
    last = office.sign(statement, *["vera"] * 25)
    assert publish_roster(office.registry, last).signatures == 2
    (kept,) = proposals(office.registry)
    assert kept.signatures[1] == last.signatures[-1]


def test_a_signature_that_is_none_takes_no_good_ones_place(empty: Office) -> None:
    statement = empty.world.roster()
    good = empty.sign(statement, "olga")
    publish_roster(empty.registry, good)
    of_another = empty.sign({**statement, "threshold": 3}, "olga")
    for bad in ("garbage", *of_another.signatures):
        with pytest.raises(PolicyViolation) as caught:
            publish_roster(empty.registry, good.model_copy(update={"signatures": (bad,)}))
        assert caught.value.rule == "STMT-SIGNATURE"
    assert proposals(empty.registry) == (good,)


def test_a_row_that_cannot_be_read_hides_no_other_and_can_be_signed_again(
    empty: Office, caplog: pytest.LogCaptureFixture
) -> None:
    broken, good = (empty.sign(empty.world.roster(), "olga") for _ in range(2))
    for each in (broken, good):
        publish_roster(empty.registry, each)
    with empty.registry.database.writing() as tx:
        row = tx.find_roster(broken.sha256)
        assert row is not None
        row.document = "{}"
    assert proposals(empty.registry) == (good,)
    assert f"roster {broken.sha256} cannot be read" in caplog.text
    assert publish_roster(empty.registry, broken).signatures == 1
    assert len(proposals(empty.registry)) == 2


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
