"""All the servers of one installed PKI as children of one process: for a laptop, a rehearsal, the quickstart.

Everything runs under one uid, so it shows the flow and not the separation; it says so when it starts. On servers each
process has a unit and a uid of its own.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from sealwright.channel import SignerChannel
from sealwright.errors import SealwrightError, StorageError, Unavailable
from sealwright.installation.config import DaemonConfig
from sealwright.installation.parent import tied_to_this_process
from sealwright.installation.ports import check_port_free
from sealwright.installed import load_installed

# In the order in which each finds what it needs. Migrations run before any of them.
PROCESSES = ("signer", "presign", "registry", "validation", "metrics")

Children = Mapping[str, subprocess.Popen[bytes]]

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0


def run_all(folder: Path, config: DaemonConfig, tell: Callable[[str], None]) -> None:
    """Start the processes, say when they answer, and stop them all on SIGINT, SIGTERM or the death of one.

    Raises ``Unavailable`` when a port is taken, or a process does not come up or ends by itself.
    """
    for listen in (config.registry.listen, config.validation.listen):
        check_port_free(listen)
    pki_id = load_installed(folder).anchor.pki_id
    tell("all processes run under one uid: this shows the flow, not the separation of the processes")
    logs = folder / "log"
    try:
        logs.mkdir(exist_ok=True)
        _run_to_end(folder, "migrate", logs)
    except OSError as error:
        raise StorageError(f"cannot write in {folder}: {error.strerror}", hint="nothing was started") from error
    stopping = _Stop()
    children: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name in PROCESSES:
            if name == "metrics" and config.metrics is None:
                continue
            children[name] = _start(folder, name, logs)
            if name == "signer":
                _wait(lambda: SignerChannel(config.signer.socket).call("status"), "signer", children, logs, stopping)
        _wait(lambda: _get(f"http://{config.validation.listen}/healthz"), "validation", children, logs, stopping)
        scheme = "https" if config.registry.tls_certificate else "http"
        if scheme == "http":
            registry = f"http://{config.registry.listen}/v1/pki"
            _wait(lambda: _check_pki(registry, pki_id), "registry", children, logs, stopping)
        tell(f"ready: registry {scheme}://{config.registry.listen}, verifiers http://{config.validation.listen}")
        while not stopping.wanted:
            _check_alive(children, logs)
            time.sleep(0.2)
    finally:
        _stop(children)


class _Stop:
    """SIGINT and SIGTERM ask for an orderly stop."""

    def __init__(self) -> None:
        self.wanted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.wanted = True


def _command(folder: Path, name: str) -> list[str]:
    return [sys.executable, "-m", "sealwright.cli.daemon", name, "--dir", str(folder)]


def _run_to_end(folder: Path, name: str, logs: Path) -> None:
    with (logs / f"{name}.log").open("ab") as log:
        done = subprocess.run(_command(folder, name), stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        raise Unavailable(f"{name} ended with exit code {done.returncode}", hint=_last_line(logs, name))


def _start(folder: Path, name: str, logs: Path) -> subprocess.Popen[bytes]:
    with (logs / f"{name}.log").open("ab") as log:
        # A session of its own, so that Ctrl-C reaches this process, which then stops the children in order.
        environment = tied_to_this_process(os.environ)
        command = _command(folder, name)
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def _wait(ready: Callable[[], object], name: str, children: Children, logs: Path, stopping: _Stop) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not stopping.wanted:
        _check_alive(children, logs)
        with suppress(SealwrightError, URLError, OSError):
            ready()
            return
        if time.monotonic() > deadline:
            raise Unavailable(f"{name} does not answer after {_START_SECONDS:.0f} s", hint=_last_line(logs, name))
        time.sleep(0.05)


def _get(url: str) -> bytes:
    # Loopback: an environment's proxy must not stand between.
    with build_opener(ProxyHandler({})).open(url, timeout=2) as answer:
        return bytes(answer.read())


def _check_pki(url: str, pki_id: str) -> None:
    """That whoever answers is ours: another PKI may have taken the port since it was found free."""
    if json.loads(_get(url))["pki"] != pki_id:
        raise Unavailable(f"{url} is another PKI's")


def _check_alive(children: Children, logs: Path) -> None:
    for name, child in children.items():
        if child.poll() is not None:
            raise Unavailable(f"{name} ended by itself, exit code {child.returncode}", hint=_last_line(logs, name))


def _last_line(logs: Path, name: str) -> str:
    path = logs / f"{name}.log"
    with suppress(OSError):
        lines = path.read_text(errors="replace").strip().splitlines()
        errors = [line for line in lines[-20:] if line.startswith("error:")]
        if errors or lines:
            return f"{(errors or lines)[-1][:300]} (the rest is in {path})"
    return f"its log is {path}"


def _stop(children: Children) -> None:
    """Last started, first stopped; whoever does not end is killed, with all it started."""
    for child in reversed(tuple(children.values())):
        with suppress(ProcessLookupError):
            child.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for child in children.values():
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
