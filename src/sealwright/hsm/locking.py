"""A lock with two sides: many callers of a module at once, or one who re-initialises it.

``C_Finalize`` while another thread is inside the module is undefined behaviour (PKCS#11 5.4), so every call takes the
shared side and re-initialisation the exclusive one. An exclusive waiter goes first, else busy signers would starve it;
the shared side is therefore not re-entrant.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class SharedLock:
    def __init__(self) -> None:
        self._condition = Condition()
        self._inside = 0
        self._exclusive = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._condition:
            while self._exclusive:
                self._condition.wait()
            self._inside += 1
        try:
            yield
        finally:
            with self._condition:
                self._inside -= 1
                if not self._inside:
                    self._condition.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._condition:
            while self._exclusive:
                self._condition.wait()
            self._exclusive = True
            while self._inside:
                self._condition.wait()
        try:
            yield
        finally:
            with self._condition:
                self._exclusive = False
                self._condition.notify_all()
