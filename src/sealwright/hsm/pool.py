"""Worker sessions: each used by one thread at a time, none with a login of its own.

A token's login belongs to the process, not to a session (PKCS#11 5.6.8), so workers inherit the keeper's. A worker
whose call failed is closed, not reused: an operation may still be active on it. The number of workers is bounded,
because tokens bound it too; a thread that finds none free waits.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock

import pkcs11
from pkcs11.exceptions import PKCS11Error

MOST_WORKERS = 16


@dataclass(slots=True, eq=False)
class Worker:
    """One session, and the private-key objects already found, checked and proven through it.

    By CKA_ID and the public key they were proven against: an id alone may come to name another key.
    """

    native: pkcs11.Session
    keys: dict[tuple[bytes, bytes], pkcs11.PrivateKey] = field(default_factory=dict)


class SessionPool:
    """The workers of one login. Every method calls the module: use it inside ``Module.calling``."""

    def __init__(self, token: pkcs11.Token) -> None:
        self._token = token
        self._idle: list[Worker] = []
        self._lock = Lock()
        self._places = BoundedSemaphore(MOST_WORKERS)
        self._closed = False

    @contextmanager
    def borrow(self, *, writing: bool = False) -> Iterator[Worker]:
        """A worker for one operation. ``writing``: a read-write session, opened for it and closed after it."""
        with self._places:
            worker = self._take(writing=writing)
            try:
                yield worker
            except BaseException:
                _close(worker)
                raise
            self._give_back(worker, keep=not writing)

    def close(self) -> None:
        """Close the idle workers; those in use are closed when they come back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            _close(worker)

    def _take(self, *, writing: bool) -> Worker:
        if not writing:
            with self._lock:
                if self._idle:
                    return self._idle.pop()
        # Without a PIN: python-pkcs11 then never calls C_Logout, which would log out the whole process.
        return Worker(self._token.open(rw=writing))

    def _give_back(self, worker: Worker, *, keep: bool) -> None:
        with self._lock:
            if keep and not self._closed:
                self._idle.append(worker)
                return
        _close(worker)


def _close(worker: Worker) -> None:
    with suppress(PKCS11Error):
        worker.native.close()
