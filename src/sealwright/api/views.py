"""Rows as JSON. Documents that people signed go out as they came in; the rest is this registry's word."""

import json
from datetime import datetime
from typing import Any

from sealwright.registration.requests import RequestRecord
from sealwright.statements.wire import encode_base64, format_time
from sealwright.store.models import CertificateRow, RevocationRow


def request_view(record: RequestRecord, now: datetime) -> dict[str, Any]:
    row = record.row
    return {
        "id": row.id,
        "sha256": row.sha256,
        "state": record.state(now),
        "person": row.person,
        "team": row.team,
        "project": row.project,
        "profile": row.profile,
        "key_location": row.key_location,
        "renews": row.renews,
        "issued_at": format_time(row.issued_at),
        "expires_at": format_time(row.expires_at),
        "received_at": format_time(row.received_at),
        "rule": row.rule,
        "reason": row.reason,
        "serial": row.serial,
        "decisions": [
            {
                "person": decision.person,
                "verdict": decision.verdict,
                "comment": decision.comment,
                "received_at": format_time(decision.received_at),
            }
            for decision in record.decisions
        ],
    }


def request_detail(
    record: RequestRecord, now: datetime, held: tuple[dict[str, Any], ...], missing: tuple[str, ...]
) -> dict[str, Any]:
    """With the signed documents, the approvals that are missing, and what the team holds already."""
    return {
        **request_view(record, now),
        "request": json.loads(record.row.document),
        "signed_decisions": [json.loads(decision.document) for decision in record.decisions],
        "missing": list(missing),
        "team_certificates": list(held),
    }


def certificate_view(row: CertificateRow, revocation: RevocationRow | None, now: datetime) -> dict[str, Any]:
    return {
        "serial": row.serial,
        "state": _state(row, revocation, now),
        "person": row.person,
        "team": row.team,
        "project": row.project,
        "profile": row.profile,
        "subject": row.subject,
        "spki_sha256": row.spki_sha256,
        "not_before": format_time(row.not_before) if row.not_before else None,
        "not_after": format_time(row.not_after) if row.not_after else None,
        "request_sha256": row.request_sha256,
        "renews": row.renews,
        "intent_index": row.intent_index,
        "entry_index": row.entry_index,
        "revocation": None
        if revocation is None
        else {
            "at": format_time(revocation.at),
            "revocation_date": format_time(revocation.revocation_date),
            "reason": revocation.reason,
            "person": revocation.person,
        },
    }


def certificate_detail(row: CertificateRow, revocation: RevocationRow | None, now: datetime) -> dict[str, Any]:
    """With the certificate itself, DER in base64, and who approved it."""
    decisions = json.loads(row.order_document or "{}").get("decisions", ())
    return {
        **certificate_view(row, revocation, now),
        "approvers": [decision["statement"]["person"] for decision in decisions],
        "certificate": encode_base64(row.certificate or b""),
    }


def _state(row: CertificateRow, revocation: RevocationRow | None, now: datetime) -> str:
    if revocation is not None:
        return "revoked"
    return "expired" if row.not_after is not None and row.not_after <= now else "valid"
