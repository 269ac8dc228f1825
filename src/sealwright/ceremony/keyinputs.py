"""What the kinds that copy, end or count a key take in: judged by ``prepare`` and ``check``, before any token, and
again by the first step of each that is about it.
"""

import hashlib

from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony.holders import check_same_token, parse_holders, parse_token
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.materials import Materials
from sealwright.errors import PolicyViolation


def check_key_inputs(materials: Materials) -> None:
    """Raises what a decision to destroy raises, and CER-REGISTER for copies of another root's key."""
    rule = KINDS[materials.script.kind]
    if rule.destroys:
        materials.destruction()
    elif rule.reshared:
        holders = parse_holders(materials.inputs["shares.toml"], materials.officers())
        check_same_token(holders, parse_token(materials.inputs["token.json"]), materials.mode)
    elif rule.counted:
        if materials.register().root.sha256 != materials.anchor().root_sha256:
            raise PolicyViolation("register.json is of another root than anchor.json", rule="CER-REGISTER")
    elif rule.copies:
        digest = hashlib.sha256(materials.root().public_bytes(Encoding.DER)).hexdigest()
        if materials.register().root.sha256 != digest:
            raise PolicyViolation("register.json is of another root than root.pem", rule="CER-REGISTER")
