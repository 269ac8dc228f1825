"""A rehearsal trust domain and the people in it, for the tests of the ceremony room."""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.room import Question, Scene, SecretQuestion
from sealwright.ceremony.script import Kind
from sealwright.hsm.softhsm import copy_token
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.ssh_sign import sign_with_key
from softhsm import TokenFactory

CHECKOUT = Path(__file__).parents[1]
NEXT_KEY = "issuing-key of the next issuing CA"
NEW_ROOT, NEW_KEY, NEW_CA = (f"{kind} of the new root" for kind in ("root-genesis", "issuing-key", "issuing-ca"))
BEFORE: Mapping[Kind, tuple[str, ...]] = {
    Kind.TOKEN_INIT: (),
    Kind.ROOT_GENESIS: (Kind.TOKEN_INIT,),
    Kind.ISSUING_KEY: (Kind.ROOT_GENESIS,),
    Kind.ISSUING_CA: (Kind.ROOT_GENESIS, Kind.ISSUING_KEY),
    Kind.ISSUING_CA_RENEWAL: (Kind.ROOT_GENESIS, NEXT_KEY, Kind.ISSUING_CA),
    Kind.ROOT_CRL: (Kind.ROOT_GENESIS, Kind.ISSUING_CA),
    Kind.REVOKE_ISSUING_CA: (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL),
    Kind.BACKUP: (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA),
    Kind.RESTORE: (Kind.ROOT_GENESIS, Kind.BACKUP),
    Kind.ROOT_ROLLOVER: (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL, NEW_ROOT, NEW_CA),
    Kind.OCSP_DELEGATE: (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA),
    Kind.OFFICERS_CHANGE: (Kind.ROOT_GENESIS, Kind.TOKEN_INIT),
    Kind.INVENTORY: (Kind.ROOT_GENESIS, Kind.RESTORE),
    Kind.KEY_DESTRUCTION: (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA, Kind.RESTORE),
}
"""The records that each kind takes its inputs from, in their order; the last one is the ceremony before it."""
OFFICERS = ("ada", "grace", "lin")
NEW_OFFICERS = ("grace", "joan", "lin")
SHARES = """label = "{label}"
[user]
threshold = 2
holders = ["ada", "grace", "lin"]
[so]
threshold = 2
holders = ["mary", "rosa", "ken"]
"""


@dataclass
class Domain:
    """``records`` by kind, and of what is no kind's first by name. ``ca`` has P-384 for the CAs: the ceremony is the
    same, and the tests are faster."""

    folder: Path
    softhsm: TokenFactory
    records: dict[str, CeremonyRecord] = field(default_factory=dict)

    @property
    def ca(self) -> Path:
        return self.folder / "ca"

    def ca_of(self, kind: Kind) -> Path:
        """The settings that a ceremony of this kind takes: whoever renews the issuing CA has named the next one."""
        return self.next_ca if kind is Kind.ISSUING_CA_RENEWAL else self.ca

    @property
    def next_ca(self) -> Path:
        """Of the next issuing CA under the same root."""
        return self._other_ca("ca-2", ("issuing-1", "issuing-2"), ("CA 1", "CA 2"))

    @property
    def new_ca(self) -> Path:
        """Of the new root and its issuing CA."""
        new = (("root-1", "root-2"), ("Root 1", "Root 2"), ("issuing-1", "issuing-3"), ("CA 1", "CA 3"))
        return self._other_ca("ca-3", *new)

    def _other_ca(self, name: str, *changes: tuple[str, str]) -> Path:
        place = self.folder / name
        if not place.exists():
            shutil.copytree(self.ca, place)
            text = (self.ca / "pki.toml").read_text()
            for old, new in changes:
                text = text.replace(f'"{old}"', f'"{new}"').replace(f'{old}"', f'{new}"')
            (place / "pki.toml").write_text(text)
        return place

    def site_for(self, number: int) -> Path:
        """A room whose tokens have names of their own in the same store."""
        site = self.folder / f"site-{number}.toml"
        tokens = ("root", "issuing", "ocsp", "ledger")
        named = "".join(f'[tokens.{name}]\nrehearsed_as = "{name}-{number}"\n' for name in tokens)
        site.write_text(f'{named}[rehearsal]\nsofthsm_conf = "{self.softhsm.config}"\n')
        return site

    def inputs_of(self, kind: Kind, folder: Path | None = None) -> dict[str, Path]:
        """What no earlier record gives; what has to be written is written to ``folder``."""
        match kind:
            case Kind.TOKEN_INIT:
                return self.officers | self.shares
            case Kind.ROOT_GENESIS:
                return self.officers
            case Kind.REVOKE_ISSUING_CA:
                return self.decision(folder)
            case Kind.OFFICERS_CHANGE:
                return self.new_shares
            case Kind.KEY_DESTRUCTION:
                return self.destruction(folder)
            case _:
                return {}

    @property
    def officers(self) -> dict[str, Path]:
        return {"officers.toml": self.folder / "officers.toml"}

    @property
    def new_officers(self) -> dict[str, Path]:
        """The new root's: ada has left, and joan has come."""
        return {"officers.toml": self.folder / "new-officers.toml"}

    @property
    def shares(self) -> dict[str, Path]:
        return {"shares.toml": self.folder / "shares.toml"}

    @property
    def new_shares(self) -> dict[str, Path]:
        """Of the token of ``token-init``: mary left, and zoe holds her share of the security officer's PIN."""
        path = self.folder / "next-shares.toml"
        path.write_text(self.shares["shares.toml"].read_text().replace("mary", "zoe"))
        return {"shares.toml": path}

    def decision(self, folder: Path | None = None, **changes: str) -> dict[str, Path]:
        """That the issuing CA is revoked; with some fields otherwise."""
        certificate = x509.load_pem_x509_certificate(self.records[Kind.ISSUING_CA].read("issuing.pem"))
        began = certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        fields = {
            "serial": f'"{certificate.serial_number:x}"',
            "certificate_sha256": f'"{certificate.fingerprint(hashes.SHA256()).hex()}"',
            "reason": '"cACompromise"',
            "revocation_date": f'"{began}"',
            "known_since": f'"{began}"',
            "decided_by": '["ada", "grace"]',
            "why": '"a login that nobody made"',
            "certificates": '[{serial = "7a20", subject = "CN=Firmware", not_after = "2099-01-01T00:00:00Z"}, '
            '{serial = "7a21", subject = "CN=Old", not_after = "2020-01-01T00:00:00Z"}]',
        }
        path = (folder or self.folder) / "decision.toml"
        path.write_text("".join(f"{name} = {value}\n" for name, value in (fields | changes).items()))
        return {"decision.toml": path}

    def destruction(self, folder: Path | None = None, root: bytes = b"", lost: str = "") -> dict[str, Path]:
        """That the root's key ends. ``lost``: tables of tokens that are declared lost."""
        root = root or self.records[Kind.ROOT_GENESIS].read("root.pem")
        digest = x509.load_pem_x509_certificate(root).fingerprint(hashes.SHA256()).hex()
        path = (folder or self.folder) / "destruction.toml"
        path.write_text(f'root_sha256 = "{digest}"\ndecided_by = ["ada", "grace"]\nwhy = "it is over"\n{lost}')
        return {"destruction.toml": path}

    def time_of(self, kind: Kind) -> datetime:
        """When it takes place: now, or when everything that the root issued has expired."""
        return utc_now() + timedelta(days=365 * 26 if KINDS[kind].destroys else 0)

    def site_of(self, kind: Kind) -> Path:
        """Two copies are there at the end: the backup, and what was restored from it. What is counted is alone."""
        if KINDS[kind].counted:
            return self.site_with_one_token(self.folder / f"site-{kind}.toml", self.softhsm.directory / "alone")
        if not KINDS[kind].destroys:
            return self.site
        path = self.folder / f"site-{kind}.toml"
        restored = self.softhsm.directory / "restored/softhsm2.conf"
        path.write_text(f'{self.site.read_text()}[rehearsal.stores]\ncopy-2 = "{restored}"\n')
        return path

    def site_with_one_token(self, path: Path, store: Path) -> Path:
        """The root's, in a store of its own: so that there is one record, however many tokens a test run made."""
        conf = store / "softhsm2.conf"
        serial = parse_register(self.records[Kind.ROOT_GENESIS].read("register.json")).root.token_serial
        if not conf.exists():
            copy_token(self.softhsm.config, serial, conf)
        path.write_text(self.site.read_text().replace(str(self.softhsm.config), str(conf)))
        return path

    @property
    def site(self) -> Path:
        return self.folder / "site.toml"

    def pin_file(self, name: str) -> Path:
        """Of a token, by the name that it has in the store."""
        beside = self.softhsm.config.parent / "pins" / f"{name}.pin"
        return beside if beside.exists() else self.folder / "pins" / f"{name}.pin"

    def record(self, kind: str) -> Path:
        return self.records[kind].path

    def before(self, kind: Kind) -> list[Path]:
        """The records that a ceremony of this kind takes its inputs from."""
        return [self.record(each) for each in BEFORE[kind]]


class Cast:
    """People who say what the script wants, except where a test has them say something else."""

    def __init__(self, *wrong: tuple[str, list[str]]) -> None:
        self.wrong = {part: list(answers) for part, answers in wrong}
        self.told: list[str] = []
        self.asked: list[str] = []
        self.signed: list[tuple[str, str, bytes]] = []
        self.keys: dict[str, str] = {}

    def tell(self, text: str) -> None:
        self.told.append(text)

    def begin_step(self, scene: Scene) -> None:
        self.told.append(f"{scene.mode} · step {scene.number} of {scene.total} · {scene.action}")

    def wait(self) -> None:
        self.told.append("(waits)")

    def sign(self, name: str, namespace: str, message: bytes, key: str, *, required: bool) -> str | None:
        self.signed.append((name, namespace, message))
        return sign_with_key(own_key(self.keys.get(name, name)), namespace, message) if required else None

    def own_key(self, name: str, *, required: bool) -> str | None:
        return public_line(self.keys.get(name, name)) if required else None

    def ask_secret(self, question: SecretQuestion) -> str:
        self.asked.append(question.prompt)
        return question.rehearsed

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        self.told.append(f"{what}, for {holder}")

    def ask(self, question: Question) -> str:
        self.asked.append(question.prompt)
        for part, answers in self.wrong.items():
            if part in question.prompt and answers:
                return answers.pop(0)
        return question.rehearsed


def own_key(name: str) -> Ed25519PrivateKey:
    """The SSH key that this person brings to every test."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"key of {name}".encode()).digest())


def public_line(name: str) -> str:
    public = own_key(name).public_key()
    return public.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def officer_line(name: str) -> str:
    return f'[[officers]]\nname = "{name}"\nkey = "{public_line(name)} {name}@example"\n'


Entries = list[dict[str, Any]]


def copy_record(record: Path, folder: Path) -> Path:
    """A record of its own for a test that spoils it."""
    shutil.copytree(record, folder)
    return folder


def read_entries(record: Path) -> Entries:
    return [json.loads(line) for line in (record / "transcript.jsonl").read_bytes().splitlines()]


def write_entries(record: Path, entries: Entries) -> None:
    """As somebody would who knows how the chain is made: every line numbered and chained again."""
    previous, lines = "0" * 64, []
    for number, entry in enumerate(entries):
        line = canonical_bytes({**entry, "n": number, "prev": previous})
        previous = hashlib.sha256(line).hexdigest()
        lines.append(line + b"\n")
    (record / "transcript.jsonl").write_bytes(b"".join(lines))


def forge(record: Path, change: Callable[[Entries], None]) -> None:
    """Change the entries and chain them again."""
    entries = read_entries(record)
    change(entries)
    write_entries(record, entries)
