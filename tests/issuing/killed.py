"""Run by ``test_crash``: does an act of the signer in a child, notes what it reaches and signs, kills it where told.

A process of its own, because it forks: everything is imported once. One JSON line in for each act, one out: how the
child ended. The child notes each point in ``trace`` and, before it gives a signature away, what was signed in
``signed``: base64, a line each.
"""

import base64
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from sealwright.errors import PolicyViolation
from sealwright.installed import load_installed
from sealwright.issuing.crl import issue_crl
from sealwright.issuing.recover import recover_ledger
from sealwright.issuing.recovery import record_start
from sealwright.points import Point, listen
from world import World, call


def note(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line + b"\n")
    os.close(descriptor)


class WatchedKey(ec.EllipticCurvePrivateKey):
    """Says what it signs before it has been signed."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, signed: Path) -> None:
        self._key, self._signed = key, signed

    def sign(self, data: Any, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        note(self._signed, base64.b64encode(data))
        return self._key.sign(data, signature_algorithm)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._key.public_key()

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._key.curve

    @property
    def key_size(self) -> int:
        return self._key.key_size

    def exchange(self, *_: Any) -> bytes:
        raise NotImplementedError

    def private_numbers(self) -> ec.EllipticCurvePrivateNumbers:
        raise NotImplementedError

    def private_bytes(self, *_: Any) -> bytes:
        raise NotImplementedError

    def __copy__(self) -> "WatchedKey":
        return self

    def __deepcopy__(self, _: Any) -> "WatchedKey":
        return self


def act(world: World, name: str, arguments: dict[str, Any], begin: Callable[[], Any]) -> None:
    """``begin`` is called when what is to be watched begins."""
    match name:
        case "start":
            begin()
            record_start(world.start())
        case "recover":
            begin()
            entries = [base64.b64decode(entry) for entry in arguments["entries"]]
            recover_ledger(world.installed, entries, arguments["checkpoint"])
        case "crl":
            authority = world.start()
            begin()
            issue_crl(authority)
        case "refuse":
            world.start()
            begin()
            with suppress(PolicyViolation):
                call(world, "issue", **arguments)
        case _:
            world.start()
            begin()
            call(world, {"correct": "revoke"}.get(name, name), **arguments)


def child(task: dict[str, Any]) -> None:
    folder, keys, ledger_key, now = pickle.loads(base64.b64decode(task["world"]))  # noqa: S301  # the test's own
    trace, signed = Path(task["trace"]), Path(task["signed"])
    loaded = {name: load_der_private_key(der, None) for name, der in keys.items()}
    loaded["issuing"] = WatchedKey(loaded["issuing"], signed)  # type: ignore[arg-type]  # the world's is P-384
    key: Any = load_der_private_key(ledger_key, None)
    world = World(folder, {}, loaded, key, load_installed(folder))  # type: ignore[arg-type]  # our kinds
    world.clock.now = now
    seen = 0

    def die(point: Point) -> None:
        nonlocal seen
        note(trace, point.encode())
        if seen == task["die_at"]:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += 1

    with ExitStack() as stack:
        act(world, task["act"], task["arguments"], lambda: stack.enter_context(listen(die)))
    world.stop()


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        process = os.fork()
        if process == 0:
            try:
                child(task)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(process, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), flush=True)


if __name__ == "__main__":
    main()
