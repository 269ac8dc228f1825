"""A machine of random acts over a real ledger, beside a small model of what should be true; after each act both agree.

People ask, approve, deny, renew, revoke, correct and suspend; officers publish rosters; time passes; the signer is
stopped, and killed. A kill is a copy of the folder at a named point of an act: what is on the disk then is all that the
next signer has, and whatever the killed one still did is thrown away (its process is ``test_crash``'s to kill).

The model knows the rules in a line each. Where it and the signer differ, one of the two is wrong.
"""

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

import sealwright.issuing.gate as gate_module
import sealwright.issuing.recovery as recovery_module
from exports import audit
from sealwright.errors import IntegrityError, NotFound, PolicyViolation
from sealwright.installed import load_installed
from sealwright.issuing.crl import issue_crl
from sealwright.issuing.index import LedgerIndex
from sealwright.issuing.recovery import record_start
from sealwright.ledger.entries import IntentEntry, parse_entry
from sealwright.pki.crl import read_crl
from sealwright.points import Point, listen
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from world import World, call, make_world, wire_time

TEAMS = {"payments": ("alice", "terminal"), "games": ("mallory", "chess")}
APPROVERS = {"payments": ("bob", "carol"), "games": ("nina", "mallory")}
MEMBERS = {"payments": {"alice", "bob", "carol"}, "games": {"mallory", "nina"}}
OFFICERS = {"olga", "omar", "odile"}
KEYS = 3

Reason = Literal["superseded", "keyCompromise"]


@dataclass
class Asked:
    signed: SignedStatement
    team: str
    key: int
    renews: int | None
    decisions: list[tuple[SignedStatement, str, str]] = field(default_factory=list)
    """Statement, person, verdict."""


@dataclass
class Given:
    """A certificate, as the model sees it."""

    request: int
    team: str
    key: int
    revoked: Reason | None = None


@dataclass
class Model:
    asked: list[Asked] = field(default_factory=list)
    given: dict[int, Given] = field(default_factory=dict)
    """By serial."""
    compromised: set[int] = field(default_factory=set)
    suspended: set[str] = field(default_factory=set)
    ever_suspended: dict[str, int] = field(default_factory=dict)
    version: int = 1

    def answered(self, request: int) -> bool:
        return any(each.request == request for each in self.given.values())

    def key_team(self, key: int) -> str | None:
        return next((each.team for each in self.given.values() if each.key == key), None)

    def may_issue(self, number: int, decisions: list[tuple[SignedStatement, str, str]]) -> bool:
        asked = self.asked[number]
        requester = TEAMS[asked.team][0]
        people = [person for _, person, _ in decisions]
        renewed = None if asked.renews is None else self.given[asked.renews]
        return (
            not self.answered(number)
            and len(people) >= 1
            and len(set(people)) == len(people)
            and all(verdict == "approve" for *_, verdict in decisions)
            and all(person in APPROVERS[asked.team] and person != requester for person in people)
            and not self.suspended & {requester, *people}
            and asked.key not in self.compromised
            and self.key_team(asked.key) in (None, asked.team)
            and (renewed is None or (renewed.revoked is None and renewed.team == asked.team))
        )

    def revoke(self, serial: int, reason: Reason) -> set[int]:
        """What dies: of a compromised key, all."""
        key = self.given[serial].key
        kin = {other for other, each in self.given.items() if each.key == key} if reason == "keyCompromise" else set()
        dead = {other for other in {serial} | kin if self.given[other].revoked is None}
        for other in dead:
            self.given[other].revoked = reason
        if dead and reason == "keyCompromise":
            self.compromised.add(key)
        return dead

    def copy(self) -> "Model":
        return replace(
            self,
            given={serial: replace(each) for serial, each in self.given.items()},
            compromised=set(self.compromised),
            suspended=set(self.suspended),
        )


@dataclass(frozen=True)
class Template:
    world: World
    csrs: dict[tuple[str, int], str]


class Machine(RuleBasedStateMachine):
    template: ClassVar[Template]
    scratch: ClassVar[Path]
    count: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        Machine.count += 1
        before = self.template.world
        self.folder = self.scratch / str(Machine.count)
        shutil.copytree(before.installed.folder, self.folder)
        installed, clock = load_installed(self.folder), replace(before.clock)
        self.world = World(self.folder, before.people, before.keys, before.ledger_key, installed, clock)
        self.model = Model()
        self.size = 0
        self.ever_revoked: set[int] = set()
        self.lost: set[int] = set()
        record_start(self.world.start())

    def teardown(self) -> None:
        self.world.stop()
        problems = audit(self.world).problems
        shutil.rmtree(self.folder)
        assert problems == [], problems

    # acts

    @rule(team=st.sampled_from(sorted(TEAMS)), key=st.integers(0, KEYS - 1), renew=st.booleans(), data=st.data())
    def ask(self, team: str, key: int, renew: bool, data: st.DataObject) -> None:
        own = [serial for serial, each in self.model.given.items() if each.team == team]
        renews = data.draw(st.sampled_from(own)) if renew and own else None
        person, project = TEAMS[team]
        fields = {"csr": self.template.csrs[team, key], "team": team, "project": project}
        statement = self.world.request(person, renews=None if renews is None else f"{renews:x}", **fields)
        self.model.asked.append(Asked(self.world.signed(statement), team, key, renews))

    @precondition(lambda self: self.model.asked)
    @rule(data=st.data(), verdict=st.sampled_from(["approve", "approve", "approve", "deny"]))
    def decide(self, data: st.DataObject, verdict: str) -> None:
        asked = data.draw(st.sampled_from(self.model.asked[-3:]))
        person = data.draw(st.sampled_from((*APPROVERS[asked.team], "nina")))
        decision = self.world.signed(self.world.decision(asked.signed, person, verdict=verdict))
        asked.decisions.append((decision, person, verdict))

    @precondition(lambda self: self.model.asked)
    @rule(data=st.data(), kill=st.integers(0, 40))
    def order(self, data: st.DataObject, kill: int) -> None:
        number = data.draw(st.integers(0, len(self.model.asked) - 1))
        decisions = self.model.asked[number].decisions
        self.hand_in(number, decisions if data.draw(st.booleans()) else decisions[-1:], kill)

    @rule(team=st.sampled_from(sorted(TEAMS)), key=st.integers(0, KEYS - 1), kill=st.integers(0, 40))
    def obtain(self, team: str, key: int, kill: int) -> None:
        """As people do it: asked, approved by who may, handed in. Chance alone seldom comes to a certificate."""
        person, project = TEAMS[team]
        statement = self.world.request(person, csr=self.template.csrs[team, key], team=team, project=project)
        self.model.asked.append(Asked(self.world.signed(statement), team, key, None))
        self.approve_and_hand_in(len(self.model.asked) - 1, kill)

    @precondition(lambda self: self.model.given)
    @rule(data=st.data(), kill=st.integers(0, 40))
    def hand_in_again(self, data: st.DataObject, kill: int) -> None:
        """What was answered before, with an approval that is good and new."""
        serial = data.draw(st.sampled_from(list(self.model.given)))
        self.approve_and_hand_in(self.model.given[serial].request, kill)

    def approve_and_hand_in(self, number: int, kill: int) -> None:
        asked = self.model.asked[number]
        person = APPROVERS[asked.team][0]
        decision = self.world.signed(self.world.decision(asked.signed, person))
        asked.decisions.append((decision, person, "approve"))
        self.hand_in(number, asked.decisions[-1:], kill)

    def hand_in(self, number: int, decisions: list[tuple[SignedStatement, str, str]], kill: int) -> None:
        asked = self.model.asked[number]
        wire = {"request": asked.signed.to_wire(), "decisions": [each.to_wire() for each, *_ in decisions]}
        self.act("issue", {"order": wire}, self.model.may_issue(number, decisions), kill)
        serial = self.index.issued_for.get(asked.signed.sha256)
        if serial is not None and int(serial) not in self.model.given:
            self.model.given[int(serial)] = Given(number, asked.team, asked.key)

    @precondition(lambda self: self.model.given)
    @rule(
        data=st.data(),
        person=st.sampled_from(["alice", "bob", "mallory", "olga"]),
        reason=st.sampled_from(["superseded", "keyCompromise"]),
        kill=st.integers(0, 20),
    )
    def revoke(self, data: st.DataObject, person: str, reason: Reason, kill: int) -> None:
        serial = data.draw(st.sampled_from(list(self.model.given)))
        after = self.model.copy()
        dead = after.revoke(serial, reason)
        allowed = person in MEMBERS[self.model.given[serial].team] | OFFICERS and person not in self.model.suspended
        order = {"revocation": self.world.signed(self.world.revocation(f"{serial:x}", person, reason=reason)).to_wire()}
        if self.act("revoke", {"order": order}, bool(dead) and allowed, kill):
            self.model = after

    @precondition(lambda self: any(each.revoked for each in self.model.given.values()))
    @rule(data=st.data(), reason=st.sampled_from(["superseded", "keyCompromise"]), kill=st.integers(0, 20))
    def correct(self, data: st.DataObject, reason: Reason, kill: int) -> None:
        serial = data.draw(st.sampled_from([serial for serial, each in self.model.given.items() if each.revoked]))
        given = self.model.given[serial]
        kin = [each for each in self.model.given.values() if each.key == given.key]
        allowed = reason != "keyCompromise" or all(each.revoked for each in kin)
        fields = {"serials": [f"{serial:x}"], "reason": reason, "comment": ""}
        self.world.clock.pass_(seconds=1)
        date = wire_time(self.index.revoked[serial].recorded)  # type: ignore[index]  # a serial is an int
        first = self.world.signed(self.world.statement("correction", "omar", revocation_date=date, **fields))
        second = self.world.signed(self.world.countersignature(first))
        order = {"revocation": first.to_wire(), "countersignature": second.to_wire()}
        if self.act("revoke", {"order": order}, allowed, kill):
            given.revoked = reason
            if reason == "keyCompromise":
                self.model.compromised.add(given.key)

    @rule(person=st.sampled_from(["alice", "bob", "mallory", "nina"]), kill=st.integers(0, 20))
    def suspend(self, person: str, kill: int) -> None:
        suspension = self.world.signed(self.world.suspension(person)).to_wire()
        if self.act("suspend", {"suspension": suspension}, person not in self.model.suspended, kill):
            self.model.suspended.add(person)

    @rule(kill=st.integers(0, 20))
    def publish_roster(self, kill: int) -> None:
        """Everybody is back; what they signed before stays void, so nobody has anything open."""
        self.world.clock.pass_(seconds=1)
        roster = self.world.signed(self.world.roster(self.model.version + 1), "olga", "omar").to_wire()
        if self.act("publish-roster", {"roster": roster}, True, kill):
            self.model.version += 1
            if self.model.suspended:
                for asked in self.model.asked:  # a suspension covers what was signed before it was lifted
                    asked.decisions = [each for each in asked.decisions if each[1] not in self.model.suspended]
                self.retire({TEAMS[team][0] for team in TEAMS} & self.model.suspended)
            self.model.suspended.clear()
            self.world.clock.pass_(seconds=1)

    def retire(self, people: set[str]) -> None:
        """Requests of these count no more: the model forgets them, and a new number is a new request."""
        for asked in self.model.asked:
            if TEAMS[asked.team][0] in people:
                fresh = self.world.signed(
                    {**asked.signed.statement, **self.world.request(TEAMS[asked.team][0])}
                    | {
                        "csr": asked.signed.statement["csr"],
                        "team": asked.team,
                        "project": TEAMS[asked.team][1],
                        "renews": asked.signed.statement["renews"],
                        "issued_at": wire_time(self.world.clock.now + timedelta(seconds=1)),
                    }
                )
                if not self.model.answered(self.model.asked.index(asked)):
                    asked.signed, asked.decisions = fresh, []

    @rule()
    def restart(self) -> None:
        self.world.stop()
        record_start(self.world.start())

    @rule(minutes=st.integers(0, 10))
    def time_passes(self, minutes: int) -> None:
        self.world.clock.pass_(minutes=minutes)

    @rule()
    def make_crl(self) -> None:
        assert self.world.authority is not None
        crl, _ = read_crl(issue_crl(self.world.authority).read_bytes(), self.world.installed.issuing)
        assert {each.serial_number for each in crl} == set(self.index.revoked)
        self.world.clock.pass_(seconds=1)  # no two begin at the same second, and the signer rests until the next one

    # what acts have in common

    @property
    def index(self) -> LedgerIndex:
        assert self.world.authority is not None
        return self.world.authority.index

    def act(self, name: str, arguments: dict[str, Any], allowed: bool, kill: int) -> bool:
        """Whether it was done. ``kill``: at which of its points the signer dies; beyond the last: not at all."""
        intents = set(map(int, self.index.revoked))
        with self.killed_at(kill) as died:
            try:
                call(self.world, name, **arguments)
                done = True
            except (PolicyViolation, NotFound):
                done = False
            assert done is allowed, (name, done, allowed)
        if not died:
            return done
        before, entries = self.size, list(self.world.authority.ledger.iterate())  # type: ignore[union-attr]  # started
        kinds = [parse_entry(entry).type for entry in entries[before:]]
        self.lost |= set(map(int, self.index.revoked)) - intents - set(self.model.given) if name == "issue" else set()
        wanted = {"issue": "certificate", "suspend": "suspension", "publish-roster": "roster"}.get(name)
        return done and (wanted in kinds if wanted else bool({"revocation", "correction"} & set(kinds)))

    @contextmanager
    def killed_at(self, place: int) -> Iterator[list[Point]]:
        seen, died = 0, []
        corpse = self.folder.with_name(f"{self.folder.name}.killed")

        def look(point: Point) -> None:
            nonlocal seen
            if seen == place:
                died.append(point)
                shutil.copytree(self.folder, corpse)
            seen += 1

        with listen(look):
            yield died
        if died:
            self.world.stop()
            shutil.rmtree(self.folder)
            corpse.rename(self.folder)
            record_start(self.world.start())

    @invariant()
    def both_agree(self) -> None:
        index, model = self.index, self.model
        issued = {int(serial) for asked in model.asked if (serial := index.issued_for.get(asked.signed.sha256))}
        assert issued == set(model.given)
        revoked = set(map(int, index.revoked))
        assert {serial for serial, each in model.given.items() if each.revoked} == revoked & set(model.given)
        assert revoked >= self.ever_revoked
        self.ever_revoked = revoked
        assert not index.intents
        assert len(index.compromised_keys) == len(model.compromised)

    @invariant()
    def the_ledger_only_grows(self) -> None:
        ledger = self.world.authority.ledger  # type: ignore[union-attr]  # started
        new = [parse_entry(ledger.read(place)) for place in range(self.size, ledger.size)]
        assert ledger.size >= self.size
        for entry in new:
            if isinstance(entry, IntentEntry):
                assert entry.serial not in self.seen_serials
                self.seen_serials.add(entry.serial)
        self.size = ledger.size

    @property
    def seen_serials(self) -> set[str]:
        return self.__dict__.setdefault("_serials", set())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    world = make_world(tmp_path_factory.mktemp("machine") / "w")
    path = world.installed.folder / "ca/profiles/code-signing.toml"
    text = path.read_text()
    days = world.profile("code-signing").renewal_window_days, world.profile("code-signing").validity_days
    path.write_text(text.replace(f"renewal_window_days = {days[0]}", f"renewal_window_days = {days[1]}"))
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    world.stop()
    world.clock.pass_(minutes=1)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(KEYS)]
    csrs = {
        (team, number): base64.b64encode(world.csr(team, project, key)).decode()
        for team, (_, project) in TEAMS.items()
        for number, key in enumerate(keys)
    }
    return Template(world, csrs)


def play(template: Template, scratch: Path, examples: int, steps: int, *, known: bool = True) -> None:
    """Without shrinking: what fails is printed as it was, and is short enough."""
    Machine.template, Machine.scratch = template, scratch
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=known,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate,),
        ),
    )


def test_the_signer_and_the_model_agree(template: Template, tmp_path: Path) -> None:
    play(template, tmp_path, 8, 20)


@pytest.mark.slow
def test_the_signer_and_the_model_agree_for_longer(template: Template, tmp_path: Path) -> None:
    play(template, tmp_path, 30, 30, known=False)


def nothing(*_: Any, **__: Any) -> tuple[()]:
    return ()


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "an order is used twice": lambda patch: patch.setattr(gate_module, "check_unused", nothing),
    "a compromised key is forgotten": lambda patch: patch.setattr(LedgerIndex, "_block_key", nothing),
    "a suspension is not looked at": lambda patch: patch.setattr(VerifiedRoster, "check_not_suspended", nothing),
    "what a crash left stays open": lambda patch: patch.setattr(recovery_module, "close_open_intents", nothing),
}


@pytest.mark.parametrize("bug", BUGS)
def test_it_finds_a_bug(template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """A machine that cannot fail proves nothing. Either a claim breaks, or the index finds the ledger impossible."""
    BUGS[bug](monkeypatch)
    with pytest.raises((AssertionError, IntegrityError)):
        play(template, tmp_path, 200, 30)
