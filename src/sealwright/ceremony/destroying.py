"""What the actions of ``key-destruction`` do: shown, typed, destroyed, looked for again, and the token erased.

A token that destroys no single key (CKA_DESTROYABLE false) is erased whole, and has to be gone. Everything here may be
cut off and done again. A key that is for one ceremony (``once``) ends in it by the same actions.
"""

from sealwright.ceremony import script as s
from sealwright.ceremony.act import Act
from sealwright.ceremony.activation import make_ready
from sealwright.ceremony.destruction import ORIGINAL, Destroyed, Destruction
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.room import Question
from sealwright.errors import InputError, PolicyViolation

ERASED, KEPT = "erased", "kept"


def decide_destruction(step: s.DecideDestruction, act: Act) -> None:
    """Show what ends, and what is lost; then every officer types the root's serial number."""
    destruction = act.materials.destruction()
    if destruction is None:
        raise InputError(f"there is no {step.input}")
    register = act.materials.register()
    act.show_digest("root whose key is destroyed: root.pem", register.root.sha256)
    act.room.people.tell(_what_it_means(destruction, act))
    act.record(
        "destruction",
        {
            "root_sha256": register.root.sha256,
            "serial": register.root.serial,
            "decided_by": list(destruction.decided_by),
            "lost": [each.model_dump(mode="json") for each in destruction.lost],
            "tokens": list(act.materials.script.tokens),
            "certificates": len(register.certificates),
            "last_crl": register.crl.number,
        },
    )
    for name in act.state.present[s.Role.OFFICER]:
        act.ask(
            Question(
                s.Role.OFFICER,
                f"{name}: type the serial number of the root whose key ends here, as it is shown",
                lambda text: text.strip() == register.root.serial,
                register.root.serial,
                f"exactly {register.root.serial}",
            )
        )


def _what_it_means(destruction: Destruction, act: Act) -> str:
    register = act.materials.register()
    lost = [f"    {each.what} {each.seal or ''}, since {each.since}: {each.why}" for each in destruction.lost]
    return "\n".join(
        (
            f"DESTROYED WILL BE THE KEY OF {act.materials.root().subject.rfc4514_string()}",
            f"  serial number   {register.root.serial}",
            f"  on the tokens   {', '.join(act.materials.script.tokens)}",
            f"  last CRL        number {register.crl.number}, until {register.crl.next_update}: none follows it",
            f"  it issued       {len(register.certificates)} certificates; each has expired, or is revoked to its end",
            f"  decided by      {', '.join(destruction.decided_by)}: {destruction.why}",
            f"  lost with the key on them: {len(lost) or 'none'}",
            *lost,
        )
    )


def destroy(step: s.DestroyKey, act: Act) -> None:
    """Both halves. What the token does not destroy by itself is erased with it."""
    key = act.materials.keys[step.token]
    act.intend("destroy-key", token=step.token, key_id=key.key_id)
    done = act.room.tokens.destroy(step.token, bytes.fromhex(key.key_id))
    act.result("destroy-key", token=step.token, observed={"destroyed": done})
    act.materials.destroyed[step.token] = Destroyed(key.token_serial, destroyed=done, erased=False)
    if not done and step.token in KINDS[act.materials.script.kind].once:
        raise PolicyViolation(
            f"the token {step.token} destroys no single key (CKA_DESTROYABLE), and this one was for one ceremony",
            rule="CER-DESTROY",
            hint="erase it with its maker's tool, and begin again with a token that destroys what it made",
        )
    if not done:
        act.room.people.tell(
            f"The token {step.token} destroys no single key (CKA_DESTROYABLE). It is erased whole, in a moment."
        )


def prove_destroyed(step: s.ProveDestroyed, act: Act) -> None:
    """The token is opened once more, and has no key; where it did not destroy one, that is what there is to see."""
    before = act.materials.destroyed[step.token]
    act.intend("prove-destroyed", token=step.token)
    make_ready(step.token, act)
    keys = act.room.tokens.open(step.token)
    act.room.tokens.close(step.token)
    act.result("prove-destroyed", token=step.token, observed={"keys": keys})
    if before.destroyed and keys:
        raise PolicyViolation(
            f"the token {step.token} was opened again and holds {keys} private keys; wanted none", rule="CER-DESTROY"
        )


def erase(step: s.EraseToken, act: Act) -> None:
    """By this program or by people; and looked for again, by its serial number."""
    before, serial = act.materials.destroyed[step.token], act.state.token_serials[step.token]
    driver = act.state.drivers.get(step.token, "vendor")
    act.intend("erase-token", token=step.token, serial=serial, driver=driver)
    said = ERASED
    if driver == "vendor":
        allowed = (ERASED, KEPT) if before.destroyed else (ERASED,)
        said = act.ask(
            Question(
                step.who,
                f"Erase the token {step.token} with its maker's tool, in front of the witness. When it is done, type "
                f"exactly: {ERASED}" + (f". If its tool cannot, type: {KEPT}" if before.destroyed else ""),
                lambda text: text.strip() in allowed,
                ERASED,
                f"exactly {' or '.join(map(repr, allowed))}",
            )
        ).strip()
    gone = act.room.tokens.erase(step.token, serial)
    act.result("erase-token", token=step.token, said=said, observed={"gone": gone})
    act.materials.destroyed[step.token] = Destroyed(serial, destroyed=before.destroyed, erased=gone)
    if not gone and (not before.destroyed or driver == "softhsm"):
        raise PolicyViolation(
            f"the token {step.token} did not destroy its key, or was to be erased, and {serial} is there still",
            rule="CER-DESTROY",
            hint="erase it with its maker's tool, or break it: and say so in a new ceremony, as a loss",
        )


def check_is_original(token: str, serial: str, act: Act) -> None:
    """CER-COPIES: what should be the token on which the key was made is another one."""
    if act.materials.destruction() is None or token != ORIGINAL:
        return
    wanted = act.materials.register().root.token_serial
    if serial != wanted:
        raise PolicyViolation(
            f"the token {token} is {serial}; the key was made on {wanted}, which is here or is declared lost",
            rule="CER-COPIES",
        )
