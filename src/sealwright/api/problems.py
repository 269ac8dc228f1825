"""Errors as RFC 9457 problem documents: one shape for everything that goes wrong, and never a trace."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse, Response

from sealwright.errors import PolicyViolation, SealwrightError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sealwright:error:"
"""Followed by the name of a class in ``errors``: the client raises that class again."""


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def problem_of(error: SealwrightError) -> Response:
    """An error of ours. Rule and hint are extension members (RFC 9457 3.2)."""
    rule = error.rule if isinstance(error, PolicyViolation) else ""
    headers = {"WWW-Authenticate": "Bearer"} if error.http_status == HTTPStatus.UNAUTHORIZED else None
    return problem(
        error.http_status, error.message, kind=type(error).__name__, rule=rule, hint=error.hint, headers=headers
    )


def problem(
    status: int,
    detail: str,
    *,
    kind: str = "",
    rule: str = "",
    hint: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    content: dict[str, Any] = {
        "type": f"{TYPE_PREFIX}{kind}" if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    content |= {name: value for name, value in (("rule", rule), ("hint", hint)) if value}
    return ProblemResponse(content, status_code=status, headers=headers)
