"""What the actions of ``token-init`` do: an empty token becomes one that only quorums can open."""

from dataclasses import replace

from sealwright.ceremony import script as s
from sealwright.ceremony.act import TRIES, Act
from sealwright.ceremony.activation import collect
from sealwright.ceremony.holders import Holders, Which, parse_holders
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.room import SecretQuestion
from sealwright.ceremony.shamir import PIN_LENGTH
from sealwright.errors import PolicyViolation


def holders_of(act: Act) -> Holders:
    """Those of ``shares.toml``. In a change of holders, under a name of their own until the old ones are void."""
    holders = parse_holders(act.materials.inputs["shares.toml"], act.materials.officers())
    reshared = KINDS[act.materials.script.kind].reshared
    return replace(holders, label=f"{holders.label}-new") if reshared else holders


def token_label(act: Act) -> str:
    return f"{'REHEARSAL ' if act.materials.rehearsal else ''}{holders_of(act).label}"


def inspect_new(step: s.InspectNewToken, act: Act) -> None:
    """A token without a label, a PIN or an object, that takes PINs as long as ours."""
    holders_of(act)
    act.intend("inspect-new-token", token=step.token)
    found = act.room.tokens.inspect_new(step.token, token_label(act))
    act.result(
        "inspect-new-token",
        token=step.token,
        observed={
            "model": found.model,
            "manufacturer": found.manufacturer,
            "objects": found.objects,
            "shortest_pin": found.shortest_pin,
            "longest_pin": found.longest_pin,
        },
    )
    if found.objects:
        raise PolicyViolation(
            f"the token {step.token} holds {found.objects} objects; a new one is empty",
            rule="CER-TOKEN-EMPTY",
            hint="take a token from a sealed bag, or erase this one with its maker's tool in front of the witness",
        )
    if not found.shortest_pin <= PIN_LENGTH <= found.longest_pin:
        raise PolicyViolation(
            f"the token {step.token} takes PINs of {found.shortest_pin} to {found.longest_pin} octets; a shared secret "
            f"of 128 bits is one of {PIN_LENGTH}",
            rule="CER-PIN-LENGTH",
            hint="a token with short PINs cannot be opened by shares: use its PIN pad (activation = external)",
        )
    act.room.people.tell(f"Token {step.token}: {found.manufacturer} {found.model}, not initialised, empty.")


def share_pin(step: s.SharePin, act: Act) -> None:
    """After an interruption from the beginning: with a new PIN, and the papers written so far are worth nothing."""
    while not _shared(step, act):
        act.room.people.tell("The shares that were written down before the interruption are VOID: tear them up now.")


def _shared(step: s.SharePin, act: Act) -> bool:
    holders = holders_of(act)
    division = holders.divisions[step.which]
    act.record(
        "splitting",
        {"token": step.token, "which": step.which, "threshold": division.threshold, "shares": division.shares},
    )
    act.room.journal.interrupted()
    mine = act.state.interruptions
    act.room.tokens.split(step.token, step.which, holders)
    papers = enumerate(holders.of(step.which), 1)
    return all(_hand_over(step, holder, number, act, mine) for number, holder in papers)


def _hand_over(step: s.SharePin, holder: str, number: int, act: Act, mine: int) -> bool:
    """Shown to its holder alone, written down, and typed back. False: interrupted, and the PIN is gone."""
    for attempt in range(1, TRIES + 1):
        act.room.journal.interrupted()
        if mine != act.state.interruptions:
            return False
        people, share = act.room.people, act.room.tokens.share(step.token, step.which, number)
        rehearsed = share if act.materials.rehearsal else ""
        if attempt == 1:
            people.show_secret(holder, f"share {number} of the {step.which} PIN of the token {step.token}", share)
        typed = people.ask_secret(
            SecretQuestion(holder, f"{holder}: type share {number} back from the paper, all its words", rehearsed)
        )
        right = act.room.tokens.is_share(step.token, step.which, number, typed)
        act.record(
            "handed-over",
            {
                "token": step.token,
                "which": step.which,
                "holder": holder,
                "number": number,
                "try": attempt,
            },
            {"accepted": right},
        )
        if right:
            return True
        people.tell("That is not what was shown. Compare the paper, and type it again.")
    raise PolicyViolation(
        f"{holder} could not type share {number} back in {TRIES} tries",
        rule="CER-SHARES",
        hint="the token is still new: tear up every paper, and begin again",
    )


def initialise(step: s.InitialiseToken, act: Act) -> None:
    holders, label = holders_of(act), token_label(act)
    act.room.journal.interrupted()  # one before the intent touched nothing
    before = act.state.interruptions
    act.intend("initialise-token", token=step.token, label=label)
    while not _has_pins(step.token, holders, act):
        pass
    again = act.state.interruptions != before  # also while shares were typed again, and the token touched after that
    adopted = act.room.tokens.adopt_initialised(step.token, label) if again else None
    serial = adopted or act.room.tokens.initialise(step.token, label)
    act.result(
        "initialise-token", token=step.token, label=label, adopted=adopted is not None, observed={"serial": serial}
    )
    act.state.token_serials[step.token] = act.materials.token_serials[step.token] = serial
    act.room.people.tell(f"Token {step.token}: serial {serial}, label {label!r}.")


def _has_pins(token: str, holders: Holders, act: Act) -> bool:
    """Interrupted since a PIN was shared: its holders have it, and type it. False: interrupted again."""
    mine = act.state.interruptions
    sides: tuple[Which, ...] = ("user", "so")
    for which in sides:
        if not act.room.tokens.has_pin(token, which):
            collect(token, which, holders.of(which), act, name=holders.label)
    act.room.journal.interrupted()
    return mine == act.state.interruptions


def prove_quorums(step: s.ProveQuorums, act: Act) -> None:
    """Papers, not memory: two different quorums of the user PIN, and one of the security officer's, type and log in."""
    holders = holders_of(act)
    act.intend("refuse-default-pin", token=step.token)
    act.room.tokens.refuse_default_pin(act.state.token_serials[step.token])
    act.result("refuse-default-pin", token=step.token)
    first, last = holders.user, tuple(reversed(holders.user))
    quorums: tuple[tuple[Which, tuple[str, ...]], ...] = (("user", first), ("user", last), ("so", holders.so))
    for which, people in quorums:
        quorum = people[: holders.divisions[which].threshold]
        _prove(step.token, which, quorum, holders.label, act)


def _prove(token: str, which: Which, quorum: tuple[str, ...], name: str, act: Act) -> None:
    act.intend("try-quorum", token=token, which=which, holders=list(quorum))
    collect(token, which, quorum, act, name=name)
    objects = act.room.tokens.try_quorum(token, act.state.token_serials[token], which)
    act.result("try-quorum", token=token, which=which, observed={"objects": objects})
    if objects and token in KINDS[act.materials.script.kind].fresh():
        raise PolicyViolation(f"the token {token} holds {objects} objects, and is new", rule="CER-TOKEN-EMPTY")
