"""What stands before every route: a bound on the body, headers on every answer, and no answer without a shape."""

import asyncio
import logging
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealwright.api.problems import problem
from sealwright.errors import InputError

log = logging.getLogger("sealwright.registry")

BODY_LIMIT = 64 * 1024
ROSTER_LIMIT = 128 * 1024
"""A roster may carry 64 KiB of its own, and many signatures."""
BODY_SECONDS: Final = 20.0
"""The server bounds the time for headers, and lets a body take for ever."""

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


class Guard:
    """ASGI middleware, the outermost one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        limit = limit_of(scope["path"])
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and (len(declared) > 12 or int(declared) > limit):
            await _too_large(limit)(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            answer = problem(
                500, f"the registry could not finish this ({type(error).__name__})", hint="its log has the details"
            )
            await answer(scope, receive, send_with_headers)


def limit_of(path: str) -> int:
    return ROSTER_LIMIT if path == "/v1/roster" else BODY_LIMIT


def _too_large(limit: int) -> ASGIApp:
    return problem(
        413,
        f"the body is longer than {limit} octets",
        kind=InputError.__name__,
        hint="no statement is that long",
        headers={"Connection": "close"},  # the rest of the body is not read
    )


def _too_slow() -> ASGIApp:
    return problem(
        408,
        f"the body did not come within {BODY_SECONDS:.0f} s",
        kind=InputError.__name__,
        hint="send it again",
        headers={"Connection": "close"},
    )


class BodyRefusedError(Exception):
    """Raised while reading a body that is too long (and did not declare its length) or too slow. Has its answer."""

    def __init__(self, answer: ASGIApp) -> None:
        super().__init__()
        self.answer = answer


async def read_body(request: Request) -> bytes:
    """The body, never more of it in memory than its limit. Raises ``InputError`` for one that is not JSON by name."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InputError(
            f"content type is {media_type[:64]!r}; wanted application/json", hint="send the statement as a JSON file"
        )
    limit, body = limit_of(request.url.path), bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise BodyRefusedError(_too_large(limit))
    except TimeoutError:
        raise BodyRefusedError(_too_slow()) from None
    return bytes(body)
