"""A small PKI for tests: software CA keys, real SSH keys, a real ledger. What signs for people is ``ssh-keygen``.

The CA keys are software so that a test can make hundreds of these; the tests of ``hsm`` and of the whole flow
(``tests/flow``) have the same things on tokens.
"""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.channel import SignerCall
from sealwright.installed import Installed, load_installed
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.clock import boot_time
from sealwright.issuing.service import SignerConfig, SignerService, TokenKey
from sealwright.ledger.log import Ledger
from sealwright.pki.keys import KeyKind, PrivateKey, spki_der
from sealwright.pki.profiles import load_profile
from sealwright.pki.requests import build_csr
from sealwright.pki.settings import load_settings
from sealwright.pki.signatures import default_scheme
from sealwright.statements.anchor import Anchor
from sealwright.statements.kinds import OfficerEntry, namespace_of, new_statement_id
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_keygen import sign_message
from softpki import NOW, SoftPKI, soft_pki, software_key

CHECKOUT = Path(__file__).parent.parent


def wire_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True)
class SSHPerson:
    """A person with an SSH key of their own."""

    name: str
    key_file: Path

    @property
    def key(self) -> str:
        """Kind and base64, without the comment."""
        return " ".join(self.key_file.with_suffix(".pub").read_text().split()[:2])

    def sign(self, statement: Mapping[str, Any], *, namespace: str | None = None) -> str:
        return sign_message(
            self.key_file, namespace or namespace_of(str(statement["kind"])), rfc8785.dumps(dict(statement))
        )


def new_person(folder: Path, name: str, kind: str = "ed25519") -> SSHPerson:
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(key)], check=True)
    return SSHPerson(name, key)


@dataclass
class Clock:
    """The machine's clock, and how much time really passed."""

    now: datetime = NOW + timedelta(days=1)
    wrong: timedelta = timedelta()

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **duration: float) -> None:
        self.now += timedelta(**duration)

    def jump(self, **duration: float) -> None:
        """Somebody sets it; no time passes."""
        self.now += timedelta(**duration)
        self.wrong += timedelta(**duration)

    def steady(self) -> float:
        """The clock that nobody can set, in seconds."""
        return (self.now - self.wrong).timestamp()


@dataclass
class World:
    """An installed PKI with its people: olga, omar and odile are officers, alice asks, bob and carol approve for
    team payments; mallory asks and nina approves for team games."""

    folder: Path
    people: dict[str, SSHPerson]
    keys: dict[str, PrivateKey]
    ledger_key: Ed25519PrivateKey
    installed: Installed
    clock: Clock = field(default_factory=Clock)
    authority: IssuingAuthority | None = None

    @property
    def pki(self) -> str:
        return self.installed.anchor.pki_id

    # the signer

    def start(self) -> IssuingAuthority:
        """What the signer does at its start, without the socket."""
        ledger = Ledger.open(self.installed.ledger, self.installed.anchor.ledger_origin, self.ledger_key)
        try:
            self.authority = IssuingAuthority.open(
                self.installed,
                key=self.keys["issuing"],
                ledger=ledger,
                clock=self.clock,
                steady=getattr(self.clock, "steady", boot_time),
            )
        except BaseException:
            ledger.close()
            raise
        return self.authority

    def stop(self) -> None:
        if self.authority is not None:
            self.authority.close()
            self.authority.ledger.close()
            self.authority = None

    # statements, as JSON objects that a test may change before they are signed

    def statement(self, kind: str, person: str, *, days: float = 1, **fields: Any) -> dict[str, Any]:
        now = self.clock()
        return {
            "kind": kind,
            "pki": self.pki,
            "id": new_statement_id(),
            "person": person,
            "issued_at": wire_time(now),
            "expires_at": wire_time(now + timedelta(days=days)),
            **fields,
        }

    def roster(self, version: int = 1, **changes: Any) -> dict[str, Any]:
        pins = {name: _sha256(data) for name, data in self.installed.pinned_files().items()}

        def person(name: str, roles: list[str], team: str) -> dict[str, Any]:
            return {"name": name, "keys": [self.people[name].key], "roles": roles, "teams": [team], "groups": []}

        fields: dict[str, Any] = {
            "version": version,
            "officers": [{"name": name, "key": self.people[name].key} for name in ("olga", "omar", "odile")],
            "threshold": 2,
            "people": [
                person("alice", ["requester"], "payments"),
                person("bob", ["approver"], "payments"),
                person("carol", ["requester", "approver"], "payments"),
                person("mallory", ["requester", "approver"], "games"),
                person("nina", ["approver"], "games"),
            ],
            "teams": [{"name": "payments", "projects": ["terminal"]}, {"name": "games", "projects": ["chess"]}],
            "pins": pins,
            "authority": {
                "issuing_sha256": self.installed.issuing.fingerprint(SHA256()).hex(),
                "ledger_key": base64.b64encode(spki_der(self.ledger_key.public_key())).decode(),
                "ocsp_key": base64.b64encode(spki_der(self.keys["ocsp"].public_key())).decode(),
            },
        }
        return self.statement("roster", "olga", days=80, **(fields | changes))

    def csr(
        self,
        team: str = "payments",
        project: str = "terminal",
        key: PrivateKey | None = None,
        *,
        profile: str = "code-signing",
    ) -> bytes:
        """DER. ``key``: by default a new P-256 one."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        settings = load_settings((self.installed.folder / "ca/pki.toml").read_bytes(), source="pki.toml")
        chosen = self.profile(profile)
        subject = chosen.subject(settings, team, project, rehearsal=True)
        return build_csr(key, subject, chosen.san_uri(settings, team, project), default_scheme(KeyKind.P256))

    def profile(self, name: str) -> Any:
        path = self.installed.folder / f"ca/profiles/{name}.toml"
        return load_profile(path.read_bytes(), source=str(path))

    def request(self, person: str = "alice", **changes: Any) -> dict[str, Any]:
        team, project = changes.get("team", "payments"), changes.get("project", "terminal")
        profile = changes.get("profile", "code-signing")
        fields: dict[str, Any] = {
            "profile": profile,
            "profile_sha256": self.profile(profile).sha256,
            "team": team,
            "project": project,
            "csr": "",
            "key_location": "token",
            "attestation": [],
            "exception": None,
            "renews": None,
            "emergency": False,
            "comment": "",
        }
        if "csr" not in changes:
            names = profile if profile.startswith("code-signing") else "code-signing"
            fields["csr"] = base64.b64encode(self.csr(team, project, profile=names)).decode()
        return self.statement("request", person, **(fields | changes))

    def decision(self, request: SignedStatement, person: str = "bob", **changes: Any) -> dict[str, Any]:
        fields = {"request_sha256": request.sha256, "verdict": "approve", "comment": ""}
        return self.statement("decision", person, **(fields | changes))

    def revocation(self, serial: str, person: str = "alice", **changes: Any) -> dict[str, Any]:
        fields = {"serials": [serial], "reason": "superseded", "revocation_date": None, "comment": ""}
        return self.statement("revocation", person, **(fields | changes))

    def suspension(self, suspended: str, person: str = "odile", **changes: Any) -> dict[str, Any]:
        return self.statement("suspend", person, **{"suspended": suspended, "comment": "", **changes})

    def countersignature(self, of: SignedStatement, person: str = "olga", **changes: Any) -> dict[str, Any]:
        return self.statement("countersignature", person, **({"statement_sha256": of.sha256, "comment": ""} | changes))

    def signed(self, statement: Mapping[str, Any], *people: str, namespace: str | None = None) -> SignedStatement:
        """Signed by those people, or by the person whom it names."""
        signers = people or (str(statement["person"]),)
        return SignedStatement(
            statement=dict(statement),
            signatures=tuple(self.people[name].sign(statement, namespace=namespace) for name in signers),
        )

    def order(self, **changes: Any) -> dict[str, Any]:
        """A good issuance order, as its JSON object."""
        request = self.signed(self.request(**changes))
        approver = "nina" if changes.get("team") == "games" else "bob"
        decision = self.signed(self.decision(request, approver))
        return {"request": request.to_wire(), "decisions": [decision.to_wire()]}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_world(
    folder: Path,
    issuing_key: PrivateKey | None = None,
    ledger_key: Ed25519PrivateKey | None = None,
    *,
    pki: SoftPKI | None = None,
) -> World:
    """The software PKI of this process, installed in ``folder``, with an empty ledger and no roster yet.

    ``issuing_key``: a P-384 key on a token, in place of the software one, or ``pki``: another PKI than the usual.
    ``ledger_key``: one on a token.
    """
    people_folder = folder / "people"
    people_folder.mkdir(parents=True)
    names = ("olga", "omar", "odile", "alice", "bob", "carol", "mallory", "nina", "stranger")
    people = {name: new_person(people_folder, name) for name in names}
    installed = folder / "pki"
    installed.mkdir()
    shutil.copytree(CHECKOUT / "ca", installed / "ca", ignore=shutil.ignore_patterns("roster.toml"))
    for profile in (installed / "ca/profiles").glob("code-signing*.toml"):  # some tests issue by the thousand
        text = profile.read_text()
        profile.write_text(
            re.sub(r"^live_certificates = \d+ ", "live_certificates = 100000 ", text, flags=re.MULTILINE)
        )
    soft = pki or soft_pki(issuing_key=issuing_key)
    settings_file = installed / "ca/pki.toml"
    settings_file.write_text(settings_file.read_text().replace("http://pki.example.org", soft.settings.urls.base, 1))
    root, issuing = soft.root, soft.issuing
    keys = {"issuing": soft.issuing_key, "ocsp": software_key(KeyKind.P256, "ocsp")}
    ledger_key = ledger_key or Ed25519PrivateKey.generate()
    (installed / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (installed / "issuing.pem").write_bytes(issuing.public_bytes(Encoding.PEM))
    public = {"ocsp": keys["ocsp"].public_key(), "ledger": ledger_key.public_key()}
    spki = {name: {"spki": base64.b64encode(spki_der(key)).decode()} for name, key in public.items()}
    (installed / "keys.json").write_text(json.dumps(spki))
    anchor = Anchor(
        mode="REHEARSAL",
        root_sha256=root.fingerprint(SHA256()).hex(),
        officers=tuple(OfficerEntry(name=name, key=people[name].key) for name in ("olga", "omar", "odile")),
        threshold=2,
    )
    (installed / "anchor.json").write_bytes(anchor.to_bytes())
    (installed / "crl").mkdir()
    Ledger.create(installed / "ledger", anchor.ledger_origin, ledger_key).close()
    return World(installed, people, keys, ledger_key, load_installed(installed))


def service(world: World) -> SignerService:
    """The signer's answers, without the socket."""
    assert world.authority is not None
    nowhere = TokenKey("", b"", Path("/nonexistent"))
    uid = frozenset({0})
    config = SignerConfig(world.folder, Path("/nonexistent"), Path("/nonexistent"), nowhere, nowhere, uid, uid)
    return SignerService(world.authority, config, lambda: None)


def call(world: World, name: str, **arguments: Any) -> Mapping[str, Any]:
    """A call as it would come through the socket from uid 0."""
    return service(world).answer(SignerCall(name, arguments, 0))
