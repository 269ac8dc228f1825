"""The outputs that nobody signs here: anchor, key list, register. Canonical JSON, the same bytes in every replay."""

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony import script as s
from sealwright.ceremony.answers import DELEGATE
from sealwright.ceremony.clock import format_time
from sealwright.ceremony.custody import update_copies
from sealwright.ceremony.holders import parse_holders
from sealwright.ceremony.inventory import VERSION as CENSUS_VERSION
from sealwright.ceremony.kinds import KINDS, side_of
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.register import (
    Register,
    Revocation,
    register_certificate,
    register_crl,
    register_root,
)
from sealwright.pki.keys import (
    key_kind,
    spki_der,
)
from sealwright.statements.canonical import canonical_bytes


def compose_output(name: str, materials: Materials) -> bytes:
    """The bytes of an output that is not signed here. Canonical JSON."""
    made = KINDS[materials.script.kind].outputs[name].made
    return _compose_register(name, materials).to_bytes() if made == "register" else _COMPOSE[made](materials)


def _compose_anchor(materials: Materials) -> bytes:
    officers = materials.officers()
    return canonical_bytes(
        {
            "mode": materials.mode,
            "root_sha256": hashlib.sha256(materials.root().public_bytes(Encoding.DER)).hexdigest(),
            "officers": [{"name": name, "key": key} for name, key in officers.keys.items()],
            "threshold": officers.threshold,
        }
    )


def _compose_keys(materials: Materials) -> bytes:
    return canonical_bytes(
        {
            token: {
                "token_serial": key.token_serial,
                "key_id": key.key_id,
                "kind": str(key_kind(key.public)),
                "spki": base64.b64encode(spki_der(key.public)).decode(),
            }
            for token, key in materials.keys.items()
        }
    )


def _compose_token(materials: Materials) -> bytes:
    """Which token it is, and who opens it. The shares themselves are on paper."""
    holders = parse_holders(materials.inputs["shares.toml"], materials.officers())
    return canonical_bytes(
        {
            "mode": materials.mode,
            "label": holders.label,
            "token_serial": next(iter(materials.token_serials.values())),
            "user": {"threshold": holders.divisions["user"].threshold, "holders": list(holders.user)},
            "so": {"threshold": holders.divisions["so"].threshold, "holders": list(holders.so)},
        }
    )


def _compose_custody(materials: Materials) -> bytes:
    """Which copies of the root's key this ceremony bagged, and who has them."""
    root = materials.register().root
    return canonical_bytes(
        {
            "mode": materials.mode,
            "ceremony": materials.script.kind,
            "at": materials.plan.at,
            "root_sha256": root.sha256,
            "spki_sha256": root.spki_sha256,
            "key_id": root.key_id,
            "copies": {
                token: {
                    "token_serial": materials.token_serials[token],
                    "made_here": token not in materials.taken,
                    **custody.model_dump(mode="json"),
                }
                for token, custody in materials.custody.items()
            },
        }
    )


def _compose_destruction(materials: Materials) -> bytes:
    """Which key ended, on which tokens, what became of each, and what stands when it is gone."""
    register, destruction = materials.register(), materials.destruction()
    assert destruction is not None  # noqa: S101  # of the kind that has one
    return canonical_bytes(
        {
            "mode": materials.mode,
            "at": materials.plan.at,
            "subject": materials.root().subject.rfc4514_string(),
            "serial": register.root.serial,
            "root_sha256": register.root.sha256,
            "spki_sha256": register.root.spki_sha256,
            "key_id": register.root.key_id,
            "tokens": {
                name: {
                    "token_serial": each.token_serial,
                    "custody": materials.taken[name].custody.model_dump(mode="json")
                    if name in materials.taken
                    else None,
                    "destroyed": each.destroyed,
                    "erased": each.erased,
                }
                for name, each in materials.destroyed.items()
            },
            "lost": [each.model_dump(mode="json") for each in destruction.lost],
            "certificates": len(register.certificates),
            "last_crl": register.crl.model_dump(mode="json"),
            "decided_by": list(destruction.decided_by),
            "why": destruction.why,
        }
    )


def _compose_census(materials: Materials) -> bytes:
    """In the form of ``sealwright-ceremony inventory --out``, and of which PKI it is."""
    return canonical_bytes(
        {
            "version": CENSUS_VERSION,
            "mode": materials.mode,
            "at": materials.plan.at,
            "root_sha256": materials.register().root.sha256,
            "tokens": materials.census,
        }
    )


def _compose_register(name: str, materials: Materials) -> Register:
    crl = materials.outputs.get("root.crl")
    if materials.script.kind is s.Kind.ROOT_GENESIS:
        key = materials.keys["root"]
        root = register_root(materials.root(), key_id=key.key_id, token_serial=key.token_serial)
        return Register(version=1, root=root, certificates=(), crl=register_crl(crl or b""))
    side, rule = side_of(name), KINDS[materials.script.kind]
    register = materials.register(side)
    delegate = materials.outputs.get(DELEGATE)
    certificates = register.certificates
    for issued, output in rule.outputs.items():
        if output.made == "certificate" and issued != DELEGATE and side_of(output.token or "") == side:
            certificate = x509.load_pem_x509_certificate(materials.outputs[issued])
            kind: Literal["issuing-ca", "cross-root"] = "cross-root" if issued in rule.paths else "issuing-ca"
            certificates = (*certificates, register_certificate(certificate, kind))
    if decision := materials.decision():
        revoked = Revocation(date=format_time(decision.revocation_date), reason=decision.reason)
        ended = {each.serial for each in decision.revoked(register)}
        certificates = tuple(
            each.model_copy(update={"revoked": revoked}) if each.serial in ended else each for each in certificates
        )
    return Register(
        version=register.version + 1,
        root=register.root,
        certificates=certificates,
        crl=register.crl if crl is None else register_crl(crl),
        copies=update_copies(
            register.copies,
            taken=materials.taken,
            custody=materials.custody,
            serials=materials.token_serials,
            at=materials.plan.at,
        ),
        destroyed=materials.plan.at if rule.destroys and materials.destroyed else None,
        delegates=register.delegates
        if delegate is None
        else (*register.delegates, register_certificate(x509.load_pem_x509_certificate(delegate))),
    )


_COMPOSE: Mapping[str, Callable[[Materials], bytes]] = {
    "anchor": _compose_anchor,
    "keys": _compose_keys,
    "token": _compose_token,
    "officers": lambda materials: materials.inputs["officers.toml"],
    "custody": _compose_custody,
    "destruction": _compose_destruction,
    "census": _compose_census,
}
