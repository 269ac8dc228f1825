"""What the outputs are made from: the inputs, read with the eyes of their formats, and what the ceremony made so far.

Pure: no clock, no token. What is built from it is in ``artefacts`` (signed) and ``composed`` (not signed).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony import script as s
from sealwright.ceremony.acceptance import accept_previous_crl, accept_root
from sealwright.ceremony.clock import parse_time
from sealwright.ceremony.custody import Custody, RegisteredCopy
from sealwright.ceremony.destruction import Destroyed, Destruction, accept_destruction, parse_destruction
from sealwright.ceremony.kinds import NEW
from sealwright.ceremony.officers import Officers, parse_officers
from sealwright.ceremony.prepared import Mode, Plan
from sealwright.ceremony.register import (
    Register,
    parse_register,
)
from sealwright.ceremony.revocation import Decision, accept_decision, parse_decision
from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.certificates import IssuerRecord
from sealwright.pki.keys import (
    KeyKind,
    PublicKey,
)
from sealwright.pki.profiles import CertificateProfile, ProfileKind, load_profile
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.statements.anchor import Anchor, load_anchor

PROFILE_KINDS = {
    "root.toml": ProfileKind.ROOT,
    "issuing-ca.toml": ProfileKind.ISSUING_CA,
    "ocsp-responder.toml": ProfileKind.OCSP_RESPONDER,
    "cross-root.toml": ProfileKind.CROSS_ROOT,
    "root-ocsp.toml": ProfileKind.ROOT_OCSP,
}


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key on a token: what the ceremony knows of it."""

    public: PublicKey
    key_id: str
    token_serial: str


@dataclass(slots=True)
class Materials:
    """All that an output is made from. ``keys`` by token and ``outputs`` by name fill up as the ceremony goes on."""

    script: s.Script
    plan: Plan
    inputs: Mapping[str, bytes]
    mode: Mode
    keys: dict[str, HeldKey] = field(default_factory=dict)
    outputs: dict[str, bytes] = field(default_factory=dict)
    token_serials: dict[str, str] = field(default_factory=dict)
    """Of tokens that the ceremony initialised, or made a copy on, or put into a bag."""
    taken: dict[str, RegisteredCopy] = field(default_factory=dict)
    """Copies that came in their bags, by the script's names."""
    custody: dict[str, Custody] = field(default_factory=dict)
    """Into which bags tokens went at the end."""
    census: list[dict[str, Any]] = field(default_factory=list)
    """Tokens as they were described, one after the other."""
    destroyed: dict[str, Destroyed] = field(default_factory=dict)
    """Tokens whose key ended."""

    @property
    def rehearsal(self) -> bool:
        return self.mode == "REHEARSAL"

    def settings(self, side: str = "") -> PKISettings:
        """``side``, here and below: whose, in a ceremony of two roots (``kinds.side_of``)."""
        return load_settings(self.inputs[f"{side}pki.toml"], source=f"inputs/{side}pki.toml")

    def profile(self, name: str) -> CertificateProfile:
        profile = load_profile(self.inputs[name], source=f"inputs/{name}")
        if profile.kind is not PROFILE_KINDS[name]:
            raise InputError(f"inputs/{name} is a profile of kind {profile.kind}; wanted {PROFILE_KINDS[name]}")
        return profile

    def anchor(self, side: str = "") -> Anchor:
        return load_anchor(self.inputs[f"{side}anchor.json"])

    def register(self, side: str = "") -> Register:
        """Raises ``PolicyViolation`` (CER-DESTROYED) for a register after which there is no ceremony any more."""
        register = parse_register(self.inputs[f"{side}register.json"])
        if register.destroyed is not None:
            raise PolicyViolation(
                f"the root's key was destroyed on {register.destroyed}: it signs nothing any more",
                rule="CER-DESTROYED",
                hint="is this the register of the root that you mean?",
            )
        return register

    def destruction(self) -> Destruction | None:
        """What ends, in the kind that ends it: checked against root, register and last CRL."""
        if "destruction.toml" not in self.inputs:
            return None
        found, register, record = (
            parse_destruction(self.inputs["destruction.toml"]),
            self.register(),
            self.root_record(),
        )
        at, last = parse_time(self.plan.at, "prepared.json"), self.inputs["root.crl"]
        number = register.crl.number + 1
        accept_previous_crl(last, root=record, register=register, number=number, this_update=at)
        digest = hashlib.sha256(record.certificate.public_bytes(Encoding.DER)).hexdigest()
        accept_destruction(found, register, root_sha256=digest, tokens=self.script.tokens, at=at)
        return found

    def decision(self) -> Decision | None:
        """What is revoked, in the kind that revokes: checked against certificate and register."""
        if "decision.toml" not in self.inputs:
            return None
        decision = parse_decision(self.inputs["decision.toml"])
        at = parse_time(self.plan.at, "prepared.json")
        accept_decision(decision, self.inputs["issuing.pem"], self.register(), at)
        return decision

    def officers(self) -> Officers:
        """Who has to consent, and how many of them: where there are two roots, each one's."""
        if "officers.toml" in self.inputs:
            return parse_officers(self.inputs["officers.toml"])
        if f"{NEW}anchor.json" in self.inputs:
            return Officers.of_both(self.board(), self.board(NEW))
        return self.board()

    def board(self, side: str = "") -> Officers:
        """The officers whom an anchor names."""
        if "officers.toml" in self.inputs:
            return parse_officers(self.inputs["officers.toml"])
        anchor = self.anchor(side)
        return Officers.of(((officer.name, officer.key) for officer in anchor.officers), anchor.threshold)

    def root(self, side: str = "") -> x509.Certificate:
        """The root: made a moment ago, or an input that is checked against the anchor."""
        name = f"{side}root.pem"
        if name in self.outputs:
            return x509.load_pem_x509_certificate(self.outputs[name])
        return accept_root(self.inputs[name], self.anchor(side), self.settings(side), self.mode, name=name)

    def root_record(self, side: str = "") -> IssuerRecord:
        settings = self.settings(side)
        return IssuerRecord.of(self.root(side), settings, settings.root.id)


def key_kind_on(token: str, materials: Materials) -> KeyKind:
    """Which kind of key the script makes on this token: the first of its profile's, or the one it says."""
    for step in materials.script.steps:
        if isinstance(step, s.GenerateKey) and step.token == token:
            return step.kind or materials.profile(step.profile or "").keys[0]
    raise InputError(f"the script makes no key on the token {token}")
