"""What the actions of ``backup`` and ``restore`` do: a token is cloned, proven to be a copy, and put into a bag.

Keys are never wrapped out. A vendor's token is cloned by people, with its maker's tool; a SoftHSM's folder is copied by
``tokens``. Either way the copy counts for nothing until its key has signed what the world has already: ``find-key``.
"""

from collections.abc import Set
from itertools import count

from sealwright.ceremony import script as s
from sealwright.ceremony.act import TRIES, Act
from sealwright.ceremony.custody import Custody, RegisteredCopy, is_number, used_numbers
from sealwright.ceremony.keyinputs import check_key_inputs
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.officers import is_name
from sealwright.ceremony.room import Question
from sealwright.errors import PolicyViolation

CLONED = "cloned"


def clone(step: s.CloneToken, act: Act) -> None:
    """The source is closed: its maker's tool wants it for itself, and a SoftHSM's folder is at rest."""
    check_key_inputs(act.materials)
    driver = act.state.drivers.get(step.token, "vendor")
    again = act.intend(
        "clone-token",
        token=step.token,
        source=step.source,
        serial=act.state.token_serials[step.source],
        driver=driver,
    )
    if driver == "vendor":
        act.ask(
            Question(
                step.who,
                f"Clone the token {step.source} to the token {step.token} with its maker's tool, in front of the "
                f"witness; nothing is wrapped or exported. When the tool says that it is done, type exactly: {CLONED}",
                lambda text: text.strip() == CLONED,
                CLONED,
                f"exactly {CLONED!r}; if the tool refuses, stop with Ctrl-C, and resume when it does not",
            )
        )
    adopted = act.room.tokens.adopt_clone(step.token, step.source) if again else False
    if not adopted:
        act.room.tokens.clone(step.token, step.source)
    act.result("clone-token", token=step.token, adopted=adopted)


def check_serial(token: str, serial: str, act: Act) -> None:
    """CER-COPY: the token is not the copy that the register knows, or not one that this ceremony can have made."""
    rule, state = KINDS[act.materials.script.kind], act.state
    if token in act.materials.taken:
        wanted = act.materials.taken[token].token_serial
        if serial != wanted:
            raise PolicyViolation(
                f"the token out of this bag is {serial}; the register has {wanted} in it", rule="CER-COPY"
            )
    elif token in rule.copies and state.drivers.get(token) == "softhsm":
        source = state.token_serials[rule.copies[token]]
        if serial != source:
            raise PolicyViolation(
                f"the token {token} is {serial}; a copied SoftHSM token has its original's number, {source}",
                rule="CER-COPY",
            )


def may_share_serial(token: str, act: Act) -> bool:
    """A SoftHSM's copy has the serial number of its original, in a store of its own."""
    rule = KINDS[act.materials.script.kind]
    return rule.is_copy(token) and act.state.drivers.get(token) == "softhsm"


def check_is_no_copy(token: str, key_id: str, act: Act) -> None:
    """CER-COPY: the key on what should be a copy is another one. Nothing waives it: that token is never used."""
    rule = KINDS[act.materials.script.kind]
    if rule.is_copy(token):
        raise PolicyViolation(
            f"the key {key_id} on the token {token} is not the root's: it is no copy", rule="CER-COPY"
        )


def check_custody(step: s.CheckCustody, act: Act) -> None:
    """The numbers as they are read from the bag, before it is opened; which copy it is follows from them."""
    free = _registered(act)
    if not free:
        raise PolicyViolation(
            "the register knows no copy that could be in this bag",
            rule="CER-COPY",
            hint="take the newest register.json: `backup` writes a copy into it",
        )
    typed = act.ask(
        Question(
            step.who,
            f"The bag of the token {step.token}: type the bag's number and the seal's number as they are printed on "
            "it, with a space between them. Nobody cuts it yet",
            lambda text: text.strip() in free,
            next(iter(free)),
            "the two numbers of a bag that the register has; one that differs is not opened",
        )
    )
    act.materials.taken[step.token] = free[typed.strip()]
    act.room.people.tell(f"That is the copy of {free[typed.strip()].made}, with {free[typed.strip()].custody.holder}.")


def _registered(act: Act) -> dict[str, RegisteredCopy]:
    """By the two numbers, without those that are in this ceremony already."""
    return {
        f"{copy.custody.bag} {copy.custody.seal}": copy
        for copy in act.materials.register().copies
        if copy not in act.materials.taken.values()
    }


def record_custody(step: s.RecordCustody, act: Act) -> None:
    """Who takes it; then bag and seal, each said by whoever closes it and read from it once more by the witness."""
    custody, register = act.materials.custody, act.materials.register()
    used = set(used_numbers(register.copies)) | {n for each in custody.values() for n in (each.bag, each.seal)}
    holder = act.ask(
        Question(
            step.who,
            f"Who takes the token {step.token} into custody? One short name in lower-case letters",
            lambda text: is_name(text.strip()),
            "rehearsal-keeper",
            "one name",
        )
    ).strip()
    bag = _number("bag", step, used, act)
    seal = _number("seal", step, used | {bag}, act)
    act.materials.custody[step.token] = Custody(holder=holder, bag=bag, seal=seal)
    serial = act.state.token_serials[step.token]
    act.materials.token_serials[step.token] = serial
    act.record("custody", {"token": step.token, "serial": serial, "holder": holder, "bag": bag, "seal": seal})


def _number(what: str, step: s.RecordCustody, used: Set[str], act: Act) -> str:
    """One number, by two people. CER-CUSTODY when they never read the same."""
    rehearsed = next(each for each in (f"{what.upper()}-{n}" for n in count(1)) if each not in used)
    for _ in range(TRIES):
        said = act.ask(
            Question(
                step.who,
                f"The number of the {what} of the token {step.token}, as it is printed on it",
                lambda text: is_number(text.strip()) and text.strip() not in used,
                rehearsed,
                "letters, digits and hyphens; and no number that a bag or a seal of the register has",
            )
        ).strip()
        read = act.ask(
            Question(
                s.Role.WITNESS,
                f"The witness reads the number of the same {what} from it, and types it",
                lambda text: is_number(text.strip()),
                rehearsed,
                "letters, digits and hyphens",
            )
        ).strip()
        if read == said:
            return said
        act.room.people.tell(f"Two different numbers: {said} and {read}. Look again, both.")
    raise PolicyViolation(
        f"the number of the {what} was read in two ways, {TRIES} times",
        rule="CER-CUSTODY",
        hint="the copy is in nobody's custody: erase it, and begin again in a new record",
    )
