"""What officers agree to, they sign with their own keys: an SSH signature over the digest of it, and of all before it.

What is signed is a small canonical JSON document with the transcript's head at that moment: so a signature is good for
this one ceremony, at this one place, and whoever would change a line before it needs the officers' keys. In a rehearsal
a signature is made where a key was brought, and is not asked for otherwise.
"""

import hashlib
from typing import Final

from sealwright.ceremony.act import TRIES, Act
from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.ssh import SSHPublicKey, parse_public_key, verify_signature

CONSENT: Final = "ceremony-consent@sealwright.v1"
"""The SSHSIG namespace: such a signature serves no other purpose."""


def sign_consent(name: str, about: dict[str, str], act: Act) -> None:
    """``name``'s signature over what they just agreed to. Three tries, each recorded; then CER-UNSIGNED."""
    if act.state.version < 2:
        return
    mine = act.state.interruptions
    for attempt in range(1, TRIES + 1):
        act.room.journal.interrupted()  # before the head is taken
        if mine != act.state.interruptions and about["to"] == "resume":
            return  # the later take-up has asked
        if _sign_once(name, about, attempt, act):
            return
    raise PolicyViolation(
        f"{name} gave {TRIES} signatures that were not by the key of {name}",
        rule="CER-UNSIGNED",
        hint="the key that counts is the one in officers.toml or anchor.json",
    )


def _sign_once(name: str, about: dict[str, str], attempt: int, act: Act) -> bool:
    message = canonical_bytes(
        {
            "ceremony": act.materials.script.kind,
            "mode": act.materials.mode,
            "script": act.materials.script.sha256,
            "prepared": act.state.prepared.sha256,
            "head": act.room.journal.head,
            "officer": name,
            **about,
        }
    )
    key, rehearsal = parse_public_key(act.materials.officers().keys[name]), act.materials.rehearsal
    armored = act.room.people.sign(name, CONSENT, message, str(key), required=not rehearsal)
    if armored is None and not rehearsal:
        raise PolicyViolation(f"{name} did not sign", rule="CER-UNSIGNED", hint="everybody brings their own key")
    accepted = armored is None or _verifies(armored, message, key)
    act.record(
        "signature",
        {
            "by": name,
            "try": attempt,
            "accepted": accepted,
            "namespace": CONSENT,
            "message_sha256": hashlib.sha256(message).hexdigest(),
            **about,
        },
        {"signature": armored},
    )
    if not accepted:
        act.room.people.tell(f"That is not a signature by {name}'s own key, {key}.")
    return accepted


def _verifies(armored: str, message: bytes, key: SSHPublicKey) -> bool:
    try:
        verify_signature(armored, message, CONSENT, key)
    except IntegrityError:
        return False
    return True
