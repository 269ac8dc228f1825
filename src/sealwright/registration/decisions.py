"""Decisions: one word per person, and at quorum the order to the signer; a no goes to the signer's ledger at once.

The quorum counted here only says when to ask; the signer counts again. A request that the signer refused stays
refused, one that it could not answer (stopped, token away) is asked for again by ``upkeep``.
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

from sealwright.errors import Conflict, PolicyViolation, SealwrightError
from sealwright.registration.projection import catch_up
from sealwright.registration.registry import Registry, load_document
from sealwright.registration.requests import RequestRecord, find_request, signed_request, verify
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.checks import check_statement
from sealwright.statements.kinds import DecisionStatement
from sealwright.statements.orders import IssuanceOrder, VerifiedRequest, check_blackout, verify_decision
from sealwright.statements.quorum import Signer, missing_approvals
from sealwright.statements.requests import signer_of
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.store.models import DecisionRow, RequestState

log = logging.getLogger("sealwright.registry")

APPROVE, DENY = "approve", "deny"

PASSING = frozenset({"ORDER-USED", "CLOCK-BACK", "CLOCK-AHEAD", "ROSTER-EXPIRED", "ROSTER-PIN"})
"""Refusals that pass without the people: a clock, a roster or a file that is put right. ORDER-USED: it was issued, and
the answer was lost or another registry has it; the ledger says with what."""


def decide(registry: Registry, signed: SignedStatement) -> RequestRecord:
    """Take in a decision. At quorum the request is issued, or refused by the signer, before this returns.

    A no is in the ledger when this returns, and only then the request is denied; while the signer is away it waits.
    """
    catch_up(registry)
    now, roster = registry.clock(), registry.roster_in_force()
    policy = registry.policy(roster)
    decision = check_statement(signed, DecisionStatement, pki_id=registry.installed.anchor.pki_id, now=now)
    record = find_request(registry, decision.request_sha256)
    _check_open(record, record.state(now))
    request = verify(registry, signed_request(record.row), roster, policy, now)
    verified = verify_decision(signed, roster=roster, request=request, now=now)
    if verified.approves:
        check_blackout(request, now)  # an approval would be spent on a refusal
    row = DecisionRow(
        sha256=signed.sha256,
        request_sha256=request.sha256,
        person=decision.person,
        key_identity=verified.key.identity,
        verdict=decision.verdict,
        comment=decision.comment,
        document=signed.to_bytes().decode(),
        received_at=now,
    )
    with registry.database.writing() as tx:
        current = tx.request(request.sha256)
        _check_open(record, current.state)
        if tx.find_decision(row.sha256) is not None:
            raise Conflict("this decision was received already", hint="a decision counts once")
        for earlier in tx.decisions(request.sha256):
            if _is_dead(earlier, roster, now):
                tx.delete(earlier)  # it counts no more, and its person may speak again
            elif earlier.person == row.person or earlier.key_identity == row.key_identity:
                raise Conflict(
                    f"{earlier.person} has already said {earlier.verdict!r} to this request with this name or key",
                    hint="the next approval has to be another person's",
                )
        tx.add(row)
        approvals = _approvals(tx.decisions(request.sha256), request, roster)
        if row.verdict == DENY:
            current.state = RequestState.DENYING
        elif not missing_approvals(approvals, request.approval):
            current.state = RequestState.APPROVED
    log.info("request %s: %s says %s", record.row.id, row.person, row.verdict)
    if current.state == RequestState.APPROVED:
        send_order(registry, request.sha256)
    elif current.state == RequestState.DENYING:
        error = send_denial(registry, request.sha256)
        if isinstance(error, PolicyViolation) and error.rule not in PASSING:
            raise error
    return find_request(registry, request.sha256)


def missing_for(registry: Registry, record: RequestRecord) -> tuple[str, ...]:
    """In words, which approvals an open request still waits for. The signer counts again."""
    now = registry.clock()
    if record.state(now) != RequestState.OPEN:
        return ()
    try:
        roster = registry.roster_in_force()
        request = verify(registry, signed_request(record.row), roster, registry.policy(roster), now)
    except SealwrightError as error:
        return (str(error),)
    rows = [row for row in record.decisions if not _is_dead(row, roster, now)]
    return missing_approvals(_approvals(rows, request, roster), request.approval)


def _approvals(rows: Sequence[DecisionRow], request: VerifiedRequest, roster: VerifiedRoster) -> tuple[Signer, ...]:
    """Who said yes, as the roster knows them now."""
    people = (roster.people.get(row.person) for row in rows if row.verdict == APPROVE)
    return tuple(signer_of(each, each.keys[0]) for each in people if each is not None and each != request.requester)


def send_order(registry: Registry, request_sha256: str) -> SealwrightError | None:
    """Ask the signer to issue. What it answers is in the request's row afterwards, and returned when it is an error."""
    return _alone(registry, request_sha256, _send_order)


def send_denial(registry: Registry, request_sha256: str) -> SealwrightError | None:
    """Have the signer record a no. What it answers is in the request's row afterwards, as with ``send_order``."""
    return _alone(registry, request_sha256, _send_denial)


def _alone(
    registry: Registry, request_sha256: str, send: Callable[[Registry, str], SealwrightError | None]
) -> SealwrightError | None:
    """Nothing, while another thread has this request with the signer."""
    with registry.lock:
        if request_sha256 in registry.sending:
            return None
        registry.sending.add(request_sha256)
    try:
        return send(registry, request_sha256)
    finally:
        registry.sending.discard(request_sha256)


def _send_denial(registry: Registry, request_sha256: str) -> SealwrightError | None:
    record = find_request(registry, request_sha256)
    said = next((decision for decision in record.decisions if decision.verdict == DENY), None)
    if said is None or record.row.state != RequestState.DENYING:  # another was faster
        return None
    request, decision = signed_request(record.row), load_document(said.document)
    try:
        registry.signer.call("deny", request=request.to_wire(), decision=decision.to_wire())
    except PolicyViolation as error:
        catch_up(registry)
        if error.rule in PASSING:
            _note(registry, request_sha256, RequestState.DENYING, error)
        else:
            log.warning("the signer refused a denial of %s: %s", request_sha256, error.message)
            _forget_denial(registry, request_sha256, said.sha256)
        return error
    except SealwrightError as error:
        log.warning("the signer did not answer a denial of %s: %s", request_sha256, error.message)
        _note(registry, request_sha256, RequestState.DENYING, error)
        return error
    catch_up(registry)
    return None


def _forget_denial(registry: Registry, request_sha256: str, decision_sha256: str) -> None:
    """It does not count: its person may speak again, and so may others."""
    with registry.database.writing() as tx:
        row, decision = tx.request(request_sha256), tx.find_decision(decision_sha256)
        if row.state != RequestState.DENYING:  # the ledger has spoken
            return
        row.state, row.reason, row.rule = RequestState.OPEN, None, None
        if decision is not None:
            tx.delete(decision)


def _send_order(registry: Registry, request_sha256: str) -> SealwrightError | None:
    record, roster, now = find_request(registry, request_sha256), registry.last_roster(), registry.clock()
    order = IssuanceOrder(
        request=signed_request(record.row),
        decisions=tuple(
            load_document(decision.document)
            for decision in record.decisions
            if decision.verdict == APPROVE and not _is_dead(decision, roster, now)
        ),
    )
    try:
        answer = registry.signer.call("issue", order=order.model_dump(mode="json"))
    except PolicyViolation as error:
        catch_up(registry)
        state = RequestState.APPROVED if error.rule in PASSING else RequestState.REFUSED
        _note(registry, request_sha256, state, error)
        return error
    except SealwrightError as error:
        log.warning("the signer did not answer order %s: %s", request_sha256, error.message)
        _note(registry, request_sha256, RequestState.APPROVED, error)
        return error
    catch_up(registry)  # first: it brings back a request that a promoted standby lost
    keep_receipt(registry, request_sha256, answer["receipt"])
    return None


def keep_receipt(registry: Registry, request_sha256: str, receipt: object) -> None:
    """Store the signer's receipt beside its request."""
    with registry.database.writing() as tx:
        tx.request(request_sha256).receipt = canonical_bytes(receipt).decode()


def _note(registry: Registry, request_sha256: str, state: RequestState, error: SealwrightError) -> None:
    with registry.database.writing() as tx:
        row = tx.request(request_sha256)
        if row.state in (RequestState.ISSUED, RequestState.DENIED):  # the ledger has spoken
            return
        row.state = state
        row.reason = error.message
        row.rule = error.rule if isinstance(error, PolicyViolation) else None


def _is_dead(row: DecisionRow, roster: VerifiedRoster, now: datetime) -> bool:
    """It is over, or its person was suspended after it was signed."""
    decision = load_document(row.document).content
    suspension = roster.suspensions.get(decision.person)
    return decision.expires_at <= now or (suspension is not None and suspension.covers(decision.issued_at))


def _check_open(record: RequestRecord, state: str) -> None:
    if state != RequestState.OPEN:
        raise Conflict(
            f"request {record.row.id} is {state} and takes no more decisions",
            hint=f"`sealwright show {record.row.id}` says who decided it",
        )
