"""Exports in memory, for tests: of a real signer's ledger, and as whoever holds the ledger key could forge them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.audit.export import TRUST, wanted_names
from sealwright.audit.findings import Findings
from sealwright.audit.verify import Evidence, crls_by_digest, verify_export
from sealwright.errors import NotFound, PolicyViolation
from sealwright.issuing.crl import issue_crl
from sealwright.issuing.loss import declare_loss
from sealwright.issuing.recovery import close_open_intents
from sealwright.issuing.responder import responder_certificate
from sealwright.ledger.bundles import encode_entry
from sealwright.ledger.checkpoint import sign_checkpoint
from sealwright.ledger.entries import ClockEntry, IntentEntry, StartEntry, TokenEntry, parse_entry
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.tiles import CHECKPOINT, bundles_of, hash_tiles_of
from sealwright.ledger.tree import MerkleTree, leaf_hash
from sealwright.pki.certificates import draft_certificate, lint_draft
from sealwright.pki.serials import format_serial, new_serial
from sealwright.statements.orders import IssuanceOrder, verify_order
from sealwright.statements.pinned import read_policy
from world import World, call, wire_time


@dataclass(frozen=True)
class DictExport:
    files: Mapping[str, bytes]

    def names(self) -> frozenset[str]:
        return frozenset(self.files)

    def read(self, name: str) -> bytes:
        if name not in self.files:
            raise NotFound(f"the export has no file {name}")
        return self.files[name]


@dataclass(frozen=True)
class Story:
    """A ledger with every kind of entry, in entries, and what is needed to sign it again."""

    pki: str
    origin: str
    key: Ed25519PrivateKey
    trust: Mapping[str, bytes]
    entries: tuple[bytes, ...]
    crl: bytes
    serials: tuple[str, ...] = field(default=())

    def files(self, entries: Sequence[bytes] | None = None) -> dict[str, bytes]:
        """The export of these entries, signed by the ledger key: what a dishonest signer could publish."""
        entries = self.entries if entries is None else tuple(entries)
        tree = MerkleTree()
        for entry in entries:
            tree.append(leaf_hash(entry))
        size = len(entries)
        found = dict(self.trust)
        found[CHECKPOINT] = sign_checkpoint(self.origin, size, tree.root(), self.key).encode()
        for tile in bundles_of(size):
            found[tile.name] = b"".join(map(encode_entry, entries[tile.start : tile.end]))
        for tile in hash_tiles_of(size):
            found[tile.name] = tree.hashes(tile.height, tile.start, tile.end)
        return found

    def with_entry(self, index: int, entry: bytes) -> tuple[bytes, ...]:
        return (*self.entries[:index], entry, *self.entries[index + 1 :])

    def verify(self, files: Mapping[str, bytes], **evidence: object) -> Findings:
        return verify_export(DictExport(files), replace(Evidence(pki_id=self.pki), **evidence))

    @property
    def crls(self) -> dict[str, bytes]:
        return {sha256(self.crl).hexdigest(): self.crl}

    def index_of(self, kind: str, nth: int = 0) -> int:
        found = [place for place, data in enumerate(self.entries) if parse_entry(data).type == kind]
        return found[nth]


def tell_story(world: World) -> Story:
    """Two rosters, two teams, a refusal, a renewal's kin, a revocation, CRLs, a responder, and a crash."""
    authority = world.start()

    def start() -> None:
        pki, mode = world.pki, authority.installed.anchor.mode
        authority.record(StartEntry(at=world.clock(), pki=pki, mode=mode, version="0.1.0"))

    start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    serials = [_issue(world)]
    world.clock.pass_(minutes=1)
    serials.append(_issue(world, person="mallory", team="games", project="chess"))
    alone = world.signed(world.request()).to_wire()
    with suppress(PolicyViolation):
        call(world, "issue", order={"request": alone, "decisions": []})
    for person in ("bob", "alice"):  # an approver's no, and a request that was taken back
        request = world.signed(world.request())
        no = world.signed(world.decision(request, person, verdict="deny"))
        call(world, "deny", request=request.to_wire(), decision=no.to_wire())
    world.clock.pass_(minutes=1)
    issue_crl(authority)
    responder_certificate(authority)
    world.clock.pass_(minutes=1)
    revocation = world.signed(world.revocation(serials[0])).to_wire()
    call(world, "revoke", order={"revocation": revocation})
    _crash(world)
    start()
    close_open_intents(authority)
    path = issue_crl(authority)
    call(world, "publish-roster", roster=world.signed(world.roster(2, threshold=3), "olga", "omar", "odile").to_wire())
    world.clock.pass_(minutes=1)
    serials.append(_issue(world))
    call(world, "revoke", order={"revocation": world.signed(world.revocation(serials[1], "olga")).to_wire()})
    _correct(world, serials[1])
    suspension = world.signed(world.suspension("carol", "odile"))
    call(world, "suspend", suspension=suspension.to_wire())
    away = "no token with this serial number"
    authority.record(TokenEntry(at=world.clock(), token="0123abcd", event="away", happened=world.clock(), reason=away))
    authority.record(ClockEntry(at=world.clock(), before=world.clock(), said=world.clock()))
    for _ in range(3):
        start()
    _lose(world)
    start()
    entries = tuple(authority.ledger.iterate())
    crl = path.read_bytes()
    world.stop()
    folder = world.installed.folder
    trust = {name: (folder / name).read_bytes() for name in TRUST}
    origin = world.installed.anchor.ledger_origin
    return Story(world.pki, origin, world.ledger_key, trust, entries, crl, tuple(serials))


def audit(world: World, crls: Sequence[bytes] = (), *, earlier: str | None = None) -> Findings:
    """What an auditor finds in the ledger of a world, as it lies on the disk, with these CRLs (DER)."""
    installed = world.installed
    reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
    files = {name: reader.resource(name) for name in wanted_names(reader.size) if name not in TRUST}
    files |= {name: (installed.folder / name).read_bytes() for name in TRUST}
    return verify_export(DictExport(files), Evidence(pki_id=world.pki, earlier=earlier, crls=crls_by_digest(crls)))


def _lose(world: World) -> None:
    """Officers declare that something which followed is lost, and a certificate with it."""
    authority = world.authority
    assert authority is not None
    size, root = authority.ledger.size, authority.ledger.root.hex()
    said: dict[str, Any] = {"size": size, "root": root, "lost_size": size + 1, "lost_root": "0" * 64, "crl_number": 12}
    date = wire_time(world.clock() - timedelta(minutes=1))
    said["revocations"] = [
        {"serials": ["1f00"], "revocation_date": date, "reason": "keyCompromise", "scope": ""},
        {"serials": ["1f01"], "revocation_date": None, "reason": None, "scope": "p8-3"},
    ]
    loss = world.statement("loss", "olga", keys=["1" * 64], more=False, comment="", **said)
    declare_loss(authority, world.signed(loss, "olga", "omar", "odile"))


def _correct(world: World, serial: str) -> None:
    """Two people, one of them an officer: it was compromised, and earlier than was thought."""
    then = wire_time(world.clock() - timedelta(minutes=1))
    world.clock.pass_(minutes=1)
    fields = {"serials": [serial], "reason": "keyCompromise", "revocation_date": then, "comment": ""}
    correction = world.signed(world.statement("correction", "nina", **fields))
    countersigned = world.signed(world.countersignature(correction))
    call(world, "revoke", order={"revocation": correction.to_wire(), "countersignature": countersigned.to_wire()})


def _issue(world: World, **changes: object) -> str:
    call(world, "issue", order=world.order(**changes))
    assert world.authority is not None
    return format_serial(world.authority.index.issued.newest)


def _crash(world: World) -> None:
    """An intent for a good order, and nothing after it: what a kill at the token leaves."""
    authority = world.authority
    assert authority is not None
    order = IssuanceOrder.parse(world.order())
    roster, now = authority.last_roster(), world.clock()
    policy = read_policy(world.installed.pinned_files(), roster)
    verified = verify_order(
        order, roster=roster, profiles=policy.profiles, settings=policy.settings, rehearsal=True, now=now
    )
    request, serial = verified.request, new_serial()
    draft = draft_certificate(
        request.profile,
        issuer=world.installed.issuer(policy.settings),
        subject=request.subject,
        public_key=request.csr.public_key,
        serial=serial,
        not_before=now,
        san_uri=request.san_uri,
    )
    tbs, profile = lint_draft(draft).tbs, request.profile.name
    number = format_serial(serial)
    authority.record(IntentEntry.for_tbs(at=now, serial=number, tbs=tbs, profile=profile, order=order, standing=None))


def write_files(folder: object, files: Mapping[str, bytes]) -> None:
    from pathlib import Path

    for name, data in files.items():
        path = Path(str(folder)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
