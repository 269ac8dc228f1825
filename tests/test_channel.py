"""The signer's socket: what it carries, whom it lets in, and what it bounds."""

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sealwright import channel, errors
from sealwright.channel import (
    MESSAGE_LIMIT,
    WAITING_LIMIT,
    SignerCall,
    SignerChannel,
    bind_socket,
    read_call,
    waiting_calls,
)


@contextmanager
def serving(
    path: Path, handle: Callable[[SignerCall], Mapping[str, Any]], uids: frozenset[int] = frozenset({os.getuid()})
) -> Iterator[None]:
    listener = bind_socket(path)
    stop = threading.Event()

    def loop() -> None:
        for connection in waiting_calls(listener, stop):
            if (call := read_call(connection, uids)) is not None:
                call.answer(handle)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        listener.close()


def test_carries_a_call_and_its_answer(tmp_path: Path) -> None:
    def handle(call: SignerCall) -> Mapping[str, Any]:
        return {"name": call.name, "arguments": dict(call.arguments), "uid": call.peer_uid}

    with serving(tmp_path / "s.sock", handle):
        answer = SignerChannel(tmp_path / "s.sock").call("entries", start=3, count=4)
    assert answer == {"name": "entries", "arguments": {"start": 3, "count": 4}, "uid": os.getuid()}


@pytest.mark.parametrize(
    "error",
    [
        errors.PolicyViolation("the approver is the requester", rule="ORDER-SELF", hint="ask somebody else"),
        errors.InputError("not an order", hint="send one"),
        errors.NotReady("no roster yet"),
        errors.StorageError("the disk is full", hint="free some"),
    ],
)
def test_an_error_arrives_as_the_same_class_with_rule_and_hint(tmp_path: Path, error: errors.SealwrightError) -> None:
    def handle(_: SignerCall) -> Mapping[str, Any]:
        raise error

    with serving(tmp_path / "s.sock", handle), pytest.raises(type(error)) as caught:
        SignerChannel(tmp_path / "s.sock").call("status")
    assert (caught.value.message, caught.value.hint) == (error.message, error.hint)
    assert getattr(caught.value, "rule", None) == getattr(error, "rule", None)


def test_refuses_a_peer_with_another_uid(tmp_path: Path) -> None:
    called = []
    with (
        serving(tmp_path / "s.sock", lambda call: called.append(call) or {}, uids=frozenset({os.getuid() + 1})),
        pytest.raises(errors.AccessDenied, match=f"uid {os.getuid()} may not"),
    ):
        SignerChannel(tmp_path / "s.sock").call("status")
    assert not called


def test_has_no_call_that_takes_a_digest_or_a_tbs(tmp_path: Path) -> None:
    for name in ("sign", "sign-digest", "sign-tbs"):
        with pytest.raises(errors.InputError, match="has no call"):
            SignerChannel(tmp_path / "s.sock").call(name, tbs="AAAA")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"{}",
        b'{"call":"sign-tbs","arguments":{}}',
        b'{"arguments":{},"call":"status","more":1}',
        b'{"arguments": {}, "call": "status"}',  # not canonical
        b"[" * 5000,
    ],
)
def test_answers_garbage_with_input_error_and_calls_nothing(tmp_path: Path, message: bytes) -> None:
    called = []
    path = tmp_path / "s.sock"
    with (
        serving(path, lambda call: called.append(call) or {}),
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer,
    ):
        peer.settimeout(5)
        peer.connect(str(path))
        peer.send(message) if message else peer.shutdown(socket.SHUT_WR)
        assert b'"InputError"' in peer.recv(MESSAGE_LIMIT)
    assert not called


def test_refuses_a_call_that_is_too_long_before_sending_it(tmp_path: Path) -> None:
    with pytest.raises(errors.InputError, match="octets"):
        SignerChannel(tmp_path / "s.sock").call("issue", order="x" * MESSAGE_LIMIT)


def test_an_answer_that_is_too_long_becomes_an_error(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "s.sock", lambda _: {"x": "y" * MESSAGE_LIMIT}),
        pytest.raises(errors.SealwrightError, match="too long"),
    ):
        SignerChannel(tmp_path / "s.sock").call("status")


def test_says_when_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable, match="does not answer") as caught:
        SignerChannel(tmp_path / "s.sock").call("status")
    assert "sealwrightd signer" in caught.value.hint


def test_a_second_signer_does_not_take_the_socket_of_the_first(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "s.sock", lambda _: {"first": True}),
        pytest.raises(errors.Unavailable, match="already listens"),
    ):
        bind_socket(tmp_path / "s.sock")


def test_replaces_the_socket_of_a_dead_signer(tmp_path: Path) -> None:
    bind_socket(tmp_path / "s.sock").close()
    with serving(tmp_path / "s.sock", lambda _: {"alive": True}):
        assert SignerChannel(tmp_path / "s.sock").call("status") == {"alive": True}


def test_works_where_the_path_is_longer_than_an_address(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)
    with serving(folder / "s.sock", lambda _: {"ok": True}):
        assert SignerChannel(folder / "s.sock").call("status") == {"ok": True}


def test_only_owner_and_group_may_open_the_socket(tmp_path: Path) -> None:
    with serving(tmp_path / "s.sock", lambda _: {}):
        assert (tmp_path / "s.sock").stat().st_mode & 0o777 == 0o660


def test_whoever_connects_and_stays_silent_keeps_nobody_waiting(tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    with serving(path, lambda _: {"ok": True}), ExitStack() as idle:
        for _ in range(WAITING_LIMIT + 20):
            idle.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)).connect(str(path))
        assert SignerChannel(path, timeout=2).call("status") == {"ok": True}


def test_lets_go_of_a_connection_that_stays_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_PATIENCE", 0.1)
    path = tmp_path / "s.sock"
    with serving(path, lambda _: {}), socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
        peer.settimeout(5)
        peer.connect(str(path))
        assert peer.recv(1) == b""


def test_who_makes_room_for_others_while_it_begins_to_ask_ends_nothing(tmp_path: Path) -> None:
    """One round of the loop sees newcomers, for whom the oldest has to go, and the oldest, which asks just then."""
    path, asked, go_on = tmp_path / "s.sock", threading.Event(), threading.Event()

    def handle(_: SignerCall) -> Mapping[str, Any]:
        asked.set()
        assert go_on.wait(10)
        return {"ok": True}

    def connect(peers: ExitStack) -> socket.socket:
        peer = peers.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        peer.connect(str(path))
        return peer

    with serving(path, handle), ExitStack() as peers:
        oldest = connect(peers)
        for _ in range(WAITING_LIMIT - 2):
            connect(peers)
        busy = connect(peers)
        busy.send(b'{"arguments":{},"call":"status"}')
        assert asked.wait(10)  # from now on nobody is looked at
        for _ in range(3):
            connect(peers)
        oldest.send(b"x")
        go_on.set()
        assert SignerChannel(path, timeout=5).call("status") == {"ok": True}


def test_nobody_can_send_descriptors_with_a_call_where_linux_can_forbid_it(tmp_path: Path) -> None:
    """One that lingers when it is closed would hold up whoever takes the message."""
    path = tmp_path / "s.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
        try:
            probe.getsockopt(socket.SOL_SOCKET, channel._SO_PASSRIGHTS)
        except OSError:
            pytest.skip("this Linux, before 6.16, lets everybody send descriptors")
    with (
        serving(path, lambda _: {"ok": True}),
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer,
        (tmp_path / "file").open("w") as file,
    ):
        peer.connect(str(path))
        with pytest.raises(PermissionError):
            socket.send_fds(peer, [b'{"arguments":{},"call":"status"}'], [file.fileno()])
        peer.send(b'{"arguments":{},"call":"status"}')
        assert peer.recv(MESSAGE_LIMIT) == b'{"ok":true}'


def test_a_handler_that_breaks_leaves_no_connection_open(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(b'{"arguments":{},"call":"status"}')
        call = read_call(theirs, frozenset({os.getuid()}))
        assert call is not None

        def handle(_: SignerCall) -> Mapping[str, Any]:
            raise RuntimeError("a fault of ours")

        with pytest.raises(RuntimeError):
            call.answer(handle)
        assert theirs.fileno() == -1
        assert ours.recv(MESSAGE_LIMIT) == b""
