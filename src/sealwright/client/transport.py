"""HTTP to the registry: problem documents become the errors they were, and reads log in by themselves.

What comes back is JSON that nobody vouches for yet; ``trust`` and the modules beside it verify it.
"""

import json
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import httpx

from sealwright import __version__, errors
from sealwright.client.config import check_server
from sealwright.errors import AccessDenied, InputError, SealwrightError, Unavailable
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement

ANSWER_LIMIT = 16 * 1024 * 1024
_TYPE_PREFIX = "urn:sealwright:error:"

Login = Callable[[str, str], SignedStatement]
"""Answers a challenge: ``(server, challenge)`` to a signed login statement."""


def utc_now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


class RegistryClient:
    """A connection to one registry. A context manager."""

    def __init__(
        self, server: str, *, tls_ca: str | None = None, login: Login | None = None, timeout: float = 60.0
    ) -> None:
        self.server = check_server(server)
        self._login, self._token = login, ""
        self._http = httpx.Client(
            base_url=self.server,
            timeout=httpx.Timeout(timeout, connect=10.0),
            verify=_tls(tls_ca) if self.server.startswith("https:") else False,
            trust_env=not self.server.startswith("http:"),  # no proxy between this machine and itself
            follow_redirects=False,
            headers={"User-Agent": f"sealwright/{__version__}", "Accept": "application/json"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _k: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None) -> None:
        self._http.close()

    def get_public(self, path: str) -> dict[str, Any]:
        """A read that needs no login."""
        return self._send("GET", path)

    def get_octets(self, path: str, *, limit: int = ANSWER_LIMIT) -> bytes:
        """A public read of something that is not JSON."""
        try:
            with self._http.stream("GET", path, headers={"Accept": "*/*"}) as answer:
                data = _read(answer, limit)
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error
        if answer.is_success:
            return data
        raise error_of(answer.status_code, _parse(data, answer))

    def get(self, path: str, **query: str | int | None) -> dict[str, Any]:
        """A read; logs in first when there is no login, or when it is over."""
        for last in (False, True):
            if not self._token:
                self._log_in()
            try:
                return self._send("GET", path, query=query, token=self._token)
            except AccessDenied:
                self._token = ""
                if last:
                    raise
        raise AssertionError

    def post(self, path: str, document: SignedStatement | RevocationOrder) -> dict[str, Any]:
        """A write: the statement proves itself."""
        return self._send("POST", path, body=document.to_bytes())

    def _log_in(self) -> None:
        if self._login is None:
            raise AccessDenied("this read needs a login", hint="run `sealwright init` first")
        given = self._send("POST", "/v1/login/challenge")
        # The server that is configured, not the one that the answer names: a login is never passed on.
        signed = self._login(self.server, _text(given, "challenge"))
        self._token = _text(self.post("/v1/login", signed), "token")

    def _send(
        self, method: str, path: str, *, query: dict[str, Any] | None = None, body: bytes = b"", token: str = ""
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if body:
            headers["Content-Type"] = "application/json"
        asked = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            with self._http.stream(method, path, params=asked, content=body, headers=headers) as answer:
                data = _read(answer)
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error
        value = _parse(data, answer)
        if answer.is_success:
            return value
        raise error_of(answer.status_code, value)

    def _unavailable(self, error: httpx.HTTPError) -> Unavailable:
        return Unavailable(
            f"the registry at {self.server} does not answer: {str(error) or type(error).__name__}",
            hint="is the URL right, is the server up, and is its TLS certificate one that this machine trusts?",
        )


def error_of(status: int, problem: dict[str, Any]) -> SealwrightError:
    """The error that a problem document stands for."""
    name = str(problem.get("type", "")).removeprefix(_TYPE_PREFIX)
    detail = printable(problem.get("detail", f"the registry answered {status}"))
    hint = printable(problem.get("hint", ""))
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, SealwrightError)):
        kind = AccessDenied if status == HTTPStatus.UNAUTHORIZED else SealwrightError
    if name == errors.PolicyViolation.__name__:
        return errors.PolicyViolation(detail, rule=printable(problem.get("rule", ""))[:64], hint=hint)
    return kind(detail, hint=hint)


def printable(value: object, limit: int = 2000) -> str:
    """The registry's words, without what could rewrite a terminal."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value)[:limit])


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise InputError(f"the registry's answer has no {name}", hint="is this URL a Sealwright registry?")
    return value


def _read(answer: httpx.Response, limit: int = ANSWER_LIMIT) -> bytes:
    data = bytearray()
    for chunk in answer.iter_bytes():
        data += chunk
        if len(data) > limit:
            raise InputError(f"the registry's answer is longer than {limit} octets")
    return bytes(data)


def _parse(data: bytes, answer: httpx.Response) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Unavailable(
            f"{answer.request.url.copy_with(query=None)} answered {answer.status_code} and no JSON object",
            hint="is this URL a Sealwright registry?",
        )
    return value


def _tls(tls_ca: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls_ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"cannot read the CAs in {tls_ca}: {error}", hint="--tls-ca takes a PEM file") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
