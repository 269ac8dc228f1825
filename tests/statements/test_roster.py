"""Rosters: one passing and one failing case for each rule, and the chain from the anchor on."""

from datetime import timedelta
from typing import Any

import pytest

from cast import NOW, Cast, FIDOKey, pinned_files, ssh_key
from sealwright.errors import InputError, IntegrityError, NotFound, PolicyViolation
from sealwright.statements.anchor import Anchor, load_anchor
from sealwright.statements.kinds import OfficerEntry, Role
from sealwright.statements.roster import VerifiedRoster, check_roster, check_roster_chain
from sealwright.statements.signed import SignedStatement

CAST = Cast()


def check(signed: SignedStatement, previous: VerifiedRoster | None = None, now: Any = NOW) -> VerifiedRoster:
    return check_roster(signed, anchor=CAST.anchor, previous=previous, now=now)


def refused(rule: str, signed: SignedStatement, **options: Any) -> str:
    with pytest.raises(PolicyViolation) as caught:
        check(signed, **options)
    assert caught.value.rule == rule, caught.value
    return caught.value.message


def signed(*signers: str, **changes: Any) -> SignedStatement:
    return CAST.signed(CAST.roster(**changes), *(signers or ("olga", "omar")))


def person(name: str, *lines: str, roles: tuple[str, ...] = ("approver",), teams: tuple[str, ...] = ("games",)) -> Any:
    return {"name": name, "keys": list(lines), "roles": list(roles), "teams": list(teams), "groups": []}


def officers(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "key": ssh_key(label=name).line} for name in names]


def test_a_quorum_of_the_anchors_officers_makes_the_first_roster() -> None:
    roster = check(signed())
    assert roster.version == 1
    assert roster.person("alice").may(Role.REQUESTER, "payments")
    assert not roster.person("alice").may(Role.APPROVER, "payments")
    assert not roster.person("alice").may(Role.REQUESTER, "games")
    assert roster.projects["games"] == ("chess",)
    assert set(roster.profile_pins) == {name for name in pinned_files() if name.startswith("profiles/")}
    assert roster.ledger_key.public_bytes_raw() == CAST.ledger_key.public_key().public_bytes_raw()
    assert roster.officer("odile") is not None
    assert roster.officer("alice") is None
    with pytest.raises(NotFound, match="nobody called 'zoe'"):
        roster.person("zoe")


def test_nobody_else_makes_a_verified_roster() -> None:
    roster = check(signed())
    with pytest.raises(TypeError, match="only its check"):
        VerifiedRoster(
            signed=roster.signed,
            statement=roster.statement,
            officers=roster.officers,
            people=roster.people,
            projects=roster.projects,
            proof=object(),
        )


def test_roster_quorum_of_the_officers_in_force() -> None:
    check(signed("olga", "omar", "odile"))
    check(signed("omar", "odile"))
    assert "1 (olga)" in refused("ROSTER-QUORUM", signed("olga"))
    assert "1 (olga)" in refused("ROSTER-QUORUM", signed("olga", "olga")), "one officer twice is one officer"


def test_roster_signatures_of_strangers_are_refused_not_ignored() -> None:
    refused("STMT-SIGNER", signed("olga", "omar", "stranger"))
    refused("STMT-SIGNER", signed("olga", "alice"))


def test_roster_signature_over_another_draft() -> None:
    draft, other = CAST.roster(), CAST.roster()
    mixed = (*CAST.signed(draft, "olga").signatures, *CAST.signed(other, "omar").signatures)
    refused("STMT-SIGNATURE", SignedStatement(statement=draft, signatures=mixed))
    refused("STMT-NAMESPACE", CAST.signed(draft, "olga", "omar", namespace="login@sealwright.v1"))
    refused("STMT-SIGNATURE", SignedStatement(statement=draft, signatures=("nonsense",)))


def test_roster_version_is_exactly_the_next() -> None:
    first = check(signed())
    second = check(signed(version=2), previous=first)
    assert second.version == 2
    refused("ROSTER-VERSION", signed(version=2))
    refused("ROSTER-VERSION", signed(version=1), previous=first)
    refused("ROSTER-VERSION", signed(version=3), previous=first)
    refused("ROSTER-VERSION", signed(version=1), previous=second)


def test_a_change_of_officers_wants_the_thresholds_of_both_rosters() -> None:
    first = check(signed())
    changed = {"version": 2, "officers": officers("odile", "alice", "bob"), "people": []}
    changed["people"] = [person("carol", ssh_key(label="carol").line)]
    check(signed("olga", "odile", "alice", **changed), previous=first)
    message = refused("ROSTER-QUORUM", signed("olga", "omar", **changed), previous=first)
    assert "of the new roster" in message
    message = refused("ROSTER-QUORUM", signed("odile", "alice", "bob", **changed), previous=first)
    assert "in force until now" in message


def test_a_higher_threshold_counts_at_once() -> None:
    first = check(signed())
    check(signed("olga", "omar", "odile", version=2, threshold=3), previous=first)
    refused("ROSTER-QUORUM", signed("olga", "omar", version=2, threshold=3), previous=first)
    third = check(signed("olga", "omar", "odile", version=2, threshold=3), previous=first)
    refused("ROSTER-QUORUM", signed("olga", "omar", version=3, threshold=2), previous=third)


def test_roster_threshold() -> None:
    for wrong in (1, 4):
        refused("ROSTER-THRESHOLD", signed("olga", "omar", "odile", threshold=wrong))


def test_roster_editor_is_an_officer() -> None:
    check(CAST.signed({**CAST.roster(), "person": "odile"}, "olga", "omar"))
    refused("ROSTER-EDITOR", CAST.signed({**CAST.roster(), "person": "alice"}, "olga", "omar"))


def test_roster_empty_policies_are_invalid() -> None:
    pins = CAST.roster()["pins"]
    teams = CAST.roster()["teams"]
    for changes in (
        {"people": []},
        {"teams": [], "people": [person("zoe", ssh_key(label="zoe").line, teams=())]},
        {"teams": [*teams, {"name": "idle", "projects": []}]},
        {"pins": {}},
        {"pins": {name: value for name, value in pins.items() if name != "pki.toml"}},
        {"pins": {name: value for name, value in pins.items() if name != "policy.md"}},
        {"pins": {name: value for name, value in pins.items() if not name.startswith("profiles/")}},
        {"people": [person("zoe")]},
        {"people": [person("zoe", ssh_key(label="zoe").line, roles=())]},
    ):
        refused("ROSTER-EMPTY", signed(**changes))


def test_roster_team() -> None:
    zoe = ssh_key(label="zoe").line
    check(signed(people=[person("zoe", zoe)]))
    refused("ROSTER-TEAM", signed(people=[person("zoe", zoe, teams=("nowhere",))]))
    refused("ROSTER-TEAM", signed(people=[person("zoe", zoe, teams=("games", "games"))]))
    refused("ROSTER-TEAM", signed(teams=[{"name": "games", "projects": ["a"]}, {"name": "games", "projects": ["b"]}]))
    refused("ROSTER-TEAM", signed(teams=[{"name": "games", "projects": ["a", "a"]}]))


def test_roster_duplicate_person() -> None:
    one, two = ssh_key(label="one").line, ssh_key(label="two").line
    refused("ROSTER-DUPLICATE-PERSON", signed(people=[person("zoe", one), person("zoe", two)]))
    refused("ROSTER-DUPLICATE-PERSON", signed(officers=[*officers("olga", "omar"), officers("odile", "olga")[1]]))


def test_roster_role() -> None:
    zoe = ssh_key(label="zoe").line
    check(signed(people=[person("zoe", zoe, roles=("approver", "auditor"))]))
    refused("ROSTER-ROLE", signed(people=[person("zoe", zoe, roles=("approver", "approver"))]))


def test_roster_duplicate_key() -> None:
    one = ssh_key(label="one").line
    refused("ROSTER-DUPLICATE-KEY", signed(people=[person("zoe", one), person("yan", one)]))
    refused("ROSTER-DUPLICATE-KEY", signed(people=[person("zoe", one, one)]))
    twin = {"name": "omar2", "key": ssh_key(label="omar").line}
    refused("ROSTER-DUPLICATE-KEY", signed(officers=[*officers("olga", "omar"), twin]))


def test_roster_duplicate_key_under_another_fido_application() -> None:
    private = ssh_key("sk-ed25519", "zoe").private
    people = [person("zoe", FIDOKey(private).line), person("yan", FIDOKey(private, application="ssh:2").line)]
    refused("ROSTER-DUPLICATE-KEY", signed(people=people))


def test_an_officer_stands_among_the_people_with_the_officers_key_only() -> None:
    olga, other = ssh_key(label="olga").line, ssh_key(label="other").line
    check(signed(people=[person("olga", olga)]))
    check(signed(people=[person("olga", other, olga)]))
    refused("ROSTER-DUPLICATE-PERSON", signed(people=[person("olga", other)]))
    refused("ROSTER-DUPLICATE-KEY", signed(people=[person("zoe", olga)]))


def test_roster_key() -> None:
    refused("ROSTER-KEY", signed(people=[person("zoe", ssh_key("rsa-2048").line)]))
    authority = CAST.roster()["authority"]
    refused("ROSTER-KEY", signed(authority={**authority, "ledger_key": authority["ocsp_key"]}))
    refused("ROSTER-KEY", signed(authority={**authority, "ledger_key": "AAAA"}))
    refused("ROSTER-KEY", signed(authority={**authority, "ocsp_key": "AAAA"}))
    with pytest.raises(InputError, match="keys"):
        check(signed(people=[person("zoe", ssh_key().line + " comment")]))


def test_roster_times() -> None:
    def lasting(**duration: float) -> SignedStatement:
        end = NOW + timedelta(**duration)
        return CAST.signed({**CAST.roster(), "expires_at": f"{end:%Y-%m-%dT%H:%M:%SZ}"}, "olga", "omar")

    check(lasting(days=90))
    refused("STMT-LIFETIME", lasting(days=90, seconds=1))
    refused("STMT-LIFETIME", lasting(days=0))
    refused("STMT-LIFETIME", lasting(days=-1))
    check(signed(), now=NOW - timedelta(minutes=2))
    refused("STMT-FUTURE", signed(), now=NOW - timedelta(minutes=2, seconds=1))
    check(signed(), now=NOW + timedelta(days=90, seconds=-1))
    refused("STMT-EXPIRED", signed(), now=NOW + timedelta(days=90))


def test_roster_expired() -> None:
    roster = check(signed())
    roster.check_in_force(NOW + timedelta(days=90, seconds=-1))
    with pytest.raises(PolicyViolation) as caught:
        roster.check_in_force(NOW + timedelta(days=90))
    assert caught.value.rule == "ROSTER-EXPIRED"


def test_a_roster_of_another_pki_is_refused() -> None:
    refused("STMT-PKI", CAST.signed({**CAST.roster(), "pki": "f" * 64}, "olga", "omar"))
    login = CAST.statement("login", "olga", server="x", challenge="0123456789abcdef")
    refused("STMT-KIND", CAST.signed(login, "olga", "omar", namespace="roster@sealwright.v1"))


def test_roster_pin() -> None:
    roster, files = check(signed()), pinned_files()
    roster.check_pins(files)
    for wrong, says in (
        ({**files, "profiles/code-signing.toml": b"edited"}, "profiles/code-signing.toml has the digest"),
        ({**files, "pki.toml": files["pki.toml"] + b"\n"}, "pki.toml has the digest"),
        ({name: data for name, data in files.items() if name != "policy.md"}, "policy.md is missing"),
        ({**files, "profiles/extra.toml": b""}, "profiles/extra.toml is not pinned"),
    ):
        with pytest.raises(PolicyViolation, match=says) as caught:
            roster.check_pins(wrong)
        assert caught.value.rule == "ROSTER-PIN"


def test_who_knows_only_the_anchor_walks_the_chain() -> None:
    later = NOW + timedelta(days=100)
    chain = [signed(), signed(version=2, at=NOW + timedelta(days=60))]
    roster = check_roster_chain(chain, anchor=CAST.anchor, now=later)
    assert roster.version == 2, "the first has expired meanwhile; it counts for its successor only"
    for wrong in (chain[1:], chain[:1], [*chain, chain[1]], [chain[1], chain[0]]):
        with pytest.raises(PolicyViolation):
            check_roster_chain(wrong, anchor=CAST.anchor, now=later)
    with pytest.raises(PolicyViolation, match="expired"):
        check_roster_chain([], anchor=CAST.anchor, now=later + timedelta(days=90), previous=roster)
    assert check_roster_chain([], anchor=CAST.anchor, now=later, previous=roster) is roster
    with pytest.raises(InputError, match="no roster"):
        check_roster_chain([], anchor=CAST.anchor, now=later)
    future = signed(at=later + timedelta(days=1))
    with pytest.raises(PolicyViolation, match="in the future"):
        check_roster_chain([future, signed(version=2, at=later)], anchor=CAST.anchor, now=later)


def test_the_anchor_is_read_strictly_and_names_the_pki() -> None:
    anchor = CAST.anchor
    assert load_anchor(anchor.to_bytes()) == anchor
    assert anchor.ledger_origin == f"sealwright/{anchor.pki_id}"
    production = anchor.model_copy(update={"mode": "PRODUCTION"})
    assert Anchor.model_validate(production.model_dump()).pki_id != anchor.pki_id, "a rehearsal is another PKI"
    with pytest.raises(InputError, match="canonical"):
        load_anchor(anchor.to_bytes() + b"\n")
    with pytest.raises(InputError, match="mode"):
        load_anchor(anchor.to_bytes().replace(b"REHEARSAL", b"PARTY"))


@pytest.mark.parametrize(
    ("names", "threshold", "rule"),
    [
        (("olga", "omar", "odile"), 1, "ROSTER-THRESHOLD"),
        (("olga", "omar"), 3, "ROSTER-THRESHOLD"),
        (("olga",), 2, "ROSTER-THRESHOLD"),
        (("olga", "olga"), 2, "ROSTER-DUPLICATE-PERSON"),
    ],
)
def test_an_anchor_without_a_quorum_is_refused(names: tuple[str, ...], threshold: int, rule: str) -> None:
    entries = tuple(OfficerEntry(name=name, key=ssh_key(label=name).line) for name in names)
    anchor = Anchor(mode="REHEARSAL", root_sha256="a" * 64, officers=entries, threshold=threshold)
    with pytest.raises(PolicyViolation) as caught:
        load_anchor(anchor.to_bytes())
    assert caught.value.rule == rule


def test_the_anchor_knows_its_root() -> None:
    from softpki import soft_pki

    root = soft_pki().root
    with pytest.raises(IntegrityError, match="anchor pins"):
        CAST.anchor.check_root(root)
