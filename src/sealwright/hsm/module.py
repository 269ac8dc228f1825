"""A PKCS#11 module in this process: loaded once, initialised for threads, bound to one process id.

python-pkcs11 calls ``C_Initialize(NULL)`` and then releases the GIL, which kills a threaded process with SoftHSM
within seconds. So the library loads the module, is finalised at once, and the module is initialised again with
``CKF_OS_LOCKING_OK``. Nothing else may call ``pkcs11.lib``.

Each initialisation is a *generation*. All handles die with theirs, and the next generation hands out the same small
numbers again; whoever keeps a handle keeps its generation too and calls under ``calling(generation)``.
Tokens are ``token``'s, logins and sessions ``session``'s.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import pkcs11
from pkcs11.exceptions import PKCS11Error

from sealwright.errors import TokenError
from sealwright.hsm.cryptoki import Cryptoki, error_name
from sealwright.hsm.locking import SharedLock

_SOFTHSM_PLACES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/*/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
)
_SPAWN_HINT = "start processes by spawn, and load the module only inside them"


class StaleGeneration(PKCS11Error):
    """The module was initialised again since this handle was given out."""


class Module:
    """Made by ``load_module`` only. Usable from every thread of the process that loaded it, and from no other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pid = os.getpid()
        self._lock = SharedLock()
        self._logins: set[str] = set()
        self._logins_lock = Lock()
        self.library = pkcs11.lib(str(path))
        self.library.finalize()
        self.cryptoki = Cryptoki(path, self.library)
        self.cryptoki.initialize_with_locking()
        self.generation = 1
        self.store = os.environ.get("SOFTHSM2_CONF")
        """Of a SoftHSM: where it looked for its tokens, which it does at each initialisation."""

    def __repr__(self) -> str:
        return f"Module({str(self.path)!r})"

    def check_process(self) -> None:
        """After a fork the child may be able to sign with the inherited login: refuse to be used there."""
        if os.getpid() != self._pid:
            raise TokenError(
                f"PKCS#11 module {self.path} was loaded by process {self._pid}, this is its fork {os.getpid()}",
                hint=_SPAWN_HINT,
            )

    @contextmanager
    def calling(self, generation: int | None = None) -> Iterator[int]:
        """Every call into the module is made inside. Not re-entrant. Yields the generation in force.

        With ``generation``: StaleGeneration when the module is no longer in it, so that an old handle is never used.
        """
        self.check_process()
        with self._lock.shared():
            if generation is not None and generation != self.generation:
                raise StaleGeneration
            yield self.generation

    def reinitialise(self, generation: int) -> None:
        """Finalise and initialise again, unless somebody already did since ``generation``. Every handle dies.

        Raises TokenError when the module does not come up again; the next attempt begins with initialisation.
        """
        self.check_process()
        with self._lock.exclusive():
            if generation != self.generation:
                return
            self.generation += 1
            try:
                self.cryptoki.finalize()
            except PKCS11Error as error:
                if error_name(error) != "CKR_CRYPTOKI_NOT_INITIALIZED":
                    raise TokenError(f"PKCS#11 module {self.path} cannot be finalised: {error_name(error)}") from error
            try:
                self.store = os.environ.get("SOFTHSM2_CONF")
                self.cryptoki.initialize_with_locking()
            except PKCS11Error as error:
                raise TokenError(f"PKCS#11 module {self.path} cannot be initialised: {error_name(error)}") from error

    @property
    def idle(self) -> bool:
        """Nobody is logged in through this module, so that initialising it again disturbs nobody."""
        with self._logins_lock:
            return not self._logins

    def claim(self, serial: str) -> None:
        """One login per token and process: closing either of two would log the other one out."""
        with self._logins_lock:
            if serial in self._logins:
                raise TokenError(
                    f"token {serial} is already open in this process",
                    hint="share the TokenSession that is open, or close it first",
                )
            self._logins.add(serial)

    def release(self, serial: str) -> None:
        with self._logins_lock:
            self._logins.discard(serial)


_modules: dict[Path, Module] = {}
_modules_lock = Lock()


def load_module(path: Path) -> Module:
    """The module at ``path``, loaded and initialised at the first call, the same object afterwards.

    Raises TokenError: no such file, not a PKCS#11 module, does not initialise, loaded before a fork.
    """
    resolved = path.resolve()
    with _modules_lock:
        if resolved not in _modules:
            if not resolved.is_file():
                raise TokenError(
                    f"PKCS#11 module {path} is not there",
                    hint="install the token's software (SoftHSM: apt install softhsm2), or correct the module path",
                )
            _modules[resolved] = _initialise(resolved)
        module = _modules[resolved]
    module.check_process()
    return module


def _initialise(path: Path) -> Module:
    try:
        return Module(path)
    except PKCS11Error as error:
        hint = ""
        if error_name(error) == "CKR_CRYPTOKI_ALREADY_INITIALIZED":
            hint = "something else in this process (an OpenSSL engine?) initialised it first, perhaps without locking"
        elif "softhsm" in path.name:
            hint = "is SOFTHSM2_CONF set, and may this user read and write its token directory?"
        raise TokenError(f"PKCS#11 module {path} cannot be used: {error_name(error)}", hint=hint) from error
    except (OSError, AttributeError) as error:
        raise TokenError(f"PKCS#11 module {path} cannot be loaded: {error}") from error


def find_softhsm() -> Path:
    """SoftHSM's module where Debian and others put it. Raises TokenError with what to install."""
    for place in _SOFTHSM_PLACES:
        for path in sorted(Path("/").glob(place.removeprefix("/"))):
            return path
    raise TokenError("SoftHSM's module libsofthsm2.so is not installed", hint="apt install softhsm2")
