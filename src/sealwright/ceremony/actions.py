"""What each action does, in the order that ``script`` lists them.

An action computes, asks the room, and records; it never decides whether its turn has come (``rules`` did), and never
waives a check: what fails raises, and ``conduct`` records that the ceremony stopped.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from sealwright.ceremony import script as s
from sealwright.ceremony.act import Act
from sealwright.ceremony.activation import make_ready
from sealwright.ceremony.answering import show_answers
from sealwright.ceremony.artefacts import Drafted, draft_output, draft_with_software_keys
from sealwright.ceremony.attendance import ask_who_is_here
from sealwright.ceremony.clock import parse_time
from sealwright.ceremony.comparing import compare_with_old
from sealwright.ceremony.composed import compose_output
from sealwright.ceremony.consent import sign_consent
from sealwright.ceremony.copying import (
    check_custody,
    check_is_no_copy,
    check_serial,
    clone,
    may_share_serial,
    record_custody,
)
from sealwright.ceremony.counting import take_census
from sealwright.ceremony.deciding import decide_revocation
from sealwright.ceremony.destroying import check_is_original, decide_destruction, destroy, erase, prove_destroyed
from sealwright.ceremony.initialising import initialise, inspect_new, prove_quorums, share_pin
from sealwright.ceremony.kinds import KINDS, side_of, side_that_signs
from sealwright.ceremony.materials import HeldKey, key_kind_on
from sealwright.ceremony.officers import Officers
from sealwright.ceremony.resharing import change_pins, check_is_the_token, collect_old, prove_old_useless, void_old
from sealwright.ceremony.room import Question
from sealwright.ceremony.words import ends, same_words
from sealwright.errors import IntegrityError, KeyAttributeError, PolicyViolation, TokenError
from sealwright.pki.keys import PublicKey, describe_key, key_kind, spki_der, spki_sha256
from sealwright.statements.ssh import parse_public_key

READ_ALOUD, SECOND_CHANNEL = 2, 4
"""How many words from each end are typed back: to show that somebody listened, and to compare with a paper."""


def _attend(_: s.Attendance, act: Act) -> None:
    ask_who_is_here(act, tuple(duty.role for duty in act.materials.script.file.roles))


def _verify_inputs(_: s.VerifyInputs, act: Act) -> None:
    pinned = act.state.prepared.file.inputs
    check_inputs(act.materials.inputs, pinned)
    for name in act.materials.script.inputs:
        act.show_digest(f"input {name}", pinned[name])


def check_inputs(inputs: Mapping[str, bytes], pinned: Mapping[str, str]) -> None:
    """Raises ``IntegrityError`` naming the input that is not what was prepared."""
    for name, digest in pinned.items():
        found = hashlib.sha256(inputs[name]).hexdigest() if name in inputs else "nothing: it is not there"
        if not hmac.compare_digest(found, digest):
            raise IntegrityError(
                f"input {name} was changed after preparation: its SHA-256 is {found}; prepared was {digest}",
                hint="find out who changed it; then run `prepare` again and review again. No token was touched",
            )


def _compare(step: s.CompareSecondChannel, act: Act) -> None:
    digest = act.state.prepared.file.inputs[step.input]
    wanted = ends(digest, each=SECOND_CHANNEL)
    act.ask(
        Question(
            step.who,
            f"From the PAPER that came the other way, the first {SECOND_CHANNEL} and last {SECOND_CHANNEL} words "
            f"of the SHA-256 of {step.input}",
            lambda text: same_words(text, wanted),
            wanted,
            f"the {2 * SECOND_CHANNEL} words of the file that is here; if the paper has others, it is another file",
        )
    )


def _lint_with_software_key(step: s.LintWithSoftwareKey, act: Act) -> None:
    drafted = draft_with_software_keys(act.materials)[step.output]
    _check_prepared(drafted, act)
    act.record("linted", {"output": step.output, "template_sha256": drafted.template_sha256})
    act.room.people.tell(f"{step.output}: linted under a software key, no finding.")


def _check_prepared(drafted: Drafted, act: Act) -> None:
    wanted = act.state.prepared.file.digests[act.materials.mode][drafted.name]
    if not hmac.compare_digest(drafted.template_sha256, wanted):
        raise IntegrityError(
            f"{drafted.name} is not what was prepared: its digest is {drafted.template_sha256}; prepared was {wanted}",
            hint="was the software changed since? prepare and review again",
        )


def _inspect(step: s.InspectToken, act: Act) -> None:
    act.intend("inspect-token", token=step.token)
    found = act.room.tokens.inspect(step.token)
    act.result(
        "inspect-token",
        token=step.token,
        observed={
            "serial": found.serial,
            "label": found.label,
            "model": found.model,
            "manufacturer": found.manufacturer,
        },
    )
    if found.label.startswith("REHEARSAL") != act.materials.rehearsal:
        raise PolicyViolation(
            f"the token {found.serial} is labelled {found.label!r}, and this is {act.materials.mode}",
            rule="CER-MODE",
            hint="rehearsals have tokens of their own, and production never touches those",
        )
    check_serial(step.token, found.serial, act)
    check_is_the_token(step.token, found.serial, act)
    check_is_original(step.token, found.serial, act)
    others = {serial for token, serial in act.state.token_serials.items() if token != step.token}
    if found.serial in others and not may_share_serial(step.token, act):
        raise PolicyViolation(
            f"the token {found.serial} is in this ceremony under another name already", rule="CER-TOKEN-TWICE"
        )
    act.state.token_serials[step.token] = found.serial
    if step.token in KINDS[act.materials.script.kind].reshared:
        act.materials.token_serials[step.token] = found.serial
    act.room.people.tell(
        f"Token {step.token}: serial {found.serial}, label {found.label!r}, {found.manufacturer} {found.model}."
    )


def _consent(step: s.Consent, act: Act) -> None:
    people = _asked(step, act)
    what = f"{_WHAT[step.to]} {step.token}" if step.token else f"sign {step.output}"
    if step.output:
        act.show_digest(f"to be signed: {step.output}", act.state.drafts[step.output].sha256)
    for name in people:
        act.ask(
            Question(
                step.role,
                f"{name}: to {what}, type exactly: {step.phrase}",
                lambda text: text.strip() == step.phrase,
                step.phrase,
                f"exactly {step.phrase!r}; if you do not consent, stop the ceremony with Ctrl-C",
            )
        )
        if step.role is s.Role.OFFICER:
            sign_consent(name, _agreed(step, act), act)


_WHAT = {
    "use-token": "use the token",
    "clone": "make a copy of the root's key on the token",
    "destroy": "destroy the root's key on the token",
}


def _asked(step: s.Consent, act: Act) -> tuple[str, ...]:
    """Everybody of that role who is here; where there are two roots, of the officers those whose root's key it is."""
    here = act.state.present[step.role]
    if step.role is not s.Role.OFFICER:
        return here
    side = side_that_signs(act.materials.script.kind, step.output) if step.output else side_of(step.token or "")
    board = act.materials.board(side)
    return tuple(name for name in here if name in board.keys)


def _agreed(step: s.Consent, act: Act) -> dict[str, str]:
    """What an officer signs: which token by its serial number, or which bytes by their digest."""
    if step.output:
        return {"to": step.to, "output": step.output, "tbs_sha256": act.state.drafts[step.output].sha256}
    token = step.token or ""
    if step.to == "clone":  # of which token: the copy may not be there yet
        source = KINDS[act.materials.script.kind].copies[token]
        return {"to": step.to, "token": token, "serial": act.state.token_serials[source]}
    return {"to": step.to, "token": token, "serial": act.state.token_serials.get(token, "")}


def _open(step: s.OpenToken, act: Act) -> None:
    how = {"activation": act.state.activation.get(step.token, "pin")} if act.state.version > 1 else {}
    act.intend("open-token", token=step.token, serial=act.state.token_serials[step.token], **how)
    make_ready(step.token, act)
    keys = act.room.tokens.open(step.token)
    act.result("open-token", token=step.token, observed={"keys": keys})
    act.state.opened.append(step.token)
    act.state.keys_on[step.token] = keys
    wanted = 0 if step.token in KINDS[act.materials.script.kind].new_keys else 1
    if keys != wanted:
        raise PolicyViolation(
            f"the token {step.token} holds {keys} private key{'' if keys == 1 else 's'}; wanted {wanted}",
            rule="CER-TOKEN-KEYS",
            hint="a token has one key in its life; take an empty one (in a rehearsal: another [rehearsal] store)"
            if keys > wanted
            else "is this the token on which the key was made?",
        )


def _generate(step: s.GenerateKey, act: Act) -> None:
    kind = key_kind_on(step.token, act.materials)
    key_id = act.materials.plan.key_ids[step.token]
    label = f"{'REHEARSAL ' if act.materials.rehearsal else ''}{step.token}"
    again = act.intend("generate-key", token=step.token, kind=kind, key_id=key_id, label=label)
    adopted = act.room.tokens.adopt(step.token, bytes.fromhex(key_id)) if again else None
    public = adopted or act.room.tokens.generate(step.token, kind, bytes.fromhex(key_id), label)
    act.result(
        "generate-key",
        token=step.token,
        adopted=adopted is not None,
        observed={"spki": base64.b64encode(spki_der(public)).decode()},
    )
    if key_kind(public) is not kind:
        raise KeyAttributeError(f"the token {step.token} made a {describe_key(public)} key; ordered was {kind}")
    act.materials.keys[step.token] = HeldKey(public, key_id, act.state.token_serials[step.token])


def _find(step: s.FindKey, act: Act) -> None:
    side = side_of(step.token)
    register, record = act.materials.register(side), act.materials.root_record(side)
    key_id = register.root.key_id
    act.intend("find-key", token=step.token, key_id=key_id)
    public = act.room.tokens.find(step.token, bytes.fromhex(key_id))
    if spki_der(public) != spki_der(record.public_key):
        check_is_no_copy(step.token, key_id, act)
        raise TokenError(
            f"the key {key_id} on the token {step.token} is not the key of {step.certificate}",
            hint="this is another token, or another root: nothing was signed",
        )
    act.result("find-key", token=step.token, spki_sha256=spki_sha256(public))
    # A key that is only found may still not sign: sign what the world has already, verify, discard.
    act.intend("prove-key", token=step.token, key_id=key_id)
    act.room.tokens.prove(step.token, bytes.fromhex(key_id), record.scheme, record.certificate.tbs_certificate_bytes)
    act.result("prove-key", token=step.token)
    act.materials.keys[step.token] = HeldKey(public, key_id, act.state.token_serials[step.token])


def _read_back(step: s.ReadBack, act: Act) -> None:
    key = act.materials.keys[step.token]
    act.intend("read-back", token=step.token, key_id=key.key_id)
    public: PublicKey = act.room.tokens.find(step.token, bytes.fromhex(key.key_id))
    if spki_der(public) != spki_der(key.public):
        raise KeyAttributeError(f"the token {step.token} gives back another key than a moment ago")
    act.result("read-back", token=step.token, spki_sha256=spki_sha256(public))
    act.show_digest(f"public key on token {step.token} ({describe_key(public)})", spki_sha256(public))


def _draft(step: s.Draft, act: Act) -> None:
    drafted = draft_output(step.output, act.materials)
    _check_prepared(drafted, act)
    act.state.drafts[step.output] = drafted
    act.record(
        "drafted",
        {"output": step.output, "sha256": drafted.sha256, "template_sha256": drafted.template_sha256},
    )
    if drafted.messages:
        show_answers(drafted, act)


def _announce(step: s.Announce, act: Act) -> None:
    drafted = act.state.drafts[step.output]
    act.show_digest(f"to-be-signed bytes of {step.output}", drafted.sha256)
    wanted = ends(drafted.sha256, each=READ_ALOUD)
    act.ask(
        Question(
            step.who,
            f"Read all words aloud. Type the first {READ_ALOUD} and last {READ_ALOUD} words",
            lambda text: same_words(text, wanted),
            wanted,
            f"the {2 * READ_ALOUD} words as they are shown",
        )
    )


def _sign(step: s.Sign, act: Act) -> None:
    drafted, key = act.state.drafts[step.output], act.materials.keys[step.token]
    if spki_der(key.public) != spki_der(drafted.signer):
        raise IntegrityError(f"the key on {step.token} is not the one that {step.output} was drafted for")
    again = act.intend(step.action, token=step.token, key_id=key.key_id, output=step.output, tbs_sha256=drafted.sha256)
    adopted = act.room.bench.recover(step.output) if again else None
    data = adopted or act.room.tokens.sign(step.token, bytes.fromhex(key.key_id), drafted)
    drafted.check_file(data)
    act.room.bench.lay_down(step.output, data)
    act.result(
        step.action,
        output=step.output,
        adopted=adopted is not None,
        observed={"sha256": hashlib.sha256(data).hexdigest()},
    )
    act.materials.outputs[step.output] = data


def _write(step: s.Write, act: Act) -> None:
    data = compose_output(step.output, act.materials)
    act.room.bench.lay_down(step.output, data)
    act.record("written", {"output": step.output, "sha256": hashlib.sha256(data).hexdigest()})
    act.materials.outputs[step.output] = data
    if KINDS[act.materials.script.kind].outputs[step.output].made == "anchor":
        act.room.people.tell(_what_the_anchor_pins(act.materials.officers(), data))


def _what_the_anchor_pins(officers: Officers, anchor: bytes) -> str:
    """As ``ssh-keygen -l`` shows keys, so that each officer can compare with the key that was brought."""
    lines = [f"{name}  {parse_public_key(line)}" for name, line in officers.keys.items()]
    return "\n  ".join(
        (f"PKI id {hashlib.sha256(anchor).hexdigest()}", f"any {officers.threshold} of these officers decide:", *lines)
    )


def _verify_second(step: s.VerifySecond, act: Act) -> None:
    rule = KINDS[act.materials.script.kind]
    name = f"{side_that_signs(act.materials.script.kind, step.output)}root.pem"
    root = act.materials.outputs.get(name) or act.materials.inputs.get(name)
    data = act.materials.outputs[step.output]
    made = rule.outputs[step.output].made
    version = act.room.second.verify(
        step.tool,
        step.output,
        data,
        None if made == "request" else root,
        parse_time(act.materials.plan.at, "prepared.json"),
    )
    act.record(
        "verified",
        {"output": step.output, "tool": step.tool, "sha256": hashlib.sha256(data).hexdigest()},
        {"version": version},
    )


def _build_path(step: s.BuildPath, act: Act) -> None:
    anchor, end = KINDS[act.materials.script.kind].paths[step.output]
    through, inputs = act.materials.outputs[step.output], act.materials.inputs
    version = act.room.second.build_path(
        step.tool, inputs[anchor], through, inputs[end], parse_time(act.materials.plan.at, "prepared.json")
    )
    act.record(
        "path",
        {
            "output": step.output,
            "anchor": anchor,
            "end": end,
            "tool": step.tool,
            "sha256": hashlib.sha256(through).hexdigest(),
        },
        {"version": version},
    )
    act.room.people.tell(f"{step.tool} trusts {anchor} alone, and builds the path to {end} through {step.output}.")


def _promote(_: s.Promote, act: Act) -> None:
    names = tuple(KINDS[act.materials.script.kind].outputs)
    act.intend("promote", outputs=list(names))
    act.room.bench.promote(names)
    act.result("promote", outputs=list(names))


def _close(_: s.Close, act: Act) -> None:
    for name in KINDS[act.materials.script.kind].outputs:
        act.show_digest(_what_it_is(name, act.materials.outputs[name]), _digest_of(name, act.materials.outputs[name]))


def _digest_of(name: str, data: bytes) -> str:
    """A PEM file is known by its DER: that is what the other side computes, whatever its line ends."""
    if name.endswith(".pem"):
        return x509.load_pem_x509_certificate(data).fingerprint(hashes.SHA256()).hex()
    return hashlib.sha256(data).hexdigest()


def _what_it_is(name: str, data: bytes) -> str:
    return f"fingerprint of {name}" if name.endswith(".pem") else f"output {name} ({len(data)} octets)"


def _close_token(step: s.CloseToken, act: Act) -> None:
    act.intend("close-token", token=step.token)
    act.room.tokens.close(step.token)
    act.result("close-token", token=step.token)
    act.state.opened.remove(step.token)


_ACTIONS: Mapping[type[s.Step], Callable[[Any, Act], None]] = {
    s.Attendance: _attend,
    s.VerifyInputs: _verify_inputs,
    s.CompareSecondChannel: _compare,
    s.DecideRevocation: decide_revocation,
    s.CompareWithOld: compare_with_old,
    s.LintWithSoftwareKey: _lint_with_software_key,
    s.InspectToken: _inspect,
    s.InspectNewToken: inspect_new,
    s.SharePin: share_pin,
    s.InitialiseToken: initialise,
    s.ProveQuorums: prove_quorums,
    s.Consent: _consent,
    s.OpenToken: _open,
    s.GenerateKey: _generate,
    s.FindKey: _find,
    s.ReadBack: _read_back,
    s.Draft: _draft,
    s.Announce: _announce,
    s.Sign: _sign,
    s.CheckCustody: check_custody,
    s.CloneToken: clone,
    s.RecordCustody: record_custody,
    s.DecideDestruction: decide_destruction,
    s.DestroyKey: destroy,
    s.ProveDestroyed: prove_destroyed,
    s.EraseToken: erase,
    s.CollectOldShares: collect_old,
    s.ChangePins: change_pins,
    s.ProveOldUseless: prove_old_useless,
    s.VoidOldShares: void_old,
    s.TakeCensus: take_census,
    s.Write: _write,
    s.VerifySecond: _verify_second,
    s.BuildPath: _build_path,
    s.CloseToken: _close_token,
    s.Promote: _promote,
    s.Close: _close,
}


def perform(step: s.Step, act: Act) -> None:
    """Take one step. Raises a ``SealwrightError`` where it cannot be taken."""
    _ACTIONS[type(step)](step, act)
