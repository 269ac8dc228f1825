"""What officers are shown before they sign a roster: every key, and every word that differs from the one in force."""

from collections.abc import Callable
from typing import Any

import pytest

from cast import Cast
from sealwright.client.roster_changes import list_changes, list_officers, list_people
from sealwright.statements.kinds import RosterStatement, parse_statement
from sealwright.statements.ssh_keys import parse_public_key

CAST = Cast()


def roster(**changes: Any) -> RosterStatement:
    statement = parse_statement(CAST.roster(**changes))
    assert isinstance(statement, RosterStatement)
    return statement


def fingerprint(name: str) -> str:
    return parse_public_key(CAST.keys[name].line).fingerprint


def changed(change: Callable[[dict[str, Any]], None]) -> tuple[str, ...]:
    value = CAST.roster(2)
    change(value)
    after = parse_statement(value)
    assert isinstance(after, RosterStatement)
    return list_changes(roster(), after)


def test_every_key_is_shown() -> None:
    shown = " ".join(
        each for things in (list_officers(roster()), list_people(roster())) for each in map(str, things.values())
    )
    for each in (*roster().officers, *roster().people):
        assert fingerprint(each.name) in shown


def test_the_next_version_by_another_officer_changes_nothing() -> None:
    assert changed(lambda value: value.update(person="omar")) == ()


def swap_a_key(value: dict[str, Any]) -> None:
    value["people"][1]["keys"] = [CAST.keys["stranger"].line]


def add_a_key(value: dict[str, Any]) -> None:
    value["people"][1]["keys"].append(CAST.keys["stranger"].line)


def swap_an_officer(value: dict[str, Any]) -> None:
    value["officers"][0]["key"] = CAST.keys["stranger"].line


def add_a_person(value: dict[str, Any]) -> None:
    value["people"].append({**value["people"][0], "name": "eve", "keys": [CAST.keys["stranger"].line]})


def give_a_role(value: dict[str, Any]) -> None:
    value["people"][0]["roles"] = ["requester", "approver"]


def give_a_group(value: dict[str, Any]) -> None:
    value["people"][0]["groups"] = ["release"]


def take_a_person(value: dict[str, Any]) -> None:
    del value["people"][1]


def add_a_project(value: dict[str, Any]) -> None:
    value["teams"][0]["projects"] = ["terminal", "wallet"]


def repin(value: dict[str, Any]) -> None:
    value["pins"]["policy.md"] = "0" * 64


def unpin(value: dict[str, Any]) -> None:
    del value["pins"]["profiles/code-signing-release.toml"]


def lower_the_threshold(value: dict[str, Any]) -> None:
    value["threshold"] = 3


def another_ca(value: dict[str, Any]) -> None:
    value["authority"]["issuing_sha256"] = "c" * 64


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (swap_a_key, "person bob: keys was ssh-ed25519 {bob}, is ssh-ed25519 {stranger}"),
        (add_a_key, "person bob: keys was ssh-ed25519 {bob}, is ssh-ed25519 {bob}, ssh-ed25519 {stranger}"),
        (swap_an_officer, "officer olga: key was ssh-ed25519 {olga}, is ssh-ed25519 {stranger}"),
        (add_a_person, "person eve is new: roles requester; teams payments; groups none; keys ssh-ed25519 {stranger}"),
        (give_a_role, "person alice: roles was requester, is requester, approver"),
        (give_a_group, "person alice: groups was none, is release"),
        (take_a_person, "person bob is gone: roles approver; teams payments; groups none; keys ssh-ed25519 {bob}"),
        (add_a_project, "team payments: projects was terminal, is terminal, wallet"),
        (repin, "pin policy.md: SHA-256 was {policy}, is " + "0" * 64),
        (unpin, "pin profiles/code-signing-release.toml is gone: SHA-256 {release}"),
        (lower_the_threshold, "threshold was 2, is 3"),
        (another_ca, "issuing CA was " + "b" * 64 + ", is " + "c" * 64),
    ],
)
def test_a_change_is_one_line_that_says_what_was_and_what_is(
    change: Callable[[dict[str, Any]], None], said: str
) -> None:
    names = {name: fingerprint(name) for name in ("olga", "bob", "stranger")}
    pins = roster().pins
    kept = {"policy": pins["policy.md"], "release": pins["profiles/code-signing-release.toml"]}
    assert changed(change) == (said.format(**names, **kept),)


def test_every_field_that_officers_decide_is_compared() -> None:
    """A field that is added to the statement has to be added to what is shown."""
    decided = set(RosterStatement.model_fields) - {"kind", "id", "person", "issued_at", "expires_at", "version"}
    assert decided == {"pki", "officers", "threshold", "people", "teams", "pins", "authority"}
