"""A rehearsal PKI to be measured: issuing and ledger keys on SoftHSM tokens, a real signer process, many orders.

Root and people's keys are software: nobody waits for them. What installation would have written is written here, with
an issuing key of the kind that is to be measured, and teams may hold as many certificates as a bench makes.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright.channel import SignerChannel
from sealwright.errors import SealwrightError, Unavailable
from sealwright.hsm.generation import generate_key
from sealwright.hsm.initialise import init_token
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import find_softhsm, load_module
from sealwright.hsm.session import Pin, TokenSession
from sealwright.installation.config import CONFIG_NAME
from sealwright.installation.toml import write_toml
from sealwright.installed import Installed, load_installed
from sealwright.ledger.log import Ledger
from sealwright.pki.certificates import IssuerRecord, draft_certificate, draft_root, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind, PublicKey, spki_der
from sealwright.pki.names import ca_subject
from sealwright.pki.profiles import load_profile, load_profiles
from sealwright.pki.requests import build_csr
from sealwright.pki.serials import new_serial
from sealwright.pki.settings import load_settings
from sealwright.pki.signatures import SignatureScheme
from sealwright.statements.anchor import Anchor
from sealwright.statements.kinds import OfficerEntry, new_statement_id
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_sign import sign_with_key

POLICY: Final = Path(__file__).parents[3] / "ca"
_PROJECT, _PROFILE = "terminal", "code-signing"
_TEAMS: Final = tuple(f"team-{number:02}" for number in range(50))
OFFICERS = ("olga", "omar")
_LIVE = 10**6


@dataclass(frozen=True, slots=True)
class Place:
    """A key on its token."""

    token_serial: str
    key_id: bytes
    pin_file: Path

    def open(self, module: Path) -> TokenSession:
        return TokenSession.open(load_module(module), self.token_serial, Pin.from_file(self.pin_file))


@dataclass(frozen=True, slots=True)
class Testbed:
    """``folder`` is what ``sealwrightd signer --dir`` takes."""

    folder: Path
    installed: Installed
    people: Mapping[str, Ed25519PrivateKey]
    module: Path
    issuing: Place
    ledger: Place
    ocsp: Place

    @property
    def socket(self) -> Path:
        return self.folder / "signer.sock"

    @contextmanager
    def signer(self) -> Iterator[SignerChannel]:
        """The signer as a process of its own, answering, with the roster in force."""
        with self.signer_process() as (channel, _):
            yield channel

    @contextmanager
    def signer_process(self) -> Iterator[tuple[SignerChannel, int]]:
        """The same, with its process id."""
        with (self.folder / "signer.log").open("ab") as log:
            command = [sys.executable, "-m", "sealwright.cli.daemon", "signer", "--dir", str(self.folder)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            channel = SignerChannel(self.socket)
            self._wait(process, channel)
            if channel.call("status")["roster_version"] == 0:
                channel.call("publish-roster", roster=self._roster().to_wire())
            yield channel, process.pid
        finally:
            process.terminate()
            process.wait()

    def _wait(self, process: subprocess.Popen[bytes], channel: SignerChannel) -> None:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            with suppress(SealwrightError):
                channel.call("status")
                return
            time.sleep(0.05)
        raise Unavailable(f"the signer does not answer: {(self.folder / 'signer.log').read_text()[-1000:]}")

    def orders(self, count: int, *, teams: int = len(_TEAMS)) -> list[dict[str, Any]]:
        """Orders that the signer has to answer, of one team after the other: a new P-256 key, and one approval."""
        ca = self.folder / "ca"
        settings = load_settings((ca / "pki.toml").read_bytes(), source="pki.toml")
        profile = load_profile((ca / f"profiles/{_PROFILE}.toml").read_bytes(), source=_PROFILE)
        orders = []
        for team in islice(cycle(_TEAMS[:teams]), count):
            subject = profile.subject(settings, team, _PROJECT, rehearsal=True)
            uri = profile.san_uri(settings, team, _PROJECT)
            csr = build_csr(ec.generate_private_key(ec.SECP256R1()), subject, uri, SignatureScheme.ECDSA_SHA256)
            request = self._signed(
                "request",
                "alice",
                profile=profile.name,
                profile_sha256=profile.sha256,
                team=team,
                project=_PROJECT,
                csr=base64.b64encode(csr).decode(),
                key_location="token",
                attestation=[],
                exception=None,
                renews=None,
                emergency=False,
                comment="",
            )
            decision = self._signed("decision", "bob", request_sha256=request.sha256, verdict="approve", comment="")
            orders.append({"request": request.to_wire(), "decisions": [decision.to_wire()]})
        return orders

    def revocation(self, serial: str) -> dict[str, Any]:
        """The requester's order to revoke one certificate, from now on."""
        signed = self._signed(
            "revocation", "alice", serials=[serial], reason="superseded", revocation_date=None, comment=""
        )
        return {"revocation": signed.to_wire()}

    def _signed(self, kind: str, *signers: str, days: int = 1, **fields: Any) -> SignedStatement:
        now = datetime.now(UTC)
        statement = {
            "kind": kind,
            "pki": self.installed.anchor.pki_id,
            "id": new_statement_id(),
            "person": signers[0],
            "issued_at": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "expires_at": f"{now + timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}",
            **fields,
        }
        octets = SignedStatement(statement=statement, signatures=("x",)).statement_bytes
        signatures = tuple(sign_with_key(self.people[name], f"{kind}@sealwright.v1", octets) for name in signers)
        return SignedStatement(statement=statement, signatures=signatures)

    def _roster(self) -> SignedStatement:
        def person(name: str, role: str) -> dict[str, Any]:
            key = _ssh(self.people[name])
            return {"name": name, "keys": [key], "roles": [role], "teams": list(_TEAMS), "groups": []}

        return self._signed(
            "roster",
            *OFFICERS,
            days=80,
            version=1,
            officers=[{"name": name, "key": _ssh(self.people[name])} for name in OFFICERS],
            threshold=len(OFFICERS),
            people=[person("alice", "requester"), person("bob", "approver")],
            teams=[{"name": team, "projects": [_PROJECT]} for team in _TEAMS],
            pins={name: _sha256(data) for name, data in self.installed.pinned_files().items()},
            authority={
                "issuing_sha256": self.installed.issuing.fingerprint(SHA256()).hex(),
                "ledger_key": _spki(self.installed.ledger_key),
                "ocsp_key": _spki(self.installed.ocsp_key),
            },
        )


def use_softhsm(folder: Path) -> Path:
    """Point this process and its children at tokens in ``folder``. Gives the module. Once in a process."""
    (folder / "tokens").mkdir(mode=0o700)
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(config)
    return find_softhsm()


def make_testbed(folder: Path, module: Path, kind: KeyKind) -> Testbed:
    """An installed PKI in ``folder`` whose issuing key is of this kind, on a token of its own."""
    folder.mkdir()
    places, publics = {}, {}
    for name, each in (("issuing", kind), ("ledger", KeyKind.ED25519), ("ocsp", KeyKind.P256)):
        places[name], publics[name] = _new_key(folder, module, f"{name} {kind}", name, each)
    people = {name: Ed25519PrivateKey.generate() for name in (*OFFICERS, "alice", "bob")}
    anchor = install_folder(folder, kind, publics, people)
    (folder / CONFIG_NAME).write_bytes(write_toml(_config(module, places)))
    installed = load_installed(folder)
    with places["ledger"].open(module) as token:
        key = private_key(token, places["ledger"].key_id)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError("the ledger key is not Ed25519")
        Ledger.create(installed.ledger, anchor.ledger_origin, key).close()
    return Testbed(folder, installed, people, module, places["issuing"], places["ledger"], places["ocsp"])


def install_folder(
    folder: Path, kind: KeyKind, publics: Mapping[str, PublicKey], people: Mapping[str, Ed25519PrivateKey]
) -> Anchor:
    """What installation would have written. ``publics``: issuing, ledger, OCSP; ``people``: the officers' too."""
    shutil.copytree(POLICY, folder / "ca", ignore=shutil.ignore_patterns("roster.toml"))
    profile = folder / f"ca/profiles/{_PROFILE}.toml"
    profile.write_text(re.sub(r"(?m)^live_certificates = \d+", f"live_certificates = {_LIVE}", profile.read_text()))
    root, issuing = make_cas(kind, publics["issuing"])
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "issuing.pem").write_bytes(issuing.public_bytes(Encoding.PEM))
    keys = {name: {"spki": _spki(publics[name])} for name in ("ocsp", "ledger")}
    (folder / "keys.json").write_text(json.dumps(keys))
    officers = tuple(OfficerEntry(name=name, key=_ssh(people[name])) for name in OFFICERS)
    anchor = Anchor(
        mode="REHEARSAL", root_sha256=root.fingerprint(SHA256()).hex(), officers=officers, threshold=len(OFFICERS)
    )
    (folder / "anchor.json").write_bytes(anchor.to_bytes())
    (folder / "crl").mkdir()
    return anchor


def make_cas(kind: KeyKind, issuing_key: PublicKey) -> tuple[x509.Certificate, x509.Certificate]:
    """Root and issuing certificate. ``kind`` may be one that the profile does not offer to a CA."""
    settings = load_settings((POLICY / "pki.toml").read_bytes(), source="pki.toml")
    profiles = load_profiles({path.name: path.read_bytes() for path in (POLICY / "profiles").glob("*.toml")})
    root_key = ec.generate_private_key(ec.SECP384R1())
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    root = draft_root(
        replace(profiles["root"], keys=(KeyKind.P384,)),
        settings=settings,
        subject=ca_subject(settings, "root", rehearsal=True),
        public_key=root_key.public_key(),
        serial=new_serial(),
        not_before=began,
    )
    made = sign_certificate(lint_draft(root), root_key)
    issuing = draft_certificate(
        replace(profiles["issuing-ca"], keys=(kind,)),
        issuer=IssuerRecord.of(made, settings, settings.root.id),
        subject=ca_subject(settings, "issuing", rehearsal=True),
        public_key=issuing_key,
        serial=new_serial(),
        not_before=began,
    )
    return made, sign_certificate(lint_draft(issuing), root_key)


def _new_key(folder: Path, module: Path, label: str, name: str, kind: KeyKind) -> tuple[Place, PublicKey]:
    user_pin = Pin(secrets.token_hex(8))
    serial = init_token(module, label=label, so_pin=Pin(secrets.token_hex(8)), user_pin=user_pin)
    place = Place(serial, secrets.token_bytes(16), folder / f"{name}.pin")
    place.pin_file.touch(mode=0o600)
    place.pin_file.write_bytes(user_pin.reveal() + b"\n")
    place.pin_file.chmod(0o400)
    with place.open(module) as token:
        return place, generate_key(token, kind, key_id=place.key_id, label=name).public_key()


def _config(module: Path, places: Mapping[str, Place]) -> dict[str, Any]:
    def place(name: str) -> dict[str, str]:
        each = places[name]
        return {"token_serial": each.token_serial, "key_id": each.key_id.hex(), "pin_file": str(each.pin_file)}

    uid, publication = os.getuid(), "sqlite:///publication.db"
    return {
        "mode": "REHEARSAL",
        "token": {"module": str(module)},
        "signer": {
            "socket": "signer.sock",
            "peers": [uid],
            "presign_peers": [uid],
            "issuing": place("issuing"),
            "ledger": place("ledger"),
        },
        "presign": {"ocsp": place("ocsp"), "publication": publication},
        "registry": {"listen": "127.0.0.1:1", "url": "https://localhost:1", "database": "sqlite:///registry.db"},
        "validation": {"listen": "127.0.0.1:1", "publication": publication},
    }


def _ssh(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _spki(public: PublicKey) -> str:
    return base64.b64encode(spki_der(public)).decode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
