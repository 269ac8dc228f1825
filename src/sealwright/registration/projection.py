"""The projection: what the signer's ledger says, in tables. The ledger decides, the database follows.

Entries are read through the signer's socket in their order, each once. Before they count, the checkpoint over them is
checked: signed with the ledger key that the roster names, and its root the root of the entries that were read.
``rebuild`` forgets it all and reads the ledger again from its first entry.
"""

import base64
import contextlib
import json
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from sealwright.errors import IntegrityError, SealwrightError, Unavailable
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import (
    CertificateEntry,
    CorrectionRecord,
    DenialEntry,
    IntentEntry,
    RevocationRecord,
    RosterEntry,
    SuspensionEntry,
    parse_entry,
)
from sealwright.ledger.tree import leaf_hash
from sealwright.pki.crl import RevocationReason
from sealwright.pki.keys import spki_sha256
from sealwright.pki.requests import parse_csr
from sealwright.registration.registry import Registry
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.kinds import DecisionStatement, RequestStatement, RosterStatement
from sealwright.statements.orders import IssuanceOrder
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import decode_base64
from sealwright.store.models import (
    CertificateRow,
    LeafRow,
    RequestRow,
    RequestState,
    RevocationRow,
    RosterRow,
    SuspensionRow,
)
from sealwright.store.registry import RegistryTransaction

BATCH = 1000
"""Entries asked for at a time; the signer gives as many of them as fit one message."""


def project_ledger(registry: Registry) -> int:
    """Follow the ledger to its end and return its size.

    Raises ``Unavailable`` when the signer does not answer and ``IntegrityError`` when its entries are not the ledger
    that was read before.
    """
    with registry.lock:
        while True:
            with registry.database.reading() as tx:
                start, seen = tx.projection_size(), tx.checkpoint()
            answer = registry.signer.call("entries", start=start, count=BATCH)
            entries = [base64.b64decode(text) for text in answer["entries"]]
            size, checkpoint = int(answer["size"]), str(answer["checkpoint"])
            if size < start or (size == start and seen not in ("", checkpoint)):
                _bear_witness(registry, seen)
                raise IntegrityError(
                    f"the ledger has {size} entries, and {start} were read before, or others than these",
                    hint="was an old copy restored? `sealwright audit export`, then `sealwrightd recover`",
                )
            if entries:
                try:
                    _apply(registry, start, entries, size, checkpoint)
                except IntegrityError:
                    _bear_witness(registry, seen)
                    raise
            if start + len(entries) >= size:
                return size


def _bear_witness(registry: Registry, checkpoint: str) -> None:
    """Show the signer the checkpoint that its ledger does not continue: from then on it signs nothing."""
    with contextlib.suppress(SealwrightError):
        registry.signer.call("witness", checkpoint=checkpoint)


def catch_up(registry: Registry) -> None:
    """Follow the ledger where the signer answers. While it is away, people are served from what was read before."""
    with contextlib.suppress(Unavailable):
        project_ledger(registry)


def rebuild(registry: Registry) -> int:
    """Forget the projection and make it again. Not while it has entries that the signer lost: it is their copy."""
    with registry.lock:
        _check_continued(registry)
        with registry.database.writing() as tx:
            tx.clear_projection()
        registry.tree.truncate(0)
    return project_ledger(registry)


def _check_continued(registry: Registry) -> None:
    """That the signer's ledger goes on from what was read here, or that officers declared the difference lost.

    Its size alone does not say so: a signer that goes on from a restored backup soon has as many entries, and others.
    """
    with registry.database.reading() as tx:
        seen, read = tx.checkpoint(), tx.projection_size()
    if not _is_signed(registry, seen):
        size = int(registry.signer.call("entries", start=0, count=0)["size"])
        if size < read:
            raise _the_copy(f"the signer's ledger has {size} entries, and {read} were read")
        return
    try:
        registry.signer.call("witness", checkpoint=seen)
    except IntegrityError as error:
        raise _the_copy(error.message) from None


def _the_copy(problem: str) -> IntegrityError:
    return IntegrityError(
        f"{problem}; this database has them: it is the copy",
        hint="keep it: `sealwright audit export`, then `sealwrightd recover` on the signer",
    )


def _is_signed(registry: Registry, checkpoint: str) -> bool:
    """A checkpoint that the ledger key did not sign says nothing: it is the database that is wrong."""
    try:
        verify_checkpoint(checkpoint, registry.installed.anchor.ledger_origin, registry.installed.ledger_key)
    except SealwrightError:
        return False
    return True


def _apply(registry: Registry, start: int, entries: Sequence[bytes], size: int, checkpoint: str) -> None:
    try:
        with registry.database.writing() as tx:
            state = tx.projection()
            if state.next_index != start:  # another registry on this database was faster
                return
            load_tree(registry, tx, start)
            for index, data in enumerate(entries, start):
                registry.tree.append(leaf_hash(data))
                apply_entry(tx, index, data)
            state.next_index = start + len(entries)
            if state.next_index == size:
                _check(registry, tx, size, checkpoint)
                state.checkpoint = checkpoint
    except BaseException:
        registry.tree.truncate(start)
        raise


def load_tree(registry: Registry, tx: RegistryTransaction, size: int) -> None:
    """Bring the tree to the first ``size`` entries, from the hashes that were kept."""
    registry.tree.truncate(size)
    for leaf in tx.leaf_hashes(registry.tree.size, size):
        registry.tree.append(leaf)


def apply_entry(tx: RegistryTransaction, index: int, data: bytes) -> None:
    """One entry into the tables. Kinds that no table shows are only kept as they are."""
    tx.add(LeafRow(entry_index=index, leaf_hash=leaf_hash(data), entry=data))
    match parse_entry(data):
        case RosterEntry() as entry:
            _apply_roster(tx, index, entry)
        case SuspensionEntry() as entry:
            _apply_suspension(tx, index, entry)
        case IntentEntry() as entry:
            _apply_intent(tx, index, entry)
        case CertificateEntry() as entry:
            _apply_certificate(tx, index, entry)
        case DenialEntry() as entry:
            _apply_denial(tx, index, entry)
        case RevocationRecord() as entry:
            _apply_revocation(tx, index, entry)
        case CorrectionRecord() as entry:
            _apply_correction(tx, index, entry)


def _apply_roster(tx: RegistryTransaction, index: int, entry: RosterEntry) -> None:
    statement = entry.roster.content
    if not isinstance(statement, RosterStatement):
        raise IntegrityError(f"ledger entry {index} holds a {statement.kind} as a roster")
    row = tx.find_roster(entry.roster.sha256)
    if row is None:
        row = RosterRow(sha256=entry.roster.sha256, version=statement.version, document="", received_at=entry.at)
        tx.add(row)
    row.document = entry.roster.to_bytes().decode()
    row.entry_index, row.at = index, entry.at
    for stale in tx.proposed_rosters():
        if stale.version <= statement.version:
            tx.delete(stale)


def _apply_suspension(tx: RegistryTransaction, index: int, entry: SuspensionEntry) -> None:
    signed = entry.suspension
    person, document = str(signed.statement.get("suspended")), signed.to_bytes().decode()
    tx.add(SuspensionRow(entry_index=index, sha256=signed.sha256, person=person, document=document, at=entry.at))


def _apply_intent(tx: RegistryTransaction, index: int, entry: IntentEntry) -> None:
    row = CertificateRow(serial=entry.serial, intent_index=index, profile=entry.profile)
    if entry.order is not None:
        request = request_of(entry.order.request)
        row.request_sha256 = entry.order.request.sha256
        row.person, row.team, row.project = request.person, request.team, request.project
        row.renews = request.renews
        row.order_document = canonical_bytes(entry.order.model_dump(mode="json")).decode()
    tx.add(row)


def _apply_certificate(tx: RegistryTransaction, index: int, entry: CertificateEntry) -> None:
    row = tx.certificate_of_intent(entry.intent)
    if row is None or row.serial != entry.serial:
        raise IntegrityError(f"ledger entry {index}: certificate {entry.serial} has no intent at {entry.intent}")
    certificate = x509.load_der_x509_certificate(entry.certificate_der)
    row.entry_index = index
    row.certificate = entry.certificate_der
    row.subject = certificate.subject.rfc4514_string()
    row.spki_sha256 = spki_sha256(certificate.public_key())  # type: ignore[arg-type]  # the signer let only our kinds in
    row.not_before, row.not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if row.request_sha256 is None:
        return
    request = tx.find_request(row.request_sha256)
    if request is None:
        order = IssuanceOrder.parse(json.loads(row.order_document or "{}"))
        request = _restore_request(tx, order.request, entry.at)
    request.state, request.serial, request.rule, request.reason = RequestState.ISSUED, row.serial, None, None


def _apply_denial(tx: RegistryTransaction, index: int, entry: DenialEntry) -> None:
    decision = entry.decision.content
    if not isinstance(decision, DecisionStatement):
        raise IntegrityError(f"ledger entry {index} holds a {decision.kind} as a denial")
    row = tx.find_request(entry.request.sha256) or _restore_request(tx, entry.request, entry.at)
    said = f"{'withdrawn' if decision.person == row.person else 'denied'} by {decision.person}"
    row.state, row.rule = RequestState.DENIED, None
    row.reason = f"{said}: {decision.comment}" if decision.comment else said


def _restore_request(tx: RegistryTransaction, signed: SignedStatement, at: datetime) -> RequestRow:
    """A request that this database never saw, or lost: the ledger has all of it."""
    request = request_of(signed)
    restored = RequestRow(
        sha256=signed.sha256,
        id=request.id,
        person=request.person,
        team=request.team,
        project=request.project,
        profile=request.profile,
        key_location=request.key_location,
        spki_sha256=spki_sha256(parse_csr(decode_base64(request.csr)).public_key),
        renews=request.renews,
        document=signed.to_bytes().decode(),
        issued_at=request.issued_at,
        expires_at=request.expires_at,
        received_at=at,
    )
    tx.add(restored)
    return restored


def request_of(signed: SignedStatement) -> RequestStatement:
    """A request that the ledger holds."""
    request = signed.content
    if not isinstance(request, RequestStatement):
        raise IntegrityError(f"the ledger holds a {request.kind} as a request")
    return request


def _apply_revocation(tx: RegistryTransaction, index: int, entry: RevocationRecord) -> None:
    tx.add(
        *(
            RevocationRow(
                serial=serial,
                entry_index=index,
                at=entry.at,
                revocation_date=entry.revocation_date,
                reason=entry.reason,
                cause=entry.cause,
                person=entry.order.person if entry.order else None,
                key_blocked=entry.reason is RevocationReason.KEY_COMPROMISE,
            )
            for serial in entry.serials
        )
    )
    if entry.blocked_key is not None:  # also where everything that was certified for it was revoked before
        for row in tx.revocations_of_key(entry.blocked_key):
            row.key_blocked = True


def _apply_correction(tx: RegistryTransaction, index: int, entry: CorrectionRecord) -> None:
    for serial in entry.serials:
        row = tx.revocation(serial)
        if row is None:
            raise IntegrityError(f"ledger entry {index}: a correction of {serial}, which is not revoked")
        row.entry_index, row.person = index, entry.order.person
        row.revocation_date, row.reason = entry.revocation_date, entry.reason
        row.key_blocked = row.key_blocked or entry.reason is RevocationReason.KEY_COMPROMISE


def _check(registry: Registry, tx: RegistryTransaction, size: int, checkpoint: str) -> None:
    """The checkpoint is the ledger key's, and over exactly these entries. Before the first roster no key is known."""
    rosters = registry.verified_rosters(tx)
    if not rosters:
        return
    got = verify_checkpoint(checkpoint, registry.installed.anchor.ledger_origin, rosters[-1].ledger_key)
    if got != (size, registry.tree.root(size)):
        raise IntegrityError(
            "the ledger's checkpoint is not over the entries that were read",
            hint="the signer's ledger and this database disagree: look at both before anything else. Where officers"
            " declared the difference lost: `sealwrightd rebuild`",
        )
