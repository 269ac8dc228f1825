"""What the actions of ``officers-change`` do: the old quorums open the token once more, new ones take it over, and the
old papers open nothing.

The two PINs are changed one after the other, the user's first: should it be cut off, the security officer's, which is
known to be the old one then, sets it. Shares that were typed are in memory only, and after an interruption typed again.
"""

from sealwright.ceremony import script as s
from sealwright.ceremony.act import Act
from sealwright.ceremony.activation import collect
from sealwright.ceremony.holders import Holders, Which, parse_token
from sealwright.ceremony.initialising import holders_of
from sealwright.ceremony.keyinputs import check_key_inputs
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.pins import OLD
from sealwright.ceremony.room import Question
from sealwright.errors import PolicyViolation

SIDES: tuple[Which, ...] = ("user", "so")
TORN = "torn up"


def old_holders(act: Act) -> Holders:
    """Those of ``token.json``: from ``token-init``, or from the last change."""
    return parse_token(act.materials.inputs["token.json"]).holders


def check_is_the_token(token: str, serial: str, act: Act) -> None:
    """CER-SHARES: the token is not the one whose holders change."""
    if token not in KINDS[act.materials.script.kind].reshared:
        return
    known = parse_token(act.materials.inputs["token.json"])
    if serial != known.token_serial:
        raise PolicyViolation(
            f"the token {token} is {serial}; token.json is of {known.token_serial}", rule="CER-SHARES"
        )


def collect_old(step: s.CollectOldShares, act: Act) -> None:
    """A quorum of the holders so far, from paper; the token takes what it gives."""
    check_key_inputs(act.materials)
    holders = old_holders(act)
    people = _who_of(step.which, holders, step, act)
    act.state.old_quorums[step.which] = people
    act.intend("try-quorum", token=f"{OLD}{step.token}", which=step.which, holders=list(people))
    collect(f"{OLD}{step.token}", step.which, people, act, name=holders.label)
    serial = act.state.token_serials[step.token]
    objects = act.room.tokens.try_quorum(f"{OLD}{step.token}", serial, step.which)
    act.result("try-quorum", token=f"{OLD}{step.token}", which=step.which, observed={"objects": objects})


def _who_of(which: Which, holders: Holders, step: s.CollectOldShares, act: Act) -> tuple[str, ...]:
    threshold, known = holders.divisions[which].threshold, holders.of(which)
    if which == "user":  # they are officers, and act as such
        known = tuple(name for name in known if name in act.state.present[s.Role.OFFICER])
    wanted = f"{threshold} or more of {', '.join(known)}, with commas between them"

    def names(text: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in text.split(","))

    def accepts(text: str) -> bool:
        return len(set(names(text))) == len(names(text)) >= threshold and set(names(text)) <= set(known)

    prompt = f"Which holders of the {which} PIN so far are here with their papers? {wanted}"
    return names(act.ask(Question(step.who, prompt, accepts, ", ".join(known[:threshold]), wanted)))


def change_pins(step: s.ChangePins, act: Act) -> None:
    """The user's, then the security officer's: each with its intent on the disk before it and its result after."""
    serial = act.state.token_serials[step.token]
    for which in SIDES:
        act.room.journal.interrupted()  # one before the intent touched nothing
        before = act.state.interruptions
        act.intend("change-pin", token=step.token, which=which, serial=serial)
        while not _ready(step.token, act):
            pass
        again = act.state.interruptions != before
        adopted = act.room.tokens.finish_change(step.token, serial, which) if again else False
        if not again:
            act.room.tokens.change_pin(step.token, serial, which)
        act.result("change-pin", token=step.token, which=which, adopted=adopted)


def _ready(token: str, act: Act) -> bool:
    """Every PIN, old and new, is known or typed again. False: interrupted meanwhile."""
    mine, old, new = act.state.interruptions, old_holders(act), holders_of(act)
    for which in SIDES:
        if not act.room.tokens.has_pin(f"{OLD}{token}", which):
            collect(f"{OLD}{token}", which, act.state.old_quorums[which], act, name=old.label)
        if not act.room.tokens.has_pin(token, which):
            collect(token, which, new.of(which), act, name=new.label)
    act.room.journal.interrupted()
    return mine == act.state.interruptions


def prove_old_useless(step: s.ProveOldUseless, act: Act) -> None:
    """Each old PIN is tried once, and must be refused."""
    serial = act.state.token_serials[step.token]
    for which in SIDES:
        act.intend("try-old", token=step.token, which=which, serial=serial)
        while not _ready(step.token, act):
            pass
        refused = act.room.tokens.is_useless(step.token, serial, which)
        act.result("try-old", token=step.token, which=which, observed={"refused": refused})
        if not refused:
            raise PolicyViolation(
                f"the old shares still open the token {step.token}, by its {which} PIN",
                rule="CER-SHARES-OLD",
                hint="its PIN was not changed, whatever the token says: it is not used any more",
            )


def void_old(step: s.VoidOldShares, act: Act) -> None:
    """They open nothing any more; so that nobody keeps them for ones that do."""
    act.ask(
        Question(
            step.who,
            f"Every old paper that is here is torn up in front of everybody. Then type exactly: {TORN}",
            lambda text: text.strip() == TORN,
            TORN,
            f"exactly {TORN!r}",
        )
    )
    act.room.tokens.keep_new_papers(old_holders(act).label, holders_of(act).label)
    act.record("void", {"token": step.token})
