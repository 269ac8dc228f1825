"""The signer's socket: one SOCK_SEQPACKET message of canonical JSON each way, and the peer's uid checked.

Both ends live here, so that they cannot drift apart. What a call means is ``issuing``'s; this module carries it, maps
errors back to the classes of ``errors``, and bounds every message. It carries orders, never digests or TBS bytes:
there is no call for them.
"""

import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealwright import errors
from sealwright.statements.canonical import canonical_bytes, parse_canonical

MESSAGE_LIMIT = 192 * 1024
"""Octets. Below Linux's default socket buffer, so that one message is one packet."""

_SO_PASSRIGHTS = 83
"""Of asm-generic/socket.h; Python's ``socket`` has no name for it."""

_CALLS = frozenset(
    {
        *("issue", "deny", "revoke", "publish-roster", "suspend"),
        *("responder-certificate", "entries", "status", "witness"),
        "stand-down",  # to a standby: it ends
    }
)


@dataclass(frozen=True, slots=True)
class SignerCall:
    """``name`` is one of the closed set of calls; ``arguments`` is its JSON object."""

    name: str
    arguments: Mapping[str, Any]
    peer_uid: int


def _error_to_wire(error: errors.SealwrightError) -> dict[str, Any]:
    # A room may have an error of its own (ledger: SyncError); the client knows those of `errors`.
    kind = next(each for each in type(error).__mro__ if each.__module__ == errors.__name__)
    wire = {"error": kind.__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, errors.PolicyViolation):
        wire["rule"] = error.rule
    return wire


def _error_from_wire(wire: Mapping[str, Any]) -> errors.SealwrightError:
    kind = getattr(errors, str(wire.get("error")), errors.SealwrightError)
    message, hint = str(wire.get("message", "the signer refused")), str(wire.get("hint", ""))
    if kind is errors.PolicyViolation:
        return errors.PolicyViolation(message, rule=str(wire.get("rule", "")), hint=hint)
    if not (isinstance(kind, type) and issubclass(kind, errors.SealwrightError)):
        kind = errors.SealwrightError
    return kind(message, hint=hint)


class SignerChannel:
    """A client's end. Each call opens its own connection: there is no state to lose."""

    def __init__(self, path: Path, *, timeout: float = 30.0) -> None:
        self._path, self._timeout = path, timeout

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Ask the signer and wait for its answer.

        Raises whatever ``SealwrightError`` the signer raised, and ``Unavailable`` when it does not answer.
        """
        if name not in _CALLS:
            raise errors.InputError(f"the signer has no call {name!r}; it has {', '.join(sorted(_CALLS))}")
        message = canonical_bytes({"call": name, "arguments": arguments})
        if len(message) > MESSAGE_LIMIT:
            raise errors.InputError(f"the call is {len(message)} octets; the signer takes {MESSAGE_LIMIT} at most")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.settimeout(self._timeout)
            try:
                with _address(self._path) as address:
                    _connect(connection, address, self._timeout)
                connection.send(message)
                reply = connection.recv(MESSAGE_LIMIT)
            except OSError as error:
                raise errors.Unavailable(
                    f"the signer does not answer on {self._path}: {error.strerror or type(error).__name__}",
                    hint="is `sealwrightd signer` running, and may this uid open its socket?",
                ) from error
        if not reply:
            raise errors.Unavailable(
                "the signer closed the connection without an answer",
                hint="it may have been stopped in mid-call: ask again, orders are used once whatever happens",
            )
        answer = parse_canonical(reply, limit=MESSAGE_LIMIT)
        if "error" in answer:
            raise _error_from_wire(answer)
        return answer


def peer_uid(connection: socket.socket) -> int:
    """The uid at the other end, as the kernel says (SO_PEERCRED, unix(7))."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[1])


def _connect(connection: socket.socket, address: str, timeout: float) -> None:
    """Connect, and where the listener's queue is full at this moment, wait for it (unix(7): EAGAIN)."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection.connect(address)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """``path`` through a descriptor of its directory: a Unix socket's address has 107 octets, a path may have more."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def bind_socket(path: Path) -> socket.socket:
    """Listen on ``path``. A live listener there is ``Unavailable``; a dead one's file is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _address(path) as address:
            _check_nobody_answers(address, path)
            path.unlink(missing_ok=True)
            # The directory's mode is the first door, the socket's the second, the peer's uid the third.
            old = os.umask(0o117)
            try:
                listener.bind(address)
            finally:
                os.umask(old)
        with suppress(OSError):  # before Linux 6.16 nobody can forbid it
            listener.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)  # who takes a message is not given descriptors
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise errors.Unavailable(f"cannot listen on {path}: {error.strerror or error}") from error
    except errors.Unavailable:
        listener.close()
        raise
    return listener


def _check_nobody_answers(address: str, path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.connect(address)
        except OSError:
            return
    raise errors.Unavailable(f"a signer already listens on {path}", hint="stop it first; there is one signer")


_AT_ONCE = 32
"""Newcomers in one round."""

WAITING_LIMIT = 64
"""Connections of one uid that may be open without having asked anything."""

_PATIENCE = 5.0
"""Seconds a connection may be silent."""


class WaitingCall:
    """A call and the connection on which its answer is waited for. It is answered once, by whatever thread."""

    def __init__(self, connection: socket.socket, call: SignerCall) -> None:
        self._connection, self.call = connection, call

    def answer(self, handle: Callable[[SignerCall], Mapping[str, Any]]) -> None:
        """With what ``handle`` returns, or with the ``SealwrightError`` that it raises."""
        with self._connection:
            try:
                answer = dict(handle(self.call))
            except errors.SealwrightError as error:
                answer = _error_to_wire(error)
            _send(self._connection, answer)


def waiting_calls(listener: socket.socket, stop: threading.Event) -> Iterator[socket.socket]:
    """Connections on which a call is waiting to be read, until ``stop`` is set. Nothing is read here: what comes with a
    message can hold up who takes it.

    Whoever connects and stays silent costs a descriptor for a few seconds and never a worker; of one uid only so many
    are kept, the oldest goes first.
    """
    silent: dict[socket.socket, tuple[int, float]] = {}
    listener.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        try:
            while not stop.is_set():
                for key, _ in selector.select(timeout=0.2):
                    found = key.fileobj
                    if found is listener:
                        for connection in _accepted(listener):
                            if _has_asked(connection):
                                yield connection
                            else:
                                _watch(connection, silent, selector)
                    elif isinstance(found, socket.socket) and found in silent:  # or it had to make room meanwhile
                        selector.unregister(found)
                        del silent[found]
                        yield found
                _drop_silent(silent, selector)
        finally:
            for connection in silent:
                connection.close()


def _accepted(listener: socket.socket) -> Iterator[socket.socket]:
    """Whoever connected by now; a few, so that those who connected before are heard too."""
    with suppress(OSError):  # nobody more, or gone again before it was accepted
        for _ in range(_AT_ONCE):
            connection, _ = listener.accept()
            connection.setblocking(False)
            yield connection


def _has_asked(connection: socket.socket) -> bool:
    """Is there something to be read already, be it the end? Whoever asks at once need not be watched."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:  # it is broken: whoever is to answer it finds that out
        return True
    return True


def _watch(
    connection: socket.socket, silent: dict[socket.socket, tuple[int, float]], selector: selectors.BaseSelector
) -> None:
    try:
        uid = peer_uid(connection)
        _make_room(silent, uid, selector)
        selector.register(connection, selectors.EVENT_READ)
    except OSError:  # this machine has no room for it
        connection.close()
    else:
        silent[connection] = (uid, time.monotonic())


def _make_room(silent: dict[socket.socket, tuple[int, float]], uid: int, selector: selectors.BaseSelector) -> None:
    of_this_uid = [connection for connection, (owner, _) in silent.items() if owner == uid]
    if len(of_this_uid) >= WAITING_LIMIT:
        _close(of_this_uid[0], silent, selector)


def _drop_silent(silent: dict[socket.socket, tuple[int, float]], selector: selectors.BaseSelector) -> None:
    now = time.monotonic()
    for connection in [each for each, (_, since) in silent.items() if now - since > _PATIENCE]:
        _close(connection, silent, selector)


def _close(
    connection: socket.socket, silent: dict[socket.socket, tuple[int, float]], selector: selectors.BaseSelector
) -> None:
    selector.unregister(connection)
    del silent[connection]
    connection.close()


def read_call(connection: socket.socket, allowed_uids: frozenset[int]) -> WaitingCall | None:
    """The call that is on it, from a uid that may call; None when it was none, which was answered."""
    try:
        return WaitingCall(connection, _read_call(connection, allowed_uids))
    except OSError:  # a peer that is gone gets no answer
        connection.close()
    except errors.SealwrightError as error:
        with connection:
            _send(connection, _error_to_wire(error))
    return None


def _send(connection: socket.socket, answer: Mapping[str, Any]) -> None:
    """Its only message, for which there is room. Never raises: a peer that is gone gets no answer."""
    message = canonical_bytes(answer)
    if len(message) > MESSAGE_LIMIT:
        message = canonical_bytes(_error_to_wire(errors.SealwrightError("the answer is too long for one message")))
    with suppress(OSError):
        connection.send(message)


def _read_call(connection: socket.socket, allowed_uids: frozenset[int]) -> SignerCall:
    # Read first: closing on unread data would reset the connection, and the peer would never see why.
    message = connection.recv(MESSAGE_LIMIT + 1)
    uid = peer_uid(connection)
    if uid not in allowed_uids:
        raise errors.AccessDenied(
            f"uid {uid} may not speak to the signer",
            hint="the uids that may are in sealwrightd.toml, [signer] peers",
        )
    if len(message) > MESSAGE_LIMIT:
        raise errors.InputError(f"the call is longer than {MESSAGE_LIMIT} octets")
    call = parse_canonical(message, limit=MESSAGE_LIMIT)
    name, arguments = call.get("call"), call.get("arguments")
    if not isinstance(name, str) or name not in _CALLS or not isinstance(arguments, dict) or len(call) != 2:
        raise errors.InputError(f"not a call to the signer; its calls are {', '.join(sorted(_CALLS))}")
    return SignerCall(name, arguments, uid)
