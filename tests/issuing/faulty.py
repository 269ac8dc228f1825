"""Run by ``test_faults``: the signer of servers, whose disk the test can break at a named point.

Lines in: ``pause POINT`` (the first act that gets there says ``paused`` and waits for ``go``), ``fsync fails``, ``fsync
works``. The end of the lines stops it. What the issuing key signs is noted in a file; what it refuses to start with is
its last line.
"""

import errno
import json
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import sealwright.issuing.crl as crl_module
import sealwright.issuing.issuance as issuance_module
from sealwright.errors import SealwrightError
from sealwright.issuing.service import run_signer
from sealwright.points import Point, listen


class Control:
    def __init__(self) -> None:
        self.stop, self.go, self.fsync_fails = threading.Event(), threading.Event(), threading.Event()
        self.pause_at: Point | None = None

    def listen_to_the_test(self) -> None:
        for line in sys.stdin:
            match line.split():
                case ["pause", point]:
                    self.pause_at = Point(point)
                case ["go"]:
                    self.go.set()
                case ["fsync", "fails"]:
                    self.fsync_fails.set()
                case ["fsync", "works"]:
                    self.fsync_fails.clear()
                case _:
                    break
            print("done", flush=True)
        self.stop.set()

    def reached(self, point: Point) -> None:
        if point is self.pause_at:
            self.pause_at = None
            print("paused", flush=True)
            self.go.wait(30)

    def fsync(self, descriptor: int) -> None:
        if self.fsync_fails.is_set():
            raise OSError(errno.EIO, "Input/output error")
        _fsync(descriptor)


_fsync = os.fsync


def note(module: Any, name: str, path: Path) -> None:
    real = getattr(module, name)

    def sign(*arguments: Any) -> Any:
        with path.open("a") as file:
            file.write(f"{name}\n")
        return real(*arguments)

    setattr(module, name, sign)


def main(task: Path) -> None:
    config, now, signed = pickle.loads(task.read_bytes())  # noqa: S301  # the test's own
    note(issuance_module, "sign_certificate", signed)
    note(crl_module, "sign_book", signed)
    control = Control()
    os.fsync = control.fsync
    threading.Thread(target=control.listen_to_the_test, daemon=True).start()
    try:
        with listen(control.reached):
            run_signer(config, clock=lambda: now, stop=control.stop)
    except SealwrightError as error:
        print(json.dumps([type(error).__name__, error.message, error.hint]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
