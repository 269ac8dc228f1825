"""A PKI's life on a simulated clock: its ceremonies rehearsed at their moments, its signers run in between.

Keys are SoftHSM's, made in the ceremonies; ledgers, rosters, imports and audits are the real ones. What verifiers would
be shown at a moment is written down with a ``Question``, and all of them are asked in the end: by then nothing of it
has changed, and a Java starts once.
"""

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from ceremonies import CHECKOUT
from exports import DictExport
from moments import Question
from sealwright.audit.export import TRUST, wanted_names
from sealwright.audit.findings import Findings
from sealwright.audit.verify import Evidence, crls_by_digest, verify_export
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.softhsm import copy_token, erase_token, use_store
from sealwright.installation.bridge import import_record
from sealwright.installation.install import Installation, install
from sealwright.installed import load_installed
from sealwright.issuing.clock import hear_operator, leave_word
from sealwright.issuing.crl import issue_crl
from sealwright.ledger.entries import StartEntry
from sealwright.ledger.reader import LedgerReader
from sealwright.statements.receipts import Receipt
from world import Clock, SSHPerson, World, call, new_person, wire_time

NAMES = ("olga", "omar", "odile", "wanda", "alice", "bob", "carol", "mallory", "nina")
OFFICERS = ("olga", "omar", "odile", "wanda")
ROOT_YEARS, ISSUING_YEARS = 16, 13
"""Of 365 days: shorter than ca/profiles has them, so that the life has fewer yearly CRLs."""


@dataclass
class Online:
    """An issuing CA at work: installed from its records, with a ledger of its own."""

    life: "Life"
    world: World
    store: Path
    tokens: str
    """What its tokens are called in the store, behind their names."""
    officers: tuple[str, ...] = OFFICERS
    roster: int = 0
    crls: list[bytes] = field(default_factory=list)
    genesis: str = "genesis"

    @property
    def folder(self) -> Path:
        return self.world.installed.folder

    @contextmanager
    def at_work(self, at: datetime) -> Iterator[World]:
        """The signer, started at a moment with the roster of that day, and stopped again."""
        world, held = self.world, json.loads((self.folder / "keys.json").read_bytes())
        use_store(self.life.module, self.store)
        with ExitStack() as opened:
            for name in ("issuing", "ledger"):
                pin = Pin.from_file(self.life.pin_file(f"{name}{self.tokens}"))
                module = load_module(self.life.module)
                session = opened.enter_context(TokenSession.open(module, held[name]["token_serial"], pin))
                key: Any = private_key(session, bytes.fromhex(held[name]["key_id"]))
                world.keys[name] = key
            world.ledger_key = world.keys["ledger"]  # type: ignore[assignment]  # Ed25519, says the ceremony
            world.installed = load_installed(self.folder)
            world.clock.now = at
            authority = world.start()
            leave_word(self.folder, at, at)  # it was away for months: an operator says that the clock is right
            hear_operator(authority)
            authority.record(StartEntry(at=at, pki=world.pki, mode="REHEARSAL", version="0.1.0"))
            self.roster += 1
            roster = world.roster(self.roster, officers=self.named())
            call(world, "publish-roster", roster=world.signed(roster, "olga", "omar").to_wire())
            try:
                yield world
                self.crls.append(issue_crl(authority).read_bytes())
            finally:
                world.stop()

    def named(self) -> list[dict[str, str]]:
        """The officers, as a roster has them."""
        return [{"name": name, "key": self.world.people[name].key} for name in self.officers]

    def issue(self, world: World) -> x509.Certificate:
        """By a request of alice's and an approval of bob's."""
        receipt = Receipt.parse(call(world, "issue", order=world.order())["receipt"])
        return x509.load_der_x509_certificate(receipt.certificate_der)

    def revoke(self, world: World, certificate: x509.Certificate) -> None:
        order = world.signed(world.revocation(f"{certificate.serial_number:x}")).to_wire()
        call(world, "revoke", order={"revocation": order})

    def take(self, record: CeremonyRecord, at: datetime) -> None:
        """What ``sealwrightd import`` does."""
        import_record(self.folder, record, at)

    def audit(self) -> Findings:
        """From the PKI id to the last entry, with every CRL, and the genesis."""
        installed = self.world.installed
        reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
        files = {name: reader.resource(name) for name in wanted_names(reader.size) if name not in TRUST}
        files |= {name: (self.folder / name).read_bytes() for name in TRUST}
        evidence = Evidence(
            pki_id=self.world.pki,
            genesis=self.life.records[self.genesis].outputs,
            crls=crls_by_digest(self.crls),
        )
        return verify_export(DictExport(files), evidence)


@dataclass
class Life:
    """``files``: the newest of each input of the root's ceremonies. ``last``: the ceremony before the next one."""

    folder: Path
    module: Path
    people: dict[str, SSHPerson]
    store: Path
    records: dict[str, CeremonyRecord] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    last: str = ""
    crls: list[bytes] = field(default_factory=list)
    questions: list[tuple[Question, str]] = field(default_factory=list)

    @classmethod
    def begin(cls, folder: Path, module: Path) -> "Life":
        (folder / "people").mkdir(parents=True)
        people = {name: new_person(folder / "people", name) for name in NAMES}
        (folder / "shown").mkdir()
        life = cls(folder, module, people, folder / "tokens/softhsm2.conf")
        lines = (f'[[officers]]\nname = "{name}"\nkey = "{people[name].key}"\n' for name in OFFICERS)
        (folder / "officers.toml").write_text("threshold = 2\n" + "".join(lines))
        return life

    def pin_file(self, token: str) -> Path:
        """By the token's name in its store; a copy of a token has its original's PIN."""
        return self.folder / "pins" / f"{token}.pin"

    def ca(self, root: int, issuing: int) -> Path:
        """``ca/`` of this root and this issuing CA; P-384, because it is fast."""
        place = self.folder / f"ca-{root}-{issuing}"
        if not place.exists():
            shutil.copytree(CHECKOUT / "ca", place, ignore=shutil.ignore_patterns("roster.toml"))
            for name, years in (("root", ROOT_YEARS), ("issuing-ca", ISSUING_YEARS)):
                profile = place / f"profiles/{name}.toml"
                text = re.sub(r'(?m)^keys = \["rsa-4096"\]', 'keys = ["p-384"]', profile.read_text())
                profile.write_text(re.sub(r"(?m)^validity_days = \d+", f"validity_days = {years * 365}", text))
            text = (place / "pki.toml").read_text()
            for tier, number in (("root", root), ("issuing", issuing)):
                text = text.replace(f'"{tier}-1"', f'"{tier}-{number}"')
            text = text.replace("Root 1", f"Root {root}").replace("CA 1", f"CA {issuing}")
            (place / "pki.toml").write_text(text)
        return place

    def script(self, kind: Kind, old: str, new: str) -> Path:
        """The reviewed script with a word changed."""
        path = self.folder / f"{kind}-{hashlib.sha256(new.encode()).hexdigest()[:8]}.toml"
        text = (CHECKOUT / "ceremonies" / kind / "script.toml").read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return path

    def perform(
        self,
        name: str,
        kind: Kind,
        at: datetime,
        *,
        ca: Path,
        inputs: dict[str, Path] | None = None,
        tokens: dict[str, str] | None = None,
        stores: dict[str, Path] | None = None,
        script: Path | None = None,
        shared: tuple[str, ...] = (),
    ) -> CeremonyRecord:
        """One ceremony at its moment. ``tokens``: what they are called in the store, where not as in the script;
        ``shared``: those that are opened by shares."""
        site = self.folder / f"{name}-site.toml"
        named = tokens or {}
        lines = [
            f'[tokens.{token}]\nrehearsed_as = "{stored}"\n'
            + ('activation = "shamir"\n' if token in shared else f'pin_file = "{self.pin_file(stored)}"\n')
            for token, stored in named.items()
        ]
        lines.append(f'[rehearsal]\nsofthsm_conf = "{self.store}"\n')
        lines += ["[rehearsal.stores]\n", *(f'{token} = "{path}"\n' for token, path in (stores or {}).items())]
        site.write_text("".join(lines))
        folder = self.folder / name
        given = {**self.files, **(inputs or {})}
        wanted = re.findall(r'"([^"]+)"', re.search(r"(?ms)^inputs = \[(.*?)\]", self._text(kind, script)).group(1))  # type: ignore[union-attr]  # every script has them
        chosen = {each: given[each] for each in wanted if each in given}
        new_folder(kind, folder, ca=ca, inputs=chosen, script=script, site=site)
        previous = self.records[self.last].path if self.last else None
        prepare(folder, at=at, previous=previous)
        record = rehearse(folder, unattended=True)
        self.records[name] = record
        self.last = name
        self.files |= {each: record.path / "outputs" / each for each in record.outputs}
        if "root.crl" in record.outputs:
            self.crls.append(record.read("root.crl"))
        return record

    @staticmethod
    def _text(kind: Kind, script: Path | None) -> str:
        return (script or CHECKOUT / "ceremonies" / kind / "script.toml").read_text()

    def other(self) -> "Life":
        """The same life, for another root: its own files, and a ceremony before that is none of the first's."""
        return Life(self.folder, self.module, self.people, self.store, self.records, questions=self.questions)

    def move_token(self, name: str, serial: str) -> None:
        """From the first store to the present one, with its holders' papers."""
        first = self.folder / "tokens/softhsm2.conf"
        copy_token(first, serial, self.store)
        erase_token(first, serial)
        (self.store.parent / "pins").mkdir(exist_ok=True)
        for paper in (first.parent / "pins").glob(f"*{name}*"):
            shutil.copy(paper, self.store.parent / "pins")

    def go_online(self, name: str, records: list[str], ca: Path, tokens: str, at: datetime) -> Online:
        """``sealwrightd install`` from the records, the first of which is the genesis."""
        use_store(self.module, self.store)
        folder = self.folder / name
        install(
            Installation(
                genesis=self.records[records[0]].path,
                records=[self.records[each].path for each in records[1:]],
                ca=ca,
                folder=folder,
                module=self.module,
                environment={},
                pins={token: self.pin_file(f"{token}{tokens}") for token in ("issuing", "ocsp", "ledger")},
                registry_listen="127.0.0.1:1",
                registry_url="http://127.0.0.1:1",
                validation_listen="127.0.0.1:2",
                rehearsal=True,
            )
        )
        held = json.loads((folder / "keys.json").read_bytes())
        public = load_der_public_key(base64.b64decode(held["ocsp"]["spki"]))
        ocsp: Any = SimpleNamespace(public_key=lambda: public)
        nobody: Any = None
        world = World(folder, self.people, {"ocsp": ocsp}, nobody, load_installed(folder), clock=Clock(now=at))
        return Online(self, world, self.store, tokens, genesis=records[0])

    # What verifiers are shown

    def show(self, name: str, value: bytes | x509.Certificate) -> str:
        """A file of theirs: a certificate or, in DER, a CRL (and the same in PEM)."""
        place = self.folder / "shown" / name
        if isinstance(value, x509.Certificate):
            place.write_bytes(value.public_bytes(Encoding.PEM))
        elif name.endswith(".crl"):
            place.write_bytes(value)
            pem = x509.load_der_x509_crl(value).public_bytes(Encoding.PEM)
            place.with_name(f"{name}.pem").write_bytes(pem)
        else:
            place.write_bytes(value)
        return name

    def ask(
        self,
        name: str,
        at: datetime,
        verdict: str,
        *,
        chain: list[bytes | x509.Certificate],
        anchor: bytes,
        crls: list[bytes],
    ) -> None:
        """To be asked of everybody in the end."""
        files = tuple(self.show(f"{name}-{place}.pem", each) for place, each in enumerate(chain))
        lists = tuple(self.show(f"{name}-{place}.crl", each) for place, each in enumerate(crls))
        question = Question(name, at, files, self.show(f"{name}-anchor.pem", anchor), lists)
        self.questions.append((question, verdict))

    def decide(self, issuing: bytes, known: datetime) -> Path:
        """``decision.toml``: that this issuing CA is compromised, since the moment when that was known."""
        certificate = x509.load_pem_x509_certificate(issuing)
        path = self.folder / "decision.toml"
        digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()
        path.write_text(
            f'serial = "{certificate.serial_number:x}"\ncertificate_sha256 = "{digest}"\nreason = "cACompromise"\n'
            f'revocation_date = "{wire_time(known)}"\nknown_since = "{wire_time(known)}"\n'
            'decided_by = ["olga", "omar"]\nwhy = "its token was found on a table"\ncertificates = []\n'
        )
        return path


def days(count: float) -> timedelta:
    return timedelta(days=count)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)
