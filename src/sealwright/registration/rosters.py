"""Rosters: signatures of one statement are gathered until the officers' quorum, then the signer puts it in force.
Anybody may send one; only what an officer signed who is in force now is kept. Suspensions, which are one officer's
word, go straight to the signer.
"""

import logging
from dataclasses import dataclass
from typing import Any

from sealwright.errors import InputError, NotReady, PolicyViolation
from sealwright.registration.projection import catch_up
from sealwright.registration.registry import Registry, load_document
from sealwright.registration.revocations import check_person
from sealwright.statements.checks import check_statement, parse_armored
from sealwright.statements.kinds import RosterStatement, SuspendStatement
from sealwright.statements.people import Officer
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import format_time
from sealwright.store.models import RosterRow

log = logging.getLogger("sealwright.registry")

PROPOSAL_LIMIT = 16


@dataclass(frozen=True, slots=True)
class RosterStanding:
    """``in_force`` or not; ``waiting`` says what is missing when it is not."""

    version: int
    sha256: str
    signatures: int
    in_force: bool
    waiting: str = ""


def publish_roster(registry: Registry, signed: SignedStatement) -> RosterStanding:
    """Add these signatures to those gathered of the same statement; at quorum the signer is asked."""
    catch_up(registry)
    now = registry.clock()
    roster = check_statement(signed, RosterStatement, pki_id=registry.installed.anchor.pki_id, now=now)
    previous = _last(registry)
    gathered = _gather(registry, signed)
    try:
        check_roster(gathered, anchor=registry.installed.anchor, previous=previous, now=now)
    except PolicyViolation as error:
        officers = previous.officers if previous else registry.installed.anchor.people
        if error.rule != "ROSTER-QUORUM" or not _is_by_one_of(officers, gathered):
            raise
        _keep(registry, gathered, roster.version)
        return RosterStanding(roster.version, signed.sha256, len(gathered.signatures), False, error.message)
    registry.signer.call("publish-roster", roster=gathered.model_dump(mode="json"))
    log.info("roster %d is in force", roster.version)
    catch_up(registry)
    return RosterStanding(roster.version, signed.sha256, len(gathered.signatures), True)


def submit_suspension(registry: Registry, signed: SignedStatement) -> dict[str, Any]:
    """The signer's answer: who is suspended now. The registry adds nothing, and holds back only what nobody signed."""
    check_person(registry, signed, SuspendStatement)
    answer = registry.signer.call("suspend", suspension=signed.model_dump(mode="json"))
    log.info("%s is suspended by %s", signed.statement.get("suspended"), signed.statement.get("person"))
    catch_up(registry)
    return {"suspended": answer["suspended"], "roster": answer["version"]}


def suspensions(registry: Registry) -> tuple[dict[str, Any], ...]:
    """Every suspension, the oldest first, with the roster that was in force: what a client verifies."""
    with registry.database.reading() as tx:
        rosters, rows = tx.rosters(), tx.suspensions()
    return tuple(
        {
            "roster": sum((roster.entry_index or 0) < row.entry_index for roster in rosters),
            "at": format_time(row.at),
            "suspension": load_document(row.document).to_wire(),
        }
        for row in rows
    )


def roster_chain(registry: Registry) -> tuple[SignedStatement, ...]:
    """Every roster that was in force, the oldest first: what a client verifies."""
    with registry.database.reading() as tx:
        return tuple(load_document(row.document) for row in tx.rosters())


def proposals(registry: Registry) -> tuple[SignedStatement, ...]:
    """Rosters that wait for signatures."""
    with registry.database.reading() as tx:
        return tuple(signed for row in tx.proposed_rosters() if (signed := _read(row)) is not None)


def _last(registry: Registry) -> VerifiedRoster | None:
    try:
        return registry.last_roster()
    except NotReady:
        return None


def _is_by_one_of(officers: tuple[Officer, ...], checked: SignedStatement) -> bool:
    """The signatures of ``checked`` are good, each by an officer: perhaps only by one that it names itself."""
    signers = {parse_armored(each, "roster").key.identity for each in checked.signatures}
    return any(officer.key.identity in signers for officer in officers)


def _gather(registry: Registry, signed: SignedStatement) -> SignedStatement:
    with registry.database.reading() as tx:
        return _merge(tx.find_roster(signed.sha256), signed)


def _merge(row: RosterRow | None, signed: SignedStatement) -> SignedStatement:
    """These signatures and those that were kept: of each key one, the newest. ECDSA signs anew each time."""
    kept = _read(row) if row else None
    every = (*(kept.signatures if kept else ()), *signed.signatures)
    newest = {parse_armored(each, "roster").key.identity: each for each in every}
    return SignedStatement.parse({"statement": signed.statement, "signatures": tuple(newest.values())})


def _read(row: RosterRow) -> SignedStatement | None:
    """None for what cannot be read: one such row must not hide the others."""
    try:
        return load_document(row.document)
    except InputError as error:
        log.warning("roster %s cannot be read: %s", row.sha256, error.message)
        return None


def _keep(registry: Registry, gathered: SignedStatement, version: int) -> None:
    with registry.database.writing() as tx:
        row = tx.find_roster(gathered.sha256)
        if row is not None:
            if row.entry_index is None:  # else another was faster, and it is as the ledger has it
                row.document = _merge(row, gathered).to_bytes().decode()
            return
        for stale in [other for other in tx.proposed_rosters() if other.version < version][:PROPOSAL_LIMIT]:
            tx.delete(stale)
        if len(tx.proposed_rosters()) >= PROPOSAL_LIMIT:
            raise NotReady(f"{PROPOSAL_LIMIT} rosters already wait for signatures", hint="sign one of those")
        tx.add(
            RosterRow(
                sha256=gathered.sha256,
                version=version,
                document=gathered.to_bytes().decode(),
                received_at=registry.clock(),
            )
        )
