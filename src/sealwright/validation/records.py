"""From a row of the publication database to a record of the snapshot, and whether it may follow the one before it."""

from sealwright.store.publication import REVOKED, AnswerRow, PublishedAnswer, PublishedObject
from sealwright.validation.snapshot import Record, make_record


def answer_record(row: PublishedAnswer | AnswerRow) -> Record:
    """Of an answer that was checked."""
    return make_record(
        content_type="application/ocsp-response",
        body=row.der,
        this_update=row.this_update,
        next_update=row.next_update,
        fresh_until=row.refresh_at,
        revoked=row.status == REVOKED,
    )


def object_record(row: PublishedObject) -> Record:
    """Of a CRL or certificate that was checked."""
    return make_record(
        content_type=row.content_type,
        body=row.body,
        this_update=row.this_update,
        next_update=row.next_update,
        fresh_until=row.refresh_at,
    )


def step_back(before: Record | None, record: Record) -> str:
    """Why ``record`` may not stand where ``before`` does; empty when it may."""
    if before is None:
        return ""
    if record.this_update < before.this_update:
        return "it is older than the one that is served"
    if before.revoked and not record.revoked:
        return "it says good of a revoked certificate"
    return ""
