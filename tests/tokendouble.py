"""A token in another process: SoftHSM behind ``p11-kit server``, whose death is the token going away.

Children use it through ``p11-kit-client.so`` with ``P11_KIT_SERVER_ADDRESS``. No EdDSA that way.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path


def find_client() -> Path:
    for path in sorted(Path("/usr/lib").glob("*/pkcs11/p11-kit-client.so")):
        return path
    raise AssertionError("p11-kit-client.so is not installed: apt install p11-kit p11-kit-modules")


class TokenServer:
    """``start`` and ``kill`` as often as a test likes. A process keeps the first address it was given: use one."""

    def __init__(self, module: Path, address: Path, softhsm_conf: Path) -> None:
        assert shutil.which("p11-kit"), "apt install p11-kit"
        self._module, self.socket, self._conf = module, address, softhsm_conf
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"unix:path={self.socket}"

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(
            ["p11-kit", "server", "--provider", self._module, "--name", self.socket, "--foreground", "pkcs11:"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "SOFTHSM2_CONF": str(self._conf)},
            start_new_session=True,  # it forks for each client: the group is the token
        )
        for _ in range(500):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))  # the file is there before anybody listens
                return
            time.sleep(0.01)
        raise AssertionError("p11-kit server does not listen")

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def freeze(self, *, thaw: bool = False) -> None:
        """Every call hangs from now on."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT if thaw else signal.SIGSTOP)
