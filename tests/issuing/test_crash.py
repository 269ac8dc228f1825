"""SIGKILL at every named point of every act of the signer, then a restart, and a look at everything that counts.

Every certificate that was ever signed is in the ledger, and is its order's or revoked; no serial and no CRL number is
used twice; no order has two unrevoked certificates; nothing revoked is ever good again; what was to be done can be
done; and an auditor who knows nothing of crashes finds no fault. ``killed`` is the signer that dies.
"""

import base64
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exports import audit
from sealwright.errors import Conflict, PolicyViolation
from sealwright.installed import load_installed
from sealwright.issuing.crl import crl_path, issue_crl
from sealwright.issuing.recover import recover_ledger
from sealwright.issuing.recovery import record_start
from sealwright.ledger.entries import CRLIntentEntry, IntentEntry, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.crl import read_crl
from sealwright.pki.serials import format_serial, parse_serial
from sealwright.pki.signatures import SignatureScheme, assemble_signed
from sealwright.points import Point, listen, reached
from sealwright.statements.receipts import Receipt
from world import World, call, make_world, wire_time

APPEND: Final = (Point.CHECKPOINT_SIGNED, Point.ENTRIES_DURABLE, Point.CHECKPOINT_DURABLE)
SIGN: Final = (*APPEND, Point.INTENT_DURABLE, Point.CERTIFICATE_SIGNED, *APPEND, Point.CERTIFICATE_DURABLE)

ACTS: Final[Mapping[str, tuple[Point, ...]]] = {
    "issue": (
        Point.ORDER_RECEIVED,
        Point.ORDER_PERMITTED,
        Point.DRAFT_LINTED,
        Point.STILL_PERMITTED,
        *SIGN,
        Point.RECEIPT_MADE,
    ),
    "refuse": (Point.ORDER_RECEIVED, *APPEND, Point.REFUSAL_DURABLE),
    "revoke": (Point.REVOCATION_JUDGED, *APPEND, Point.REVOCATION_DURABLE),
    "correct": (Point.REVOCATION_JUDGED, *APPEND, Point.REVOCATION_DURABLE),
    "deny": (Point.DENIAL_JUDGED, *APPEND, Point.DENIAL_DURABLE),
    "crl": (
        Point.CRL_LINTED,
        *APPEND,
        Point.CRL_NUMBER_DURABLE,
        Point.CRL_SIGNED,
        *APPEND,
        Point.CRL_DURABLE,
        Point.CRL_PUBLISHED,
    ),
    "responder-certificate": (
        Point.RESPONDER_DRAFTED,
        Point.DRAFT_LINTED,
        Point.STILL_PERMITTED,
        *SIGN,
        Point.RECEIPT_MADE,
        Point.RESPONDER_MADE,
    ),
    "publish-roster": (Point.ROSTER_JUDGED, *APPEND, Point.ROSTER_DURABLE),
    "suspend": (Point.SUSPENSION_JUDGED, *APPEND, Point.SUSPENSION_DURABLE),
    "start": (Point.LEDGER_REPLAYED, *APPEND, Point.START_DURABLE, *APPEND, Point.INTENT_CLOSED, Point.RECOVERED),
    "recover": (Point.COPY_DURABLE, Point.OLD_SET_ASIDE, Point.COPY_IN_PLACE),
}
"""What each act reaches, in this order. It is killed at each of them in turn."""

DONE: Final[Mapping[str, str]] = {
    "issue": "ORDER-USED",
    "revoke": "REV-ALREADY",
    "correct": "REV-USED",
    "publish-roster": "ROSTER-VERSION",
    "suspend": "SUSPEND-ALREADY",
}
"""By which rule an act is refused that was done already."""


class Signers:
    """Signers that die, one after the other."""

    def __init__(self) -> None:
        program = Path(__file__).with_name("killed.py")
        paths = os.pathsep.join((str(program.parents[1]), os.environ.get("PYTHONPATH", "")))
        self._process = subprocess.Popen(
            [sys.executable, str(program)],
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, stage: "Stage", act: str, arguments: Mapping[str, Any], die_at: int | None) -> int:
        """The exit code, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        task = {
            "world": base64.b64encode(stage.pickled).decode(),
            "trace": str(stage.trace),
            "signed": str(stage.signed),
            "act": act,
            "arguments": arguments,
            "die_at": die_at,
        }
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture(scope="module")
def signers() -> Iterator[Signers]:
    found = Signers()
    yield found
    found.close()


@dataclass(frozen=True)
class Stage:
    """A PKI at rest, and where a signer that runs on it leaves its notes."""

    world: World
    revoked: str
    """A serial that is revoked before anything happens."""
    live: str
    lies: Path
    """Where what the signer's followers have lies, for ``recover``."""
    trace: Path = field(init=False)
    signed: Path = field(init=False)

    def __post_init__(self) -> None:
        folder = self.world.installed.folder.parent
        object.__setattr__(self, "trace", folder / "trace")
        object.__setattr__(self, "signed", folder / "signed")

    @property
    def pickled(self) -> bytes:
        def der(key: Any) -> bytes:
            return bytes(key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

        world = self.world
        keys = {name: der(key) for name, key in world.keys.items()}
        return pickle.dumps((world.installed.folder, keys, der(world.ledger_key), world.clock.now))

    def copy(self, folder: Path) -> "Stage":
        """The same PKI in another place."""
        shutil.copytree(self.world.installed.folder.parent, folder)
        installed = load_installed(folder / "pki")
        world = World(installed.folder, self.world.people, self.world.keys, self.world.ledger_key, installed)
        world.clock.now = self.world.clock.now
        return Stage(world, self.revoked, self.live, folder / "later")

    def entries(self) -> list[bytes]:
        installed = self.world.installed
        return list(LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key).iterate())

    def arguments(self, act: str) -> dict[str, Any]:
        """What this act is called with."""
        world = self.world
        match act:
            case "issue":
                return {"order": world.order()}
            case "refuse":
                request = world.signed(world.request())
                return {"order": {"request": request.to_wire(), "decisions": []}}
            case "deny":
                request = world.signed(world.request())
                no = world.signed(world.decision(request, verdict="deny"))
                return {"request": request.to_wire(), "decision": no.to_wire()}
            case "revoke":
                return {"order": {"revocation": world.signed(world.revocation(self.live)).to_wire()}}
            case "correct":
                then = wire_time(world.clock.now.replace(minute=0))
                fields = {"serials": [self.revoked], "reason": "keyCompromise", "revocation_date": then, "comment": ""}
                correction = world.signed(world.statement("correction", "bob", **fields))
                second = world.signed(world.countersignature(correction))
                return {"order": {"revocation": correction.to_wire(), "countersignature": second.to_wire()}}
            case "publish-roster":
                return {"roster": world.signed(world.roster(2), "olga", "omar").to_wire()}
            case "suspend":
                return {"suspension": world.signed(world.suspension("carol")).to_wire()}
            case "recover":
                return json.loads(self.lies.read_text())  # type: ignore[no-any-return]
            case _:
                return {}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A roster, a CRL, a live certificate, and a revoked one; the ledger's followers have a little more."""
    world = make_world(tmp_path_factory.mktemp("template") / "w")
    authority = world.start()
    record_start(authority)
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    world.clock.pass_(minutes=30)
    receipts = [Receipt.parse(call(world, "issue", order=world.order())["receipt"]) for _ in range(2)]
    live, revoked = (format_serial(parse_serial(f"{each.load_certificate().serial_number:x}")) for each in receipts)
    call(world, "revoke", order={"revocation": world.signed(world.revocation(revoked)).to_wire()})
    world.clock.pass_(minutes=1)
    issue_crl(authority)
    world.stop()
    folder = world.installed.folder.parent
    shutil.copytree(world.installed.ledger, folder / "backup")
    world.start()
    call(world, "issue", order=world.order())
    world.stop()
    later = Stage(world, revoked, live, folder / "later")
    checkpoint = (world.installed.ledger / "checkpoint").read_text()
    entries = [base64.b64encode(entry).decode() for entry in later.entries()]
    later.lies.write_text(json.dumps({"entries": entries, "checkpoint": checkpoint}))
    shutil.rmtree(world.installed.ledger)
    (folder / "backup").rename(world.installed.ledger)
    return later


@pytest.fixture
def stage(template: Stage, tmp_path: Path) -> Stage:
    return template.copy(tmp_path / "w")


def prepare(stage: Stage, signers: Signers, act: str) -> dict[str, Any]:
    """What happened before the act, and its arguments."""
    if act == "start":  # after a crash that left an intent open
        died = signers.run(stage, "issue", stage.arguments("issue"), ACTS["issue"].index(Point.CERTIFICATE_SIGNED))
        assert died == -signal.SIGKILL
        stage.trace.unlink()
    return stage.arguments(act)


def trace_of(stage: Stage) -> tuple[Point, ...]:
    return tuple(map(Point, stage.trace.read_text().split()))


@pytest.mark.parametrize("act", ACTS)
def test_an_act_reaches_its_points_in_their_order(stage: Stage, signers: Signers, act: str) -> None:
    assert signers.run(stage, act, prepare(stage, signers, act), None) == 0
    assert trace_of(stage) == ACTS[act]


def test_every_point_is_on_the_way_of_an_act() -> None:
    assert {point for act in ACTS.values() for point in act} == set(Point)


def test_nobody_listens_unless_this_process_asked_to() -> None:
    heard: list[Point] = []
    reached(Point.RECOVERED)
    with listen(heard.append):
        reached(Point.RECOVERED)
        with pytest.raises(RuntimeError), listen(heard.append):
            pass
    reached(Point.RECOVERED)
    assert heard == [Point.RECOVERED]


@pytest.mark.parametrize(
    ("act", "place"), [pytest.param(act, n, id=f"{act}-{n}-{p}") for act in ACTS for n, p in enumerate(ACTS[act])]
)
def test_a_kill_loses_nothing_and_gives_nothing_twice(stage: Stage, signers: Signers, act: str, place: int) -> None:
    arguments = prepare(stage, signers, act)
    before, crl_before = stage.entries(), crl_path_of(stage).read_bytes()
    assert signers.run(stage, act, arguments, place) == -signal.SIGKILL
    assert trace_of(stage) == ACTS[act][: place + 1]
    published = crl_path_of(stage).read_bytes()
    assert (published == crl_before) is (ACTS[act][place] is not Point.CRL_PUBLISHED)

    world = stage.world
    if act == "recover":
        done_already = ACTS[act][place] is Point.COPY_IN_PLACE
        try:
            recover_ledger(world.installed, map(base64.b64decode, arguments["entries"]), arguments["checkpoint"])
        except Conflict:
            assert done_already
    authority = world.start()
    record_start(authority)
    check_what_counts(stage, before)
    if act not in ("start", "recover"):
        ask_again(world, act, arguments)
    check_what_counts(stage, before)
    world.stop()
    assert audit(world).problems == []


def crl_path_of(stage: Stage) -> Path:
    return next(path for path in stage.world.installed.crls.iterdir() if path.name.startswith("issuing"))


def ask_again(world: World, act: str, arguments: Mapping[str, Any]) -> None:
    """Whoever got no answer asks again, until it is done; and then it is done."""
    assert world.authority is not None
    match act:
        case "crl":
            issue_crl(world.authority)
        case "responder-certificate":
            assert call(world, act) == call(world, act)
        case "deny":
            assert call(world, act, **arguments) == call(world, act, **arguments)
        case "refuse":
            with pytest.raises(PolicyViolation):
                call(world, "issue", **arguments)
        case _:
            with suppress(PolicyViolation):
                call(world, {"correct": "revoke"}.get(act, act), **arguments)
            with pytest.raises(PolicyViolation) as refused:
                call(world, {"correct": "revoke"}.get(act, act), **arguments)
            assert refused.value.rule == DONE[act]
    if act == "issue":
        assert len(world.authority.index.issued_for) == 3


def check_what_counts(stage: Stage, before: list[bytes]) -> None:
    authority = stage.world.authority
    assert authority is not None
    index, entries = authority.index, [parse_entry(data) for data in authority.ledger.iterate()]
    assert [data for data, _ in zip(authority.ledger.iterate(), before, strict=False)] == before

    certificates, crls = read_signed(stage)
    intents = {entry.serial: entry for entry in entries if isinstance(entry, IntentEntry)}
    assert len(intents) == sum(isinstance(entry, IntentEntry) for entry in entries)
    for tbs, serial in certificates.items():
        assert intents[format_serial(serial)].tbs_der == tbs
        assert serial in index.issued or serial in index.revoked
    unrevoked = Counter(
        entry.order.request.sha256
        for serial, entry in intents.items()
        if entry.order is not None and parse_serial(serial) not in index.revoked
    )
    assert set(unrevoked.values()) <= {1}
    assert not index.intents

    assert parse_serial(stage.revoked) in index.revoked
    crl, number = read_crl(issue_crl(authority).read_bytes(), authority.installed.issuing)
    assert {entry.serial_number for entry in crl} == set(index.revoked)
    assert crl_path(authority) == crl_path_of(stage)
    numbers = [
        entry.number for data in authority.ledger.iterate() if isinstance(entry := parse_entry(data), CRLIntentEntry)
    ]
    assert numbers == sorted(set(numbers))
    assert number == numbers[-1]
    assert len(set(crls)) == len(crls)
    assert set(crls) < set(numbers)
    leftovers = [path.name for path in crl_path(authority).parent.iterdir() if path.name != crl_path(authority).name]
    assert leftovers == []


def read_signed(stage: Stage) -> tuple[dict[bytes, int], list[int]]:
    """What the issuing key signed in the signer that died: TBS and serial of certificates, and numbers of CRLs."""
    certificates: dict[bytes, int] = {}
    crls = []
    lines = stage.signed.read_bytes().split() if stage.signed.exists() else []
    for tbs in map(base64.b64decode, lines):
        der = assemble_signed(tbs, SignatureScheme.ECDSA_SHA384, bytes(8))
        try:
            certificates[tbs] = x509.load_der_x509_certificate(der).serial_number
        except ValueError:
            crl = x509.load_der_x509_crl(der)
            crls.append(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number)
    return certificates, crls
