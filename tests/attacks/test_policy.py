"""The adversary sends real people's statements, and hopes that the signer forgets what the officers' policy wants.

For every rule of the policy: the order that it refuses, by name and into the ledger, and the order that passes.
"""

import base64
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from adversary import good, order, refused
from sealwright.errors import InputError
from sealwright.pki.keys import spki_sha256
from together import given, rules, together
from world import World, call, new_person, wire_time
from yubikey import Maker, new_key

MAKER = Maker()


def policy(world: World, tables: str = "", *, profile: str = "code-signing", **changes: Any) -> None:
    """The officers change the profile: top-level values, and tables at its end; the next roster pins it."""
    path = world.installed.folder / f"ca/profiles/{profile}.toml"
    text = path.read_text()
    for name, value in changes.items():
        text, count = re.subn(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        assert count == 1, name
    path.write_text(f"{text}\n{tables}")
    publish(world)


def people(world: World, **groups: list[str]) -> list[dict[str, Any]]:
    """The world's people, with groups; ``robot`` is payments' CI."""
    if "robot" not in world.people:
        world.people["robot"] = new_person(world.installed.folder, "robot")
    robot = {"name": "robot", "keys": [world.people["robot"].key], "roles": ["machine"], "teams": ["payments"]}
    everybody = [*world.roster()["people"], {**robot, "groups": []}]
    return [{**each, "groups": groups.get(each["name"], [])} for each in everybody]


GROUPS = {"carol": ["release"], "nina": ["security", "release"], "bob": ["security"]}


def publish(world: World, **changes: Any) -> None:
    assert world.authority is not None
    changes = {"people": people(world, **GROUPS), **changes}
    statement = world.roster(world.authority.last_roster().version + 1, **changes)
    call(world, "publish-roster", roster=world.signed(statement, "olga", "omar").to_wire())


def ask(world: World, *approvers: str, person: str = "alice", **changes: Any) -> dict[str, Any]:
    request = world.signed(world.request(person, **changes))
    return order(request, *(world.signed(world.decision(request, name)) for name in approvers))


def issue(world: World, *approvers: str, **changes: Any) -> str:
    """The serial."""
    assert world.authority is not None
    call(world, "issue", order=ask(world, *approvers, **changes))
    return f"{world.authority.index.issued.newest:x}"


# How many, and from which groups


def test_groups(world: World) -> None:
    policy(world, "[groups]\nrelease = 1\n", approvals=2)
    dave = new_person(world.installed.folder, "dave")
    world.people["dave"] = dave
    more = {"name": "dave", "keys": [dave.key], "roles": ["approver"], "teams": ["payments"], "groups": []}
    publish(world, people=[*people(world, **GROUPS), more])
    assert refused(world, ask(world, "bob", "dave")) == "ORDER-GROUP"
    assert refused(world, ask(world, "carol")) == "ORDER-QUORUM"
    issue(world, "bob", "carol")
    issue(world, "bob", "nina")  # of another team: the group is what is asked for


def test_a_group_that_nobody_asked_for_is_no_right(world: World) -> None:
    publish(world)
    assert refused(world, ask(world, "nina")) == "DEC-TEAM"


def test_one_person_counts_for_one_group(world: World) -> None:
    policy(world, "[groups]\nrelease = 1\nsecurity = 1\n", approvals=2)
    assert refused(world, ask(world, "nina")) == "ORDER-QUORUM"
    issue(world, "nina", "carol")


def test_a_team_s_own_table(world: World) -> None:
    policy(world, "[teams.payments]\napprovals = 2\nlive_certificates = 1\n")
    assert refused(world, ask(world, "bob")) == "ORDER-QUORUM"
    issue(world, "bob", "carol")
    assert refused(world, ask(world, "bob", "carol")) == "ORDER-LIVE"
    issue(world, "nina", person="mallory", team="games", project="chess")


def test_a_policy_that_nobody_can_fulfil_does_not_load(world: World) -> None:
    path = world.installed.folder / "ca/profiles/code-signing.toml"
    before = path.read_text()
    for tables, rule in (
        ("[groups]\nlawyers = 1\n", "POLICY-GROUP"),
        ("[teams.nobody]\napprovals = 2\nlive_certificates = 1\n", "POLICY-TEAM"),
        ("[emergency]\napprovals = 1\n", "PROFILE-EMERGENCY"),
        ("[teams.payments]\napprovals = 0\nlive_certificates = 1\n", "PROFILE-APPROVALS"),
    ):
        path.write_text(before + tables)
        lie = world.signed(world.roster(2), "olga", "omar").to_wire()
        assert refused(world, lie, "publish-roster") == rule


def test_an_edited_policy_is_refused_until_the_officers_pin_it(world: World) -> None:
    path = world.installed.folder / "ca/profiles/code-signing.toml"
    lie = ask(world, "bob")
    path.write_text(path.read_text().replace("live_certificates = 1", "live_certificates = 9"))
    assert refused(world, lie) == "ROSTER-PIN"
    publish(world)
    assert refused(world, lie) == "REQ-PROFILE-PIN"


# How many live


def test_live_certificates(world: World) -> None:
    policy(world, live_certificates=2, renewal_window_days=397)
    first, second = issue(world, "bob"), issue(world, "bob")
    assert refused(world, ask(world, "bob")) == "ORDER-LIVE"
    issue(world, "bob", renews=second)  # a renewal takes the place of what it renews
    assert refused(world, ask(world, "bob", renews=first)) == "ORDER-LIVE"
    for serial in (first, second):
        call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    issue(world, "bob")
    assert refused(world, ask(world, "bob")) == "ORDER-LIVE"
    world.stop()
    world.start()
    world.clock.pass_(days=70)
    assert refused(world, ask(world, "bob")) == "ORDER-LIVE"


def test_two_orders_at_once_cannot_both_take_the_last_place(world: World) -> None:
    """Both were judged before either is in the ledger."""
    policy(world, live_certificates=1)
    answers = together(world, [ask(world, "bob"), ask(world, "bob")])
    assert len(given(answers)) == 1
    assert rules(answers) == ["ORDER-LIVE"]
    assert world.authority is not None
    assert len(world.authority.index.issued_for) == 1


# When


def blackout(world: World) -> str:
    now = world.clock()
    ends = wire_time(now.replace(year=now.year + 1))
    return f'[[blackouts]]\nbegins = "{wire_time(now)}"\nends = "{ends}"\nreason = "holidays"\n'


def test_nothing_is_issued_in_a_blackout(world: World) -> None:
    policy(world, blackout(world))
    assert refused(world, ask(world, "bob")) == "ORDER-BLACKOUT"
    assert refused(world, ask(world, "bob", "carol")) == "ORDER-BLACKOUT"
    assert refused(world, ask(world, "bob", emergency=True)) == "REQ-EMERGENCY"
    issue(world, "nina", person="mallory", team="games", project="chess", profile="code-signing-development")


def test_an_emergency_needs_more_people(world: World) -> None:
    policy(world, f"[emergency]\napprovals = 2\ngroups = {{ security = 1 }}\n{blackout(world)}")
    assert refused(world, ask(world, "bob", emergency=True)) == "ORDER-QUORUM"
    assert refused(world, ask(world, "bob", person="robot", emergency=True)) == "REQ-EMERGENCY"
    issue(world, "bob", "carol", emergency=True)


def test_an_emergency_cannot_be_declared_by_the_registry(world: World) -> None:
    policy(world, f"[emergency]\napprovals = 2\n{blackout(world)}")
    lie = ask(world, "bob", "carol")
    lie["request"]["statement"]["emergency"] = True
    assert refused(world, lie) == "STMT-SIGNATURE"


# Machines


def test_a_machine_asks_and_does_nothing_else(world: World) -> None:
    publish(world)
    serial = issue(world, "bob", person="robot")
    assert refused(world, ask(world, "robot")) == "DEC-ROLE"
    assert refused(world, ask(world, "robot", person="robot")) == "ORDER-SELF"
    revocation = world.signed(world.revocation(serial, "robot")).to_wire()
    assert refused(world, {"revocation": revocation}, "revoke") == "REV-ALLOWED"


def test_no_roster_makes_a_machine_an_approver_or_an_officer(world: World) -> None:
    for roles in (["machine", "approver"], ["machine", "requester"]):
        everybody = [{**each, "roles": roles} if each["name"] == "robot" else each for each in people(world)]
        lie = world.signed(world.roster(2, people=everybody), "olga", "omar").to_wire()
        assert refused(world, lie, "publish-roster") == "ROSTER-MACHINE"
    olga = {"name": "olga", "keys": [world.people["olga"].key], "roles": ["machine"], "teams": [], "groups": []}
    lie = world.signed(world.roster(2, people=[*people(world), olga]), "olga", "omar").to_wire()
    assert refused(world, lie, "publish-roster") == "ROSTER-MACHINE"


# Renewals


def csr(world: World, key: Any, **changes: Any) -> str:
    return base64.b64encode(world.csr(key=key, **changes)).decode()


def test_a_renewal_with_the_same_key_and_subject_needs_no_fresh_approval_where_the_profile_says_so(
    world: World,
) -> None:
    policy(world, renewal_approval="false")
    key = ec.generate_private_key(ec.SECP256R1())
    serial = issue(world, "bob", person="robot", csr=csr(world, key))
    assert refused(world, ask(world, person="robot", csr=csr(world, key))) == "ORDER-QUORUM"
    assert refused(world, ask(world, person="robot", csr=csr(world, key), renews=serial)) == "RENEW-WINDOW"
    world.clock.pass_(days=20)
    publish(world)
    world.clock.pass_(days=60)
    publish(world)
    for _ in range(4):
        world.clock.pass_(days=66)
        publish(world)
    assert refused(world, ask(world, person="robot", renews=serial)) == "ORDER-QUORUM"  # another key
    assert refused(world, ask(world, person="robot", csr=csr(world, key))) == "ORDER-QUORUM"
    renewal = ask(world, person="robot", csr=csr(world, key), renews=serial)
    call(world, "issue", order=renewal)
    assert refused(world, renewal) == "ORDER-USED"


def test_a_renewal_needs_its_approvals_where_the_profile_says_nothing(world: World) -> None:
    policy(world, renewal_window_days=397)
    key = ec.generate_private_key(ec.SECP256R1())
    serial = issue(world, "bob", csr=csr(world, key))
    assert refused(world, ask(world, csr=csr(world, key), renews=serial)) == "ORDER-QUORUM"
    issue(world, "bob", csr=csr(world, key), renews=serial)


def test_what_a_renewal_keeps(world: World) -> None:
    policy(world, renewal_window_days=397, renewal_approval="false", renewed_by='"holder"')
    key = ec.generate_private_key(ec.SECP256R1())
    serial = issue(world, "bob", csr=csr(world, key))
    assert refused(world, ask(world, csr=csr(world, key), renews="abcdef")) == "RENEW-UNKNOWN"
    assert refused(world, ask(world, person="carol", csr=csr(world, key), renews=serial)) == "RENEW-PERSON"
    other = {"profile": "code-signing-development", "renews": serial}
    lie = ask(world, "bob", csr=csr(world, key, profile="code-signing-development"), **other)
    assert refused(world, lie) == "RENEW-SUBJECT"
    lie = ask(world, "nina", person="mallory", team="games", project="chess", renews=serial)
    assert refused(world, lie) == "RENEW-UNKNOWN"
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
    assert refused(world, ask(world, csr=csr(world, key), renews=serial)) == "RENEW-REVOKED"


def test_what_is_renewed_may_be_revoked_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    policy(world, renewal_window_days=397)
    serial = issue(world, "bob")
    assert world.authority is not None
    renewal, lint = ask(world, "bob", renews=serial), world.authority.lint

    def slow(draft: Any) -> Any:
        call(world, "revoke", order={"revocation": world.signed(world.revocation(serial)).to_wire()})
        return lint(draft)

    monkeypatch.setattr(world.authority, "lint", slow)
    assert refused(world, renewal) == "RENEW-REVOKED"


def test_a_denial_stops_a_renewal_that_needs_no_approval(world: World) -> None:
    policy(world, renewal_window_days=397, renewal_approval="false")
    key = ec.generate_private_key(ec.SECP256R1())
    serial = issue(world, "bob", csr=csr(world, key))
    request = world.signed(world.request(csr=csr(world, key), renews=serial))
    assert refused(world, order(request, world.signed(world.decision(request, verdict="deny")))) == "ORDER-DENIED"


# Where keys live


def exception(world: World, key: Any, person: str = "odile", **changes: Any) -> dict[str, Any]:
    fields = {
        "profile": "code-signing",
        "team": "payments",
        "project": "terminal",
        "spki_sha256": spki_sha256(key.public_key()),
        "allows": "software",
        "comment": "until the new HSM",
    }
    return world.statement("exception", person, **(fields | changes))


def test_a_key_in_software_needs_an_officer_s_exception(world: World) -> None:
    key = new_key()
    software = {"csr": csr(world, key), "key_location": "software"}
    assert refused(world, ask(world, "bob", **software)) == "REQ-KEY-LOCATION"
    signed = world.signed(exception(world, key))
    assert refused(world, ask(world, exception=signed.to_wire(), **software)) == "ORDER-QUORUM"
    issue(world, "bob", exception=signed.to_wire(), **software)


@pytest.mark.parametrize(
    ("changes", "signer", "rule"),
    [
        ({}, "stranger", "STMT-SIGNER"),
        ({"person": "alice"}, "alice", "EXC-OFFICER"),
        ({"person": "bob"}, "bob", "EXC-OFFICER"),
        ({"profile": "code-signing-release"}, "odile", "EXC-SCOPE"),
        ({"team": "games"}, "odile", "EXC-SCOPE"),
        ({"project": "chess"}, "odile", "EXC-SCOPE"),
        ({"spki_sha256": "0" * 64}, "odile", "EXC-SCOPE"),
        ({"allows": "unattested"}, "odile", "REQ-KEY-LOCATION"),
        ({"pki": "0" * 64}, "odile", "STMT-PKI"),
        ({"expires_at": "2027-06-01T00:00:00Z"}, "odile", "STMT-LIFETIME"),
        ({"issued_at": "2026-11-20T00:00:00Z", "expires_at": "2026-11-21T00:00:00Z"}, "odile", "STMT-EXPIRED"),
        ({"issued_at": "2026-11-25T00:00:00Z", "expires_at": "2026-11-26T00:00:00Z"}, "odile", "STMT-FUTURE"),
    ],
)
def test_refuses_an_exception(world: World, changes: dict[str, Any], signer: str, rule: str) -> None:
    key = new_key()
    signed = world.signed({**exception(world, key), **changes}, signer)
    lie = ask(world, "bob", csr=csr(world, key), key_location="software", exception=signed.to_wire())
    assert refused(world, lie) == rule


def test_every_field_of_an_exception_is_under_the_officer_s_signature(world: World) -> None:
    """The requester may write any exception into a request: only the officer's counts."""
    key = new_key()
    signed = world.signed(exception(world, key))
    for name, value in signed.statement.items():
        if name == "kind":
            continue
        changed = {
            "issued_at": "2026-11-24T11:59:00Z",
            "expires_at": "2026-11-25T11:00:00Z",
            "person": "omar",
            "team": "games",
            "project": "chess",
            "profile": "code-signing-release",
            "allows": "unattested",
        }.get(name, "f" * len(value))
        forged = {**signed.to_wire(), "statement": {**signed.statement, name: changed}}
        lie = ask(world, "bob", csr=csr(world, key), key_location="software", exception=forged)
        refused(world, lie)


def test_an_exception_serves_one_purpose_and_one_officer_alone_makes_it(world: World) -> None:
    key = new_key()
    software = {"csr": csr(world, key), "key_location": "software"}
    made = exception(world, key)
    wrong = world.signed(made, namespace="suspend@sealwright.v1").to_wire()
    assert refused(world, ask(world, "bob", exception=wrong, **software)) == "STMT-NAMESPACE"
    both = world.signed(made, "odile", "omar").to_wire()
    assert refused(world, ask(world, "bob", exception=both, **software)) == "STMT-ALONE"
    kind = world.signed(world.suspension("bob")).to_wire()
    assert refused(world, ask(world, "bob", exception=kind, **software)) == "STMT-KIND"
    with pytest.raises(InputError):
        call(world, "issue", order=ask(world, "bob", exception={"statement": {}}, **software))
    call(world, "suspend", suspension=world.signed(world.suspension("odile", "olga")).to_wire())
    lie = ask(world, "bob", exception=world.signed(made).to_wire(), **software)
    assert refused(world, lie) == "SUSPENDED"


def test_an_officer_makes_no_exception_for_a_request_of_their_own(world: World) -> None:
    olga = {"name": "olga", "keys": [world.people["olga"].key], "roles": ["requester"], "teams": ["payments"]}
    publish(world, people=[*people(world), {**olga, "groups": []}])
    key = new_key()
    software = {"csr": csr(world, key), "key_location": "software"}
    own = world.signed(exception(world, key, "olga")).to_wire()
    assert refused(world, ask(world, "bob", person="olga", exception=own, **software)) == "EXC-SCOPE"
    others = world.signed(exception(world, key, "omar")).to_wire()
    issue(world, "bob", person="olga", exception=others, **software)


def attested(world: World, key: Any, **changes: Any) -> dict[str, Any]:
    chain = MAKER.attest(changes.pop("of", key).public_key(), **changes)
    return {"csr": csr(world, key), "attestation": [base64.b64encode(each).decode() for each in chain]}


def test_an_attested_key_where_the_profile_wants_one(world: World) -> None:
    policy(world, attested_keys="true", attestation_roots=f'["{MAKER.root_sha256}"]')
    key = new_key()
    assert refused(world, ask(world, "bob", csr=csr(world, key))) == "REQ-ATTESTATION"
    assert refused(world, ask(world, "bob", key_location="software", **attested(world, key))) == "REQ-ATTESTATION"
    assert refused(world, ask(world, "bob", csr=csr(world, key), key_location="software")) == "REQ-KEY-LOCATION"
    assert refused(world, ask(world, "bob", **attested(world, key, of=new_key()))) == "ATTEST-KEY"
    assert refused(world, ask(world, "bob", **attested(world, key, policies=b"\x01\x01"))) == "ATTEST-PIN"
    assert refused(world, ask(world, "bob", **attested(world, key, until=2020))) == "ATTEST-CHAIN"
    forged = [base64.b64encode(each).decode() for each in Maker().attest(key.public_key())]
    assert refused(world, ask(world, "bob", csr=csr(world, key), attestation=forged)) == "ATTEST-ROOT"
    issue(world, "bob", **attested(world, key))
    excepted = world.signed(exception(world, key, allows="unattested")).to_wire()
    issue(world, "bob", csr=csr(world, key), exception=excepted)


def test_an_attestation_by_a_root_that_no_profile_names_proves_nothing(world: World) -> None:
    assert refused(world, ask(world, "bob", **attested(world, new_key()))) == "ATTEST-ROOT"


def test_an_attestation_cannot_be_moved_to_another_request(world: World) -> None:
    request, decision = good(world)
    lie = order(request, decision)
    lie["request"]["statement"]["attestation"] = attested(world, new_key())["attestation"]
    assert refused(world, lie) == "STMT-SIGNATURE"
