"""Taking an interrupted ceremony up again: who is here, does the quorum want to go on, and which tokens were open.

Performed by ``resume`` where the record ends, and by every replay at the same place. An interruption may fall into a
take-up, too: the later one does everything, and the earlier one ends.
"""

from sealwright.ceremony.act import Act
from sealwright.ceremony.activation import make_ready
from sealwright.ceremony.attendance import ask_who_is_here
from sealwright.ceremony.consent import sign_consent
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.room import Question
from sealwright.ceremony.script import Role
from sealwright.errors import IntegrityError, PolicyViolation, TokenError

PHRASE = "resume the ceremony"


def take_up(act: Act) -> None:
    """Record the interruption, ask everybody again, and open again what was open.

    What was consented to before the interruption still stands: it is the same ceremony, and the quorum says so.
    """
    state = act.state
    if state.version < 2:
        raise IntegrityError("a transcript of this form was never continued, and this one is")
    state.interruptions += 1
    mine = state.interruptions
    act.record("resumed", {})
    act.room.people.tell(_where_it_stands(act))
    ask_who_is_here(act, tuple(state.present))
    for name in state.present.get(Role.OFFICER, ()) if mine == state.interruptions else ():
        act.ask(
            Question(
                Role.OFFICER,
                f"{name}: the ceremony was interrupted. To go on where it was, type exactly: {PHRASE}",
                lambda text: text.strip() == PHRASE,
                PHRASE,
                f"exactly {PHRASE!r}; if you do not consent, stop the ceremony with Ctrl-C",
            )
        )
        if mine == state.interruptions:
            sign_consent(name, {"to": "resume"}, act)
        if mine != state.interruptions:
            return
    for token in tuple(state.opened):
        if mine == state.interruptions:
            _open_again(token, act)


def _where_it_stands(act: Act) -> str:
    doing = "nothing was under way"
    if act.state.pending:
        operation, token = act.state.pending
        doing = (
            f"{operation}{f' on the token {token}' if token else ''} had begun, and nobody knows whether it was done"
        )
    return f"\nINTERRUPTED in step {act.number}: {doing}. Everybody says again who they are."


def _open_again(token: str, act: Act) -> None:
    """The same token, by its serial number, with no more keys on it than there can be."""
    state, mine = act.state, act.state.interruptions
    serial = state.token_serials[token]
    # Not act.intend: what was pending before the interruption is pending still.
    act.record("intent", {"operation": "open-again", "token": token, "serial": serial})
    act.room.journal.interrupted()
    if mine != state.interruptions:
        return
    found = act.room.tokens.inspect(token)
    if found.serial != serial:
        raise TokenError(
            f"the token {token} has the serial number {found.serial}; before the interruption it was {serial}",
            hint="put the right token in, and resume again",
        )
    make_ready(token, act)
    if mine != state.interruptions:
        return
    keys = act.room.tokens.open(token)
    act.record("result", {"operation": "open-again", "token": token}, {"keys": keys})
    if token in act.materials.destroyed or state.pending == ("destroy-key", token):
        return  # it is none or one, and `prove-destroyed` says which
    known = token in act.materials.keys or token not in KINDS[act.materials.script.kind].new_keys
    wanted = {1} if known else {0, 1} if state.pending == ("generate-key", token) else {0}
    if keys not in wanted:
        raise PolicyViolation(
            f"the token {token} holds {keys} private keys; wanted {' or '.join(map(str, wanted))}, as before",
            rule="CER-TOKEN-KEYS",
            hint="somebody used the token since: keep the record, and find out who",
        )
