"""The state machine for what becomes of a key after it was made: copies, custody, its end. Asked by ``rules``."""

from collections.abc import Iterator

from sealwright.ceremony import script as s
from sealwright.ceremony.kinds import KindRule
from sealwright.errors import PolicyViolation


def check_scope(where: str, step: s.Step, rule: KindRule) -> None:
    """CER-SCOPE: the step is about a token that is nothing of the kind here."""
    match step:
        case s.DestroyKey() | s.ProveDestroyed() if step.token in rule.once:
            return
        case s.Consent(to="clone") if step.token not in rule.copies:
            wrong = f"the token {step.token} does not become a copy"
        case s.CloneToken() if rule.copies.get(step.token) != step.source:
            wrong = f"{step.token} does not become a copy of {step.source}"
        case s.CheckCustody() if step.token not in rule.sealed:
            wrong = f"the token {step.token} is no sealed copy"
        case s.RecordCustody() if step.token not in rule.bagged():
            wrong = f"the token {step.token} is no copy"
        case s.Consent(to="destroy") | s.DestroyKey() | s.ProveDestroyed() | s.EraseToken() if not rule.destroys:
            wrong = "no key ends in this kind of ceremony"
        case s.CollectOldShares() | s.ChangePins() | s.ProveOldUseless() | s.VoidOldShares() if (
            step.token not in rule.reshared
        ):
            wrong = f"the token {step.token} gets no new shares in this kind of ceremony"
        case s.TakeCensus() if step.token not in rule.counted:
            wrong = f"the token {step.token} is not counted in this kind of ceremony"
        case s.OpenToken() if step.token in rule.counted:
            wrong = f"the token {step.token} is only looked at: take-census opens it, and shuts it again"
        case s.DecideDestruction() if not rule.destroys or step.input != "destruction.toml":
            wrong = f"{step.input} is no decision of this kind"
        case _:
            return
    raise PolicyViolation(f"{where}: {wrong}", rule="CER-SCOPE")


def needs(step: s.Step, rule: KindRule) -> Iterator[str]:  # noqa: PLR0912  # one case for each action
    match step:
        case s.CheckCustody():
            yield "the inputs are verified"
        case s.InspectToken():
            if step.token in rule.copies:
                yield f"{step.token} is cloned"
            if step.token in rule.sealed:
                yield f"the seal of {step.token} is the registered one"
        case s.CloneToken():
            yield f"the key on {step.source} is read back"
            yield f"the officers consent to clone {step.source} to {step.token}"
        case s.Consent(to="clone"):
            yield f"the key on {rule.copies[step.token or '']} is read back"
        case s.Consent(to="destroy"):
            yield "the destruction is decided"
            yield f"the key on {step.token} is known"
        case s.RecordCustody():
            yield f"the key on {step.token} is read back"
        case s.DecideDestruction():
            yield "everybody is named"
            yield "the inputs are verified"
        case s.DestroyKey():
            yield f"token {step.token} is open"
            yield f"the key on {step.token} is known"
            if step.token in rule.once:  # it has done what it was made for, and another implementation says so
                signed = [name for name, output in rule.outputs.items() if output.token == step.token]
                yield from (f"{name} is verified by a second implementation" for name in signed)
                return
            yield "the destruction is decided"
            yield f"the officers consent to destroy the key on {step.token}"
        case s.ProveDestroyed():
            yield f"the key on {step.token} is destroyed"
        case s.EraseToken():
            yield f"the key on {step.token} is proven to be gone"
        case s.CollectOldShares() | s.ChangePins() | s.ProveOldUseless() | s.VoidOldShares():
            yield from _needs_of_shares(step)
        case s.TakeCensus():
            yield f"token {step.token} is inspected"
            yield f"the officers consent to use {step.token}"
        case s.SharePin() | s.ProveQuorums() if step.token in rule.reshared:
            yield from _needs_of_shares(step)
        case s.Promote():
            yield from (f"the key on {token} is proven to be gone" for token in sorted(rule.once))
        case s.Write():
            if rule.outputs[step.output].made == "token":
                yield from (f"the old shares of {token} are void" for token in rule.reshared)
            yield from (f"the token {token} is counted" for token in rule.counted)
            if rule.destroys:
                yield from (f"token {token} is erased" for token in rule.tokens)
            yield from (f"the custody of {token} is recorded" for token in rule.bagged())
        case _:
            return


def _needs_of_shares(step: s.Step) -> Iterator[str]:
    match step:
        case s.CollectOldShares():
            yield f"token {step.token} is inspected"
            yield f"the officers consent to use {step.token}"
        case s.SharePin():
            yield from (f"the old {which} shares of {step.token} open it" for which in ("user", "so"))
        case s.ChangePins():
            yield from (f"the {which} PIN of {step.token} is shared" for which in ("user", "so"))
        case s.ProveOldUseless():
            yield f"the PINs of {step.token} are changed"
        case s.ProveQuorums():
            yield f"the old shares of {step.token} open nothing"
        case s.VoidOldShares():
            yield f"token {step.token} is proven to open"


def barred_by(step: s.Step) -> Iterator[str]:
    match step:
        case s.CheckCustody():
            yield f"the seal of {step.token} is the registered one"
        case s.CloneToken():
            yield f"token {step.source} is open"
            yield f"the custody of {step.source} is recorded"
            yield f"{step.token} is cloned"
        case s.RecordCustody():
            yield f"token {step.token} is open"
            yield f"the custody of {step.token} is recorded"
        case s.TakeCensus():
            yield f"the token {step.token} is counted"
        case s.CollectOldShares() | s.ChangePins():
            yield f"the PINs of {step.token} are changed"
        case s.ProveOldUseless() | s.VoidOldShares() | s.ProveQuorums():
            yield f"the old shares of {step.token} are void"
        case s.DestroyKey():
            yield f"the key on {step.token} is destroyed"
        case s.ProveDestroyed() | s.EraseToken():
            yield f"token {step.token} is open"
            yield f"token {step.token} is erased"
        case s.OpenToken() | s.InspectToken() | s.FindKey() | s.ReadBack():
            yield f"the key on {step.token} is destroyed"
            yield f"the custody of {step.token} is recorded"
        case _:
            return


def gives(step: s.Step, rule: KindRule) -> Iterator[str]:  # noqa: PLR0912  # one case for each action
    match step:
        case s.CheckCustody():
            yield f"the seal of {step.token} is the registered one"
        case s.CloneToken():
            yield f"{step.token} is cloned"
        case s.RecordCustody():
            yield f"the custody of {step.token} is recorded"
        case s.TakeCensus():
            yield f"the token {step.token} is counted"
        case s.CollectOldShares():
            yield f"the old {step.which} shares of {step.token} open it"
        case s.ChangePins():
            yield f"the PINs of {step.token} are changed"
        case s.ProveOldUseless():
            yield f"the old shares of {step.token} open nothing"
        case s.VoidOldShares():
            yield f"the old shares of {step.token} are void"
        case s.DecideDestruction():
            yield "the destruction is decided"
        case s.DestroyKey():
            yield f"the key on {step.token} is destroyed"
        case s.ProveDestroyed():
            yield f"the key on {step.token} is proven to be gone"
        case s.EraseToken():
            yield f"token {step.token} is erased"
        case s.Consent(to="destroy", role=s.Role.OFFICER):
            yield f"the officers consent to destroy the key on {step.token}"
        case s.Consent(to="clone", role=s.Role.OFFICER):
            yield f"the officers consent to clone {rule.copies[step.token or '']} to {step.token}"
        case _:
            return
