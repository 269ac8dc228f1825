"""What stands before every route, against a client that says half of what it announced."""

import asyncio
import threading

import pytest
from starlette.requests import Request
from starlette.types import Message

from sealwright.api import guard, routes


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.05)

    async def nothing_more() -> Message:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    headers = [(b"content-type", b"application/json")]
    request = Request({"type": "http", "method": "POST", "path": "/v1/requests", "headers": headers}, nothing_more)
    with pytest.raises(guard.BodyRefusedError) as refused:
        asyncio.run(guard.read_body(request))
    assert refused.value.answer.status_code == 408  # type: ignore[attr-defined]  # a Response is one


@pytest.mark.parametrize(("read", "parse"), [("get_statement", "parse_signed"), ("get_order", "parse_order")])
def test_a_foreign_body_is_parsed_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch, read: str, parse: str) -> None:
    async def body() -> Message:
        return {"type": "http.request", "body": b"{}"}

    headers = [(b"content-type", b"application/json")]
    request = Request({"type": "http", "method": "POST", "path": "/v1/requests", "headers": headers}, body)
    monkeypatch.setattr(routes, parse, lambda data: (data, threading.get_ident()))
    data, thread = asyncio.run(getattr(routes, read)(request))
    assert data == b"{}"
    assert thread != threading.get_ident()
