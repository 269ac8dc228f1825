"""A token in use: logged in once, shared by every thread of the process, rebuilt when it fails.

``TokenSession.call`` is the only way to the token. It runs an operation on a worker session; on a failure that a fresh
login can cure it rebuilds (initialise the module again, find the token by its serial number, log in once) and runs
the operation a second time, on whose failure it says so, and the ``breaker`` decides when the next attempt is. A PIN
that the token refused, or may have counted as wrong, is never tried again. What an operation does is ``keys``'s and
``generation``'s; who tries while nobody calls, and what becomes of a call that hangs, ``supervision``'s.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from threading import Lock, get_ident
from typing import Any, Literal, Self, TypeVar

from pkcs11.exceptions import PKCS11Error

from sealwright.errors import TokenError, Unavailable, WrongPin
from sealwright.hsm.breaker import Breaker, TokenEvent
from sealwright.hsm.failures import is_recoverable, token_error
from sealwright.hsm.login import Login, check_nothing_was_counted, log_in, log_out
from sealwright.hsm.module import Module, StaleGeneration
from sealwright.hsm.pin import Pin
from sealwright.hsm.pool import Worker
from sealwright.hsm.token import find_token, list_tokens, pick_token

__all__ = ["Pin", "TokenSession"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TokenHealth:
    """``state``: in use, away (tried again by itself), or its PIN was refused (never tried again). ``logins``,
    ``rebuilds``, ``outages``: since the process started."""

    serial: str
    label: str
    state: Literal["well", "away", "refused"]
    since: datetime | None
    reason: str
    outages: int
    rebuilds: int
    logins: int

    @property
    def is_away(self) -> bool:
        return self.state == "away"

    def to_wire(self) -> dict[str, Any]:
        """For a status: ``since`` as on the wire, empty while all is well."""
        since = f"{self.since:%Y-%m-%dT%H:%M:%SZ}" if self.since else ""
        return {**asdict(self), "since": since}


class TokenSession:
    """Made by ``open``. A context manager; ``close`` logs out and may be called twice."""

    def __init__(self, module: Module, serial: str, pin: Pin | None) -> None:
        self.module = module
        self.serial = serial
        self._pin = pin
        self._lock = Lock()
        self._closed = False
        self._refused: WrongPin | None = None
        self._breaker = Breaker(serial)
        self._calls: dict[int, tuple[float, str]] = {}
        self._doubtful = False
        self._logins = self._rebuilds = 0
        self._login = self._log_in()
        self._tried = self._login.generation

    @classmethod
    def open(cls, module: Module, serial: str, pin: Pin | None) -> Self:
        """Find the token by its serial number and log in as its user, with one attempt.

        ``pin`` None: at the token's own keypad.

        Raises TokenNotFound (which lists the tokens there are), WrongPin, or TokenError: already open in this process,
        no user PIN, failed.
        """
        find_token(module, serial)  # looks again when the token came after the module did
        module.claim(serial)
        try:
            return cls(module, serial, pin)
        except BaseException:
            module.release(serial)
            raise

    @property
    def label(self) -> str:
        return self._login.token.label

    def __repr__(self) -> str:
        return f"TokenSession({self.serial!r}, {self.label!r}{', closed' if self._closed else ''})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, operation: Callable[[Worker], T], *, doing: str) -> T:
        """Run ``operation`` on a worker; it may run twice, so it must be one that does no harm when repeated.

        ``doing`` completes "failed while ..." in the TokenError.
        """
        return self._call(operation, doing, repeatable=True)

    def call_once(self, operation: Callable[[Worker], T], *, doing: str) -> T:
        """Run ``operation`` on a read-write worker of its own, and never a second time: for what changes the token."""
        return self._call(operation, doing, repeatable=False)

    def close(self) -> None:
        """Log out and close every session of this token. In a fork of the process: forget, and touch nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self.module.check_process()
            except TokenError:
                return
            log_out(self.module, self._login)
            self.module.release(self.serial)

    def check_ready(self) -> None:
        """Raises ``Unavailable`` while the token is known to be away: for whoever would reserve something first."""
        health = self.health()
        if health.state != "well":
            raise Unavailable(
                f"token {self.serial} is {health.state}: {health.reason}",
                hint="nothing was reserved and nothing signed; ask again when it is back",
            )

    def health(self) -> TokenHealth:
        """How the token is. Never waits, and never calls the module."""
        breaker, refused = self._breaker, self._refused
        state: Literal["well", "away", "refused"] = "well"
        reason = ""
        if refused is not None:
            state, reason = "refused", refused.message
        elif breaker.is_open:
            state, reason = "away", breaker.reason
        return TokenHealth(
            self.serial, self.label, state, breaker.since, reason, breaker.outages, self._rebuilds, self._logins
        )

    def take_events(self) -> tuple[TokenEvent, ...]:
        """What happened to the token since this was asked last."""
        return self._breaker.take_events()

    def longest_call(self) -> tuple[float, str] | None:
        """The call that is under way for the longest time: for how many seconds, and doing what."""
        calls = tuple(self._calls.values())
        if not calls:
            return None
        began, doing = min(calls)
        return time.monotonic() - began, doing

    @contextmanager
    def _under_way(self, doing: str) -> Iterator[None]:
        thread = get_ident()
        self._calls[thread] = (time.monotonic(), doing)
        try:
            yield
        finally:
            self._calls.pop(thread, None)

    def _call(self, operation: Callable[[Worker], T], doing: str, *, repeatable: bool) -> T:
        with self._under_way(doing):
            return self._climb(operation, doing, repeatable=repeatable)

    def _climb(self, operation: Callable[[Worker], T], doing: str, *, repeatable: bool) -> T:
        """The ladder: once, once more after a rebuild, and then the breaker opens."""
        login, writing, rebuilt = self._current(), not repeatable, False
        while True:
            outages = self._breaker.outages
            try:
                with self.module.calling(login.generation), login.pool.borrow(writing=writing) as worker:
                    result = operation(worker)
            except StaleGeneration:
                pass  # nothing was run: another login of this process initialised the module between
            except PKCS11Error as error:
                if not (repeatable and is_recoverable(error)):
                    failure = token_error(error, token=self.serial, doing=doing)
                    if is_recoverable(error) and (rebuilt or self._breaker.is_open):
                        self._breaker.failed(failure)
                    raise failure from error
                repeatable, rebuilt = False, True
            else:
                self._breaker.succeeded(outages)
                return result
            login = self._rebuild(login)

    def _check_usable(self) -> None:
        self.module.check_process()
        if self._closed:
            raise TokenError(f"token {self.serial} was closed by this process", hint="open the token again")
        if self._refused is not None:
            raise WrongPin(self._refused.message, hint=self._refused.hint)

    def _current(self) -> Login:
        self._check_usable()
        login = self._login
        well = login.generation == self.module.generation and not self._breaker.is_open
        return login if well else self._rebuild(login)

    def _rebuild(self, failed: Login) -> Login:
        """A new login in place of ``failed``; threads that failed together share one. The breaker says when.

        Threads that come while another one is at it wait for that one, and for no more.
        """
        with self._lock:
            self._check_usable()
            if self._login is failed:
                self._breaker.check()
                try:
                    self._renew()
                except TokenError as error:
                    self._breaker.failed(error)
                    raise
            return self._login

    def _renew(self) -> None:
        self._rebuilds += 1
        try:
            # No-op when another login of this process has initialised the module since we last tried.
            self.module.reinitialise(self._tried)
        finally:
            self._tried = self.module.generation
        self._login = self._log_in()
        self._tried = self._login.generation

    def _log_in(self) -> Login:
        while True:
            token = pick_token(list_tokens(self.module), self.serial)
            try:
                if self._doubtful:
                    check_nothing_was_counted(token)
                login = log_in(self.module, token, self._pin)
            except StaleGeneration:
                continue  # before the login: another one initialised the module since the token was found
            except WrongPin as error:
                self._refused = error  # one attempt: a PIN that changed under us is never tried again
                raise
            except TokenError:
                self._doubtful = True
                raise
            except PKCS11Error as error:
                raise token_error(error, token=self.serial, doing="logging in") from error
            self._doubtful = False
            self._logins += 1
            return login
