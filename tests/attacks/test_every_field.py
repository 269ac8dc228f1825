"""One attack per field of every kind of statement: a good order, one field of one statement in it changed afterwards.

The fields are read from the models, so a new field, and a new kind, is attacked the day it is made. And one test, at
least, per rule: every id that the gate can raise is named by a test of the adversaries, or of the room it stands in.
"""

import base64
import copy
import re
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sealwright.errors import InputError, NotFound, PolicyViolation
from sealwright.ledger.entries import RefusalEntry, parse_entry
from sealwright.pki.keys import spki_sha256
from sealwright.statements.kinds import LossStatement, Statement, namespace_of
from sealwright.statements.logins import verify_login
from sealwright.statements.receipts import Receipt
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_sign import sign_with_key
from softpki import CA_FOLDER
from world import World, call, make_world, wire_time

SOURCES: Final = Path(__file__).parents[2] / "src/sealwright"
KINDS: Final = {
    typing.get_args(model.model_fields["kind"].annotation)[0]: model
    for model in typing.get_args(Statement)
    if model is not LossStatement  # it comes by no call: ``test_loss`` has the attacks on its fields
}
ATTACKED: Final = {kind: kind for kind in KINDS} | {"denied": "request", "denial": "decision"}
"""What is attacked, and of which kind it is: a request and a decision can be an order's, or a denial's."""
SERVER, CHALLENGE = "https://ca.example.org", "c2VhbHdyaWdodC1jaGFsbGVuZ2U="


@dataclass
class Order:
    """A call, and where in its arguments the statement stands that is attacked. ``seal``: signs what is around it."""

    name: str
    arguments: dict[str, Any]
    path: tuple[Any, ...]
    seal: Callable[[dict[str, Any]], None] = lambda _: None

    def changed(self, field: str, value: Any) -> dict[str, Any]:
        lie = copy.deepcopy(self.arguments)
        place: Any = lie
        for step in self.path:
            place = place[step]
        place["statement"][field] = value
        self.seal(lie)
        return lie

    @property
    def statement(self) -> dict[str, Any]:
        place: Any = self.arguments
        for step in self.path:
            place = place[step]
        return typing.cast("dict[str, Any]", place["statement"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = make_world(tmp_path_factory.mktemp("fields"))
    world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    yield world
    world.stop()


def issue(world: World) -> str:
    receipt = Receipt.parse(call(world, "issue", order=world.order())["receipt"])
    return f"{receipt.load_certificate().serial_number:x}"


@pytest.fixture(scope="module")
def orders(world: World) -> dict[str, Order]:
    """A good one for each kind; all are given at the end, and taken."""
    serials = [issue(world) for _ in range(3)]
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serials[2])).to_wire()})
    world.clock.pass_(minutes=1)
    date = wire_time(world.clock.now.replace(second=0, minute=0, hour=12))
    revocation = world.signed(world.revocation(serials[0], revocation_date=date))
    second = world.signed(world.countersignature(revocation))
    fields = {"serials": [serials[2]], "reason": "keyCompromise", "revocation_date": date, "comment": ""}
    correction = world.signed(world.statement("correction", "alice", **fields))
    corrected = {
        "revocation": correction.to_wire(),
        "countersignature": world.signed(world.countersignature(correction)).to_wire(),
    }
    revoked = {"revocation": revocation.to_wire(), "countersignature": second.to_wire()}
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(world.csr(key=key)).decode()
    call(world, "issue", order=world.order(csr=csr))
    proof = world.statement("key-revocation", "somebody", spki_sha256=spki_sha256(key.public_key()), comment="")
    message = SignedStatement(statement=proof, signatures=("",)).statement_bytes
    proven = SignedStatement(statement=proof, signatures=(sign_with_key(key, namespace_of("key-revocation"), message),))
    soft = ec.generate_private_key(ec.SECP256R1())
    where = {"profile": "code-signing", "team": "payments", "project": "terminal", "allows": "software"}
    spki = spki_sha256(soft.public_key())
    allowed = world.signed(world.statement("exception", "odile", spki_sha256=spki, comment="", **where)).to_wire()
    softly = world.order(csr=base64.b64encode(world.csr(key=soft)).decode(), key_location="software", exception=allowed)

    def seal(lie: dict[str, Any]) -> None:
        """The requester signs whatever exception stands there, and the approver too."""
        request = world.signed(lie["order"]["request"]["statement"])
        decision = world.signed(world.decision(request))
        lie["order"] = {"request": request.to_wire(), "decisions": [decision.to_wire()]}

    plain = {"order": world.order()}
    unwanted = world.signed(world.request())
    no = world.signed(world.decision(unwanted, verdict="deny"))
    denial = {"request": unwanted.to_wire(), "decision": no.to_wire()}
    return {
        "request": Order("issue", plain, ("order", "request")),
        "decision": Order("issue", plain, ("order", "decisions", 0)),
        "denied": Order("deny", denial, ("request",)),
        "denial": Order("deny", denial, ("decision",)),
        "exception": Order("issue", {"order": softly}, ("order", "request", "statement", "exception"), seal),
        "revocation": Order("revoke", {"order": revoked}, ("order", "revocation")),
        "countersignature": Order("revoke", {"order": revoked}, ("order", "countersignature")),
        "correction": Order("revoke", {"order": corrected}, ("order", "revocation")),
        "key-revocation": Order("revoke", {"order": {"revocation": proven.to_wire()}}, ("order", "revocation")),
        "suspend": Order("suspend", {"suspension": world.signed(world.suspension("carol")).to_wire()}, ("suspension",)),
        "roster": Order(
            "publish-roster", {"roster": world.signed(world.roster(2), "olga", "omar").to_wire()}, ("roster",)
        ),
        "login": Order("login", {"login": world.signed(login(world)).to_wire()}, ("login",)),
    }


def login(world: World) -> dict[str, Any]:
    return world.statement("login", "alice", days=4 / 24 / 60, server=SERVER, challenge=CHALLENGE)


def give(world: World, name: str, arguments: dict[str, Any]) -> None:
    """To the signer; a login to what judges it at the registry."""
    assert world.authority is not None
    if name == "login":
        signed = SignedStatement.parse(arguments["login"])
        roster = world.authority.last_roster()
        verify_login(signed, roster=roster, server=SERVER, challenge=CHALLENGE, now=world.clock())
    else:
        call(world, name, **arguments)


OTHER: Final[dict[str, Any]] = {"renews": "ab12", "revocation_date": "2026-11-24T12:00:07Z", "exception": {}}
"""For what is null in the good one."""


def another(kind: str, field: str, value: Any) -> Any:  # one answer for each type
    annotation = KINDS[kind].model_fields[field].annotation
    words = [word for word in typing.get_args(annotation) if isinstance(word, str) and word != value]
    match value:
        case _ if field == "kind":
            return "request" if kind != "request" else "decision"
        case None:
            return OTHER[field]
        case bool():
            return not value
        case int():
            return value + 1
        case str() if words:
            return words[0]
        case str() if re.fullmatch(r"\d{4}-.*Z", value):
            return value[:-3] + ("1Z" if value[-3:-1] != "11" else "12Z").rjust(3, "1")
        case str() if re.fullmatch(r"[0-9a-f]{32,64}", value):
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case str():
            return value[:-4] + "AAAA" if len(value) > 100 else f"{value}x"
        case list():
            return value[:-1] if value else ["AAAA"]
        case dict():
            return dict(list(value.items())[:-1])
    raise AssertionError(field)


FIELDS: Final = [(name, field) for name, kind in ATTACKED.items() for field in KINDS[kind].model_fields]


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=[f"{name}-{field}" for name, field in FIELDS])
def test_no_field_can_be_changed_after_it_was_signed(
    world: World, orders: dict[str, Order], name: str, field: str
) -> None:
    assert world.authority is not None
    order, ledger, index = orders[name], world.authority.ledger, world.authority.index
    value = order.statement[field]
    lie = order.changed(field, another(ATTACKED[name], field, value))
    assert lie != order.arguments
    before, answered, revoked, roster = ledger.size, index.answered, dict(index.revoked), world.authority.roster
    denied = dict(index.denied)
    with pytest.raises((PolicyViolation, InputError, NotFound)) as caught:
        give(world, order.name, lie)
    assert (index.answered, dict(index.revoked), world.authority.roster) == (answered, revoked, roster)
    assert index.denied == denied
    new = [parse_entry(ledger.read(place)) for place in range(before, ledger.size)]
    if isinstance(caught.value, PolicyViolation) and order.name != "login":
        assert [entry.rule for entry in new if isinstance(entry, RefusalEntry)] == [caught.value.rule]
    assert all(isinstance(entry, RefusalEntry) for entry in new)


@pytest.mark.parametrize("name", ATTACKED)
def test_what_was_changed_was_good(world: World, orders: dict[str, Order], name: str) -> None:
    """The last word on the tests above: it was the change that was refused."""
    if name not in ("decision", "countersignature", "denied"):  # their order is another's: the request's, and so on
        give(world, orders[name].name, orders[name].arguments)


def test_every_kind_is_attacked(orders: dict[str, Order]) -> None:
    assert set(orders) == set(ATTACKED)


ELSEWHERE: Final = {
    "tests/statements/test_quorum.py": {"ORDER-SAME-KEY", "ORDER-SELF-KEY"},  # no roster gives two people one key
    "tests/statements/test_orders.py": {"REV-SAME-KEY"},
    "tests/statements/test_logins.py": {"LOGIN-CHALLENGE", "LOGIN-PERSON", "LOGIN-SERVER"},  # the signer takes none
    "tests/statements/test_roster.py": {
        "ROSTER-DUPLICATE-KEY",
        "ROSTER-DUPLICATE-PERSON",
        "ROSTER-KEY",
        "ROSTER-ROLE",
        "ROSTER-TEAM",
    },
    "tests/issuing/test_issuance.py": {"CS-KEY-CA", "CS-KEY-OTHER-TEAM"},
    "tests/issuing/test_revocation.py": {"REV-KEY-LIVE", "REV-NOT-REVOKED"},
}
"""Rules that are tried where they stand, and not by an adversary."""
_RULE: Final = re.compile(
    r'"((?:STMT|LOGIN|REQ|DEC|ORDER|EXC|ATTEST|RENEW|REV|ROSTER|POLICY|SUSPEND|CLOCK|STANDING|LOSS|CS-KEY)-[A-Z-]+)"'
)


def test_every_rule_of_the_gate_is_named_by_a_test() -> None:
    raised = {
        rule
        for room in ("statements", "issuing")
        for path in (SOURCES / room).glob("*.py")
        for rule in _RULE.findall(path.read_text())
    }
    tests = SOURCES.parents[1] / "tests"
    named = {rule for path in (tests / "attacks").glob("test_*.py") for rule in _RULE.findall(path.read_text())}
    for file, rules in ELSEWHERE.items():
        text = (tests.parent / file).read_text()
        assert {rule for rule in rules if f'"{rule}"' in text} == rules, file
    assert len(raised) > 70
    assert raised - named == set()


def test_every_rule_of_the_gate_stands_in_the_policy() -> None:
    policy = (CA_FOLDER / "policy.md").read_text()
    rules = {rule for path in (SOURCES / "issuing").glob("*.py") for rule in _RULE.findall(path.read_text())}
    assert {rule for rule in rules if f"| {rule} |" not in policy} == set()
