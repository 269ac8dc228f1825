"""The state machine of a ceremony: what each action needs, and what it establishes.

It is walked three times over the same script: by ``check`` before the room is entered, by ``conduct`` before every
step, and by ``replay`` years later. A script from which somebody removed a safeguard cannot be walked: the step that
needed it is named. What an action does is in ``actions``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from sealwright.ceremony import rules_keys
from sealwright.ceremony import script as s
from sealwright.ceremony.kinds import KINDS, KindRule
from sealwright.errors import PolicyViolation

MADE_BY = {
    "draft-certificate": "certificate",
    "draft-crl": "crl",
    "draft-request": "request",
    "draft-answers": "answers",
    "sign-certificate": "certificate",
    "sign-crl": "crl",
    "sign-request": "request",
    "sign-answers": "answers",
    "write-anchor": "anchor",
    "write-keys": "keys",
    "write-register": "register",
    "write-token": "token",
    "write-officers": "officers",
    "write-custody": "custody",
    "write-destruction": "destruction",
    "write-census": "census",
}


@dataclass(slots=True)
class Facts:
    """What stands at this point. A fact is a short sentence; the messages use it as it is."""

    kind: s.Kind
    tokens: tuple[str, ...]
    known: set[str] = field(default_factory=set)

    @property
    def rule(self) -> KindRule:
        return KINDS[self.kind].among(self.tokens)

    def apply(self, step: s.Step) -> None:
        """Take a step. The caller has asked ``missing`` first."""
        self.known |= {*_gives(step), *rules_keys.gives(step, self.rule)}
        self.known -= set(_ends(step))


def missing(step: s.Step, facts: Facts) -> tuple[str, ...]:
    """What this step needs and nothing has established."""
    return tuple(dict.fromkeys(need for need in _needs(step, facts.rule) if need not in facts.known))


def barring(step: s.Step, facts: Facts) -> tuple[str, ...]:
    """What stands already and must not, before this step: a token that is open is not opened, a file not made twice."""
    return tuple(dict.fromkeys(fact for fact in _barred_by(step, facts.rule) if fact in facts.known))


def check_order(script: s.Script) -> None:
    """Walk the whole script. Raises ``PolicyViolation`` (CER-...) that names the first step that cannot be taken."""
    rule = KINDS[script.kind].among(script.tokens)
    for what, named, wanted in (
        ("inputs", script.inputs, rule.inputs),
        ("tokens", script.tokens, rule.tokens),
        ("outputs", script.outputs, tuple(rule.outputs)),
    ):
        if sorted(named) != sorted(wanted):
            raise PolicyViolation(
                f"{what} are {', '.join(named) or 'none'}; {script.kind} wants {', '.join(wanted)}",
                rule="CER-KIND",
                hint=f"compare with ceremonies/{script.kind}/script.toml",
            )
    _check_roles(script)
    facts = Facts(script.kind, script.tokens)
    for number, step in enumerate(script.steps, 1):
        check_step(number, step, facts)
        facts.apply(step)
    if "the ceremony is closed" not in facts.known:
        last = f"step {len(script.steps)} ({script.steps[-1].action})"
        raise PolicyViolation(f"{last} is the last, and is not `close`", rule="CER-ORDER", hint="end with `close`")


def check_step(number: int, step: s.Step, facts: Facts) -> None:
    """CER-SCOPE: the step names what its kind does not have. CER-ORDER: something it needs is not there yet."""
    where = f"step {number} ({step.action})"
    _check_scope(where, step, facts.rule)
    if lacking := missing(step, facts):
        raise PolicyViolation(
            f"{where} needs, and no earlier step gives: {'; '.join(lacking)}",
            rule="CER-ORDER",
            hint=f"compare the order with ceremonies/{facts.kind}/script.toml",
        )
    if standing := barring(step, facts):
        raise PolicyViolation(
            f"{where} cannot be taken any more: {'; '.join(standing)}",
            rule="CER-ORDER",
            hint=f"compare the order with ceremonies/{facts.kind}/script.toml",
        )


def _check_roles(script: s.Script) -> None:
    present = [duty.role for duty in script.file.roles]
    if len(set(present)) != len(present):
        raise PolicyViolation("a role is described twice in [[roles]]", rule="CER-ROLES")
    for needed in (s.Role.ADMINISTRATOR, s.Role.OFFICER, s.Role.WITNESS):
        if needed not in present:
            raise PolicyViolation(
                f"no [[roles]] entry for {needed}; wanted administrator, officer and witness at least",
                rule="CER-ROLES",
                hint="whoever runs the ceremony never watches over it as well",
            )
    for duty in script.file.roles:
        if duty.may_be_officer and duty.role not in (s.Role.ADMINISTRATOR, s.Role.OPERATOR):
            raise PolicyViolation(
                f"the {duty.role} may not be an officer as well: may_be_officer is for administrator and operator",
                rule="CER-ROLES",
                hint="whoever watches is never one of those who act",
            )
    for number, step in enumerate(script.steps, 1):
        acting = {step.who} | ({step.role} if isinstance(step, s.Consent) else set())
        for role in acting - set(present):
            raise PolicyViolation(
                f"step {number} ({step.action}) is for the {role}, a role that [[roles]] does not have",
                rule="CER-ROLES",
            )


def _check_scope(where: str, step: s.Step, rule: KindRule) -> None:  # noqa: PLR0912  # one case for each refusal
    _check_names(where, step, rule)
    rules_keys.check_scope(where, step, rule)
    match step:
        case s.Sign() if rule.outputs[step.output].token != step.token:
            raise PolicyViolation(
                f"{where} signs {step.output} with {step.token}; wanted {rule.outputs[step.output].token}",
                rule="CER-SCOPE",
            )
        case s.InspectToken() | s.OpenToken() if step.token in rule.fresh():
            raise PolicyViolation(f"{where}: the token {step.token} is a new one; inspect-new-token", rule="CER-SCOPE")
        case s.InspectNewToken() | s.SharePin() if step.token not in (
            rule.fresh() if isinstance(step, s.InspectNewToken) else {*rule.fresh(), *rule.reshared}
        ):
            raise PolicyViolation(f"{where}: the token {step.token} is in use already", rule="CER-SCOPE")
        case s.GenerateKey() if step.token not in rule.new_keys:
            raise PolicyViolation(f"{where}: this kind makes no key on {step.token}", rule="CER-SCOPE")
        case s.GenerateKey() if (step.profile is None) == (step.kind is None):
            raise PolicyViolation(f"{where} wants a profile or a kind, and not both", rule="CER-SCOPE")
        case s.GenerateKey() if (step.profile or step.kind) != rule.new_keys[step.token]:
            raise PolicyViolation(
                f"{where} makes a key by {step.profile or step.kind}; wanted {rule.new_keys[step.token]}",
                rule="CER-SCOPE",
            )
        case s.FindKey() if step.token in rule.new_keys or step.certificate not in rule.inputs:
            raise PolicyViolation(f"{where}: there is no certificate of that key among the inputs", rule="CER-SCOPE")
        case s.Consent() if (step.to == "sign") != (step.output is not None) or (step.to != "sign") != (
            step.token is not None
        ):
            raise PolicyViolation(f"{where} wants a token to use, or an output to sign, and not both", rule="CER-SCOPE")
        case s.Draft() if (rule.outputs[step.output].made == "crl") != (step.valid_days is not None):
            raise PolicyViolation(f"{where}: valid_days belongs to a CRL, and always", rule="CER-SCOPE")
        case s.DecideRevocation() if step.input != rule.decision:
            raise PolicyViolation(f"{where}: {step.input} is no decision of this kind", rule="CER-SCOPE")
        case s.CompareWithOld() if step.input != rule.renews:
            raise PolicyViolation(f"{where}: {step.input} is not what this kind renews", rule="CER-SCOPE")
        case s.LintWithSoftwareKey() if not rule.has_new_key(step.output):
            raise PolicyViolation(f"{where}: the key of {step.output} exists; draft it", rule="CER-SCOPE")
        case s.FindKey() if f"{step.token}.pem" in rule.inputs and step.certificate != f"{step.token}.pem":
            raise PolicyViolation(f"{where}: {step.certificate} is not of the key on {step.token}", rule="CER-SCOPE")
        case s.BuildPath() if step.output not in rule.paths:
            raise PolicyViolation(f"{where}: {step.output} leads from no root to another", rule="CER-SCOPE")
        case s.VerifySecond() if rule.outputs[step.output].token is None:
            raise PolicyViolation(f"{where}: {step.output} carries no signature to verify", rule="CER-SCOPE")
        case s.VerifySecond() if rule.outputs[step.output].made == "answers" and step.tool != "openssl":
            raise PolicyViolation(f"{where}: OCSP answers are verified by openssl", rule="CER-SCOPE")


def _check_names(where: str, step: s.Step, rule: KindRule) -> None:
    token, output = getattr(step, "token", None), getattr(step, "output", None)
    if token is not None and token not in rule.tokens:
        raise PolicyViolation(f"{where} names the token {token!r}; wanted {', '.join(rule.tokens)}", rule="CER-SCOPE")
    if output is not None and output not in rule.outputs:
        raise PolicyViolation(
            f"{where} names the output {output!r}; wanted one of {', '.join(rule.outputs)}", rule="CER-SCOPE"
        )
    for name in (getattr(step, "input", None), getattr(step, "profile", None)):
        if name is not None and name not in rule.inputs:
            raise PolicyViolation(
                f"{where} names the input {name!r}; wanted one of {', '.join(rule.inputs)}", rule="CER-SCOPE"
            )
    if step.action in MADE_BY and output is not None and rule.outputs[output].made != MADE_BY[step.action]:
        raise PolicyViolation(f"{where} makes another kind of file than {output}", rule="CER-SCOPE")


def _needs(step: s.Step, rule: KindRule) -> Iterator[str]:  # noqa: PLR0912, PLR0915  # one case for each action
    yield from rules_keys.needs(step, rule)
    match step:
        case s.VerifyInputs():
            yield "everybody is named"
        case s.DecideRevocation() | s.CompareWithOld():
            yield "everybody is named"
            yield "the inputs are verified"
        case s.CompareSecondChannel() | s.LintWithSoftwareKey() | s.InspectToken() | s.InspectNewToken():
            yield "the inputs are verified"
        case s.SharePin():
            yield f"token {step.token} is inspected"
            yield f"the officers consent to use {step.token}"
        case s.InitialiseToken():
            yield f"the user PIN of {step.token} is shared"
            yield f"the so PIN of {step.token} is shared"
        case s.ProveQuorums() if step.token in rule.fresh():
            yield f"token {step.token} is initialised"
        case s.Consent():
            yield "everybody is named"
            yield "the inputs are verified"
            if step.output:
                yield f"{step.output} is announced"
        case s.OpenToken():
            yield f"token {step.token} is inspected"
            yield f"the officers consent to use {step.token}"
        case s.GenerateKey():
            yield f"token {step.token} is open"
            for name in rule.signed():
                if rule.has_new_key(name):
                    yield f"{name} is linted with a software key"
        case s.FindKey():
            yield f"token {step.token} is open"
        case s.ReadBack():
            yield f"token {step.token} is open"
            yield f"the key on {step.token} is known"
        case s.Draft():
            output = rule.outputs[step.output]
            yield from (f"the key on {token} is read back" for token in (output.token, output.certifies) if token)
            yield from (f"{name} is signed" for name in rule.outputs[step.output].after)
            yield from (f"{name} is compared over the second channel" for name in rule.second_channel)
            if rule.decision:
                yield "the revocation is decided"
            if rule.renews:
                yield "the old certificate is compared"
        case s.Announce():
            yield f"{step.output} is drafted"
        case s.Sign():
            yield f"{step.output} is drafted"
            yield f"{step.output} is announced"
            yield f"the officers consent to sign {step.output}"
            yield f"token {step.token} is open"
        case s.Write():
            yield "the inputs are verified"
            yield from (f"{name} is signed" for name in rule.outputs[step.output].after)
            if rule.outputs[step.output].made == "keys":
                yield from (f"the key on {token} is read back" for token in rule.new_keys)
            if rule.outputs[step.output].made == "token":
                yield from (f"token {token} is proven to open" for token in rule.tokens)
        case s.VerifySecond() | s.BuildPath():
            yield f"{step.output} is signed"
        case s.CloseToken():
            yield f"token {step.token} is open"
        case s.Promote():
            for name, output in rule.outputs.items():
                yield f"{name} is {'verified by a second implementation' if output.token else 'written'}"
            yield from (f"a path is built through {name}" for name in rule.paths)
        case s.Close():
            yield "the outputs are promoted"
        case _:
            return


def _barred_by(step: s.Step, rule: KindRule) -> Iterator[str]:
    yield "the ceremony is closed"
    yield from rules_keys.barred_by(step)
    match step:
        case s.Attendance():
            yield "everybody is named"
        case s.OpenToken():
            yield f"token {step.token} is open"
            if step.token in rule.new_keys:  # it was empty when it was opened the first time, and is no more
                yield f"the key on {step.token} is known"
        case s.CompareWithOld():  # two could say different things of the key
            yield "the old certificate is compared"
        case s.SharePin():
            yield f"the {step.which} PIN of {step.token} is shared"
        case s.InspectNewToken() | s.InitialiseToken():
            yield f"token {step.token} is initialised"
        case s.GenerateKey():
            yield f"the key on {step.token} is known"
        case s.Draft() | s.Sign():
            yield f"{step.output} is signed"
        case s.Write():
            yield f"{step.output} is written"
        case s.Promote():
            yield from (f"token {token} is open" for token in rule.tokens)
            yield "the outputs are promoted"
        case _:
            return


def _gives(step: s.Step) -> Iterator[str]:  # noqa: PLR0912  # one case for each action
    match step:
        case s.Attendance():
            yield "everybody is named"
        case s.VerifyInputs():
            yield "the inputs are verified"
        case s.CompareSecondChannel():
            yield f"{step.input} is compared over the second channel"
        case s.DecideRevocation():
            yield "the revocation is decided"
        case s.CompareWithOld():
            yield "the old certificate is compared"
        case s.LintWithSoftwareKey():
            yield f"{step.output} is linted with a software key"
        case s.InspectToken() | s.InspectNewToken():
            yield f"token {step.token} is inspected"
        case s.SharePin():
            yield f"the {step.which} PIN of {step.token} is shared"
        case s.InitialiseToken():
            yield f"token {step.token} is initialised"
        case s.ProveQuorums():
            yield f"token {step.token} is proven to open"
        case s.Consent() if step.role is s.Role.OFFICER and step.to in ("use-token", "sign"):
            yield (
                f"the officers consent to use {step.token}"
                if step.token
                else (f"the officers consent to sign {step.output}")
            )
        case s.OpenToken():
            yield f"token {step.token} is open"
        case s.GenerateKey() | s.FindKey():
            yield f"the key on {step.token} is known"
        case s.ReadBack():
            yield f"the key on {step.token} is read back"
        case s.Draft():
            yield f"{step.output} is drafted"
        case s.Announce():
            yield f"{step.output} is announced"
        case s.Sign():
            yield f"{step.output} is signed"
        case s.Write():
            yield f"{step.output} is written"
        case s.VerifySecond():
            yield f"{step.output} is verified by a second implementation"
        case s.BuildPath():
            yield f"a path is built through {step.output}"
        case s.Promote():
            yield "the outputs are promoted"
        case s.Close():
            yield "the ceremony is closed"
        case _:
            return


def _ends(step: s.Step) -> Iterator[str]:
    """A closed token has to be inspected and consented to again; what is drafted again, announced and consented to."""
    match step:
        case s.CloseToken():
            yield f"token {step.token} is open"
            yield f"token {step.token} is inspected"
            yield f"the officers consent to use {step.token}"
        case s.Draft():
            yield f"{step.output} is announced"
            yield f"the officers consent to sign {step.output}"
        case _:
            return
