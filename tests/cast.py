"""People for tests, whose SSH keys are made and used in this process: every kind, FIDO among them, in microseconds.

The FIDO keys are *simulated*: ``FIDOKey`` does what an authenticator does by OpenSSH's PROTOCOL.u2f (there is no
hardware in a test). ``ssh-keygen -Y verify`` is the second judge of what is signed here.
"""

import base64
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sealwright.pki.keys import PrivateKey, spki_der
from sealwright.statements.anchor import Anchor
from sealwright.statements.kinds import OfficerEntry, RosterStatement, namespace_of, new_statement_id, parse_statement
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.signed import SignedStatement

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CA_FOLDER = Path(__file__).parents[1] / "ca"
SOFTWARE_KINDS = ("ed25519", "p-256", "p-384", "p-521", "rsa")
FIDO_KINDS = ("sk-ed25519", "sk-p-256")


def pack(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def mpint(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def armor(blob: bytes) -> str:
    text = base64.b64encode(blob).decode()
    lines = [text[start : start + 70] for start in range(0, len(text), 70)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def unarmor(armored: str) -> bytes:
    return base64.b64decode("".join(armored.strip().split("\n")[1:-1]))


@dataclass(frozen=True)
class SSHKey:
    """A software key. ``sign`` is PROTOCOL.sshsig; its parameters are there to be got wrong."""

    private: PrivateKey

    @property
    def kind(self) -> str:
        match self.private:
            case ed25519.Ed25519PrivateKey():
                return "ssh-ed25519"
            case rsa.RSAPrivateKey():
                return "ssh-rsa"
            case ec.EllipticCurvePrivateKey():
                return f"ecdsa-sha2-nistp{self.private.curve.key_size}"
        raise AssertionError(self.private)

    @property
    def blob(self) -> bytes:
        return base64.b64decode(self.line.split()[1])

    @property
    def line(self) -> str:
        return (
            self.private.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode()
        )

    def private_file(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )

    def sign(
        self,
        message: bytes,
        namespace: str,
        *,
        hash_name: str = "sha512",
        magic: bytes = b"SSHSIG",
        version: int = 1,
        reserved: bytes = b"",
        trailing: bytes = b"",
        rsa_kind: str = "rsa-sha2-512",
        embedded: bytes | None = None,
    ) -> str:
        digest = hashlib.new(hash_name, message).digest()
        signed = magic + pack(namespace.encode(), reserved, hash_name.encode(), digest)
        inner = self._signature(signed, rsa_kind)
        head = magic + version.to_bytes(4, "big")
        key = self.blob if embedded is None else embedded
        return armor(head + pack(key, namespace.encode(), reserved, hash_name.encode(), inner) + trailing)

    def _signature(self, signed: bytes, rsa_kind: str) -> bytes:
        match self.private:
            case ed25519.Ed25519PrivateKey():
                return pack(b"ssh-ed25519", self.private.sign(signed))
            case rsa.RSAPrivateKey():
                digest = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512(), "ssh-rsa": hashes.SHA1()}  # noqa: S303  # to be refused
                value = self.private.sign(signed, padding.PKCS1v15(), digest[rsa_kind])
                return pack(rsa_kind.encode(), value)
            case ec.EllipticCurvePrivateKey():
                digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
                value = self.private.sign(signed, ec.ECDSA(digest[self.private.curve.key_size]))
                return pack(self.kind.encode(), pack(*map(mpint, decode_dss_signature(value))))
        raise AssertionError(self.private)


@dataclass(frozen=True)
class FIDOKey(SSHKey):
    """A simulated FIDO authenticator with one resident key."""

    application: str = "ssh:"
    flags: int = 0x01
    """User present; 0x04 is user verified."""
    counter: int = 7

    @property
    def kind(self) -> str:
        return (
            "sk-"
            + {"ssh-ed25519": "ssh-ed25519", "ecdsa-sha2-nistp256": "ecdsa-sha2-nistp256"}[SSHKey(self.private).kind]
            + "@openssh.com"
        )

    @property
    def line(self) -> str:
        public = self.private.public_key()
        if isinstance(public, ed25519.Ed25519PublicKey):
            parts = [public.public_bytes_raw()]
        else:
            point = public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
            parts = [b"nistp256", point]
        blob = pack(self.kind.encode(), *parts, self.application.encode())
        return f"{self.kind} {base64.b64encode(blob).decode()}"

    def _signature(self, signed: bytes, rsa_kind: str) -> bytes:
        data = (
            hashlib.sha256(self.application.encode()).digest()
            + bytes([self.flags])
            + self.counter.to_bytes(4, "big")
            + hashlib.sha256(signed).digest()
        )
        match self.private:
            case ed25519.Ed25519PrivateKey():
                value = self.private.sign(data)
            case ec.EllipticCurvePrivateKey():
                r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
                value = pack(mpint(r), mpint(s))
            case _:
                raise AssertionError(self.private)
        return pack(self.kind.encode(), value) + bytes([self.flags]) + self.counter.to_bytes(4, "big")


@functools.cache
def ssh_key(kind: str = "ed25519", label: str = "") -> SSHKey:
    """The key of this process that goes by this kind and label."""
    match kind:
        case "ed25519":
            return SSHKey(ed25519.Ed25519PrivateKey.generate())
        case "p-256" | "p-384" | "p-521":
            curves = {"p-256": ec.SECP256R1(), "p-384": ec.SECP384R1(), "p-521": ec.SECP521R1()}
            return SSHKey(ec.generate_private_key(curves[kind]))
        case "rsa":
            return SSHKey(rsa.generate_private_key(65537, 3072))
        case "rsa-2048":
            return SSHKey(rsa.generate_private_key(65537, 2048))
        case "sk-ed25519":
            return FIDOKey(ed25519.Ed25519PrivateKey.generate())
        case "sk-p-256":
            return FIDOKey(ec.generate_private_key(ec.SECP256R1()))
    raise AssertionError(kind)


@dataclass
class Cast:
    """A PKI's people. olga, omar and odile are officers (two of three); alice asks for team payments, bob approves
    there, carol does both; mallory does both for team games; audrey audits.

    Statements are JSON objects, so that a test can change any field before it is signed.
    """

    keys: dict[str, SSHKey] = field(default_factory=lambda: {name: ssh_key(label=name) for name in NAMES})
    ledger_key: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    ocsp_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def anchor(self) -> Anchor:
        officers = tuple(OfficerEntry(name=name, key=self.keys[name].line) for name in OFFICERS)
        return Anchor(mode="REHEARSAL", root_sha256="a" * 64, officers=officers, threshold=2)

    def statement(
        self, kind: str, person: str, *, at: datetime = NOW, lasts: timedelta = timedelta(minutes=4), **own: Any
    ) -> dict[str, Any]:
        return {
            "kind": kind,
            "pki": self.anchor.pki_id,
            "id": new_statement_id(),
            "person": person,
            "issued_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "expires_at": f"{at + lasts:%Y-%m-%dT%H:%M:%SZ}",
            **own,
        }

    def roster(self, version: int = 1, *, at: datetime = NOW, **changes: Any) -> dict[str, Any]:
        files = pinned_files()

        def person(name: str, roles: list[str], *teams: str) -> dict[str, Any]:
            return {"name": name, "keys": [self.keys[name].line], "roles": roles, "teams": list(teams), "groups": []}

        own: dict[str, Any] = {
            "version": version,
            "officers": [{"name": name, "key": self.keys[name].line} for name in OFFICERS],
            "threshold": 2,
            "people": [
                person("alice", ["requester"], "payments"),
                person("bob", ["approver"], "payments"),
                person("carol", ["requester", "approver"], "payments"),
                person("mallory", ["requester", "approver"], "games"),
                person("audrey", ["auditor"]),
            ],
            "teams": [{"name": "payments", "projects": ["terminal"]}, {"name": "games", "projects": ["chess"]}],
            "pins": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
            "authority": {
                "issuing_sha256": "b" * 64,
                "ledger_key": base64.b64encode(spki_der(self.ledger_key.public_key())).decode(),
                "ocsp_key": base64.b64encode(spki_der(self.ocsp_key.public_key())).decode(),
            },
        }
        return self.statement("roster", "olga", at=at, lasts=timedelta(days=90), **(own | changes))

    def signed(self, statement: Mapping[str, Any], *people: str, namespace: str | None = None) -> SignedStatement:
        """Signed with the keys of ``people``, or of the person whom it names."""
        message = SignedStatement(statement=dict(statement), signatures=("",)).statement_bytes
        space = namespace or namespace_of(str(statement["kind"]))
        signers = people or (str(statement["person"]),)
        return SignedStatement(
            statement=dict(statement), signatures=tuple(self.keys[name].sign(message, space) for name in signers)
        )

    def verified_roster(self, **changes: Any) -> VerifiedRoster:
        """Version 1 in force, signed by olga and omar."""
        signed = self.signed(self.roster(**changes), "olga", "omar")
        assert isinstance(parse_statement(signed.statement), RosterStatement)
        return check_roster(signed, anchor=self.anchor, previous=None, now=NOW)


OFFICERS = ("olga", "omar", "odile")
NAMES = (*OFFICERS, "alice", "bob", "carol", "mallory", "audrey", "stranger")


@functools.cache
def pinned_files() -> dict[str, bytes]:
    """What a roster pins, by its name relative to ca/."""
    names = [CA_FOLDER / "pki.toml", *sorted((CA_FOLDER / "profiles").glob("*.toml"))]
    files = {str(path.relative_to(CA_FOLDER)): path.read_bytes() for path in names}
    return files | {"policy.md": b"# Policy\n"}
