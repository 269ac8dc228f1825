"""Children that do not outlive who started them: a killed ``up`` must not leave servers that hold its ports.

Only for ``up`` and the quickstart. Under systemd the control group sees to it.
"""

import ctypes
import os
import signal
from collections.abc import Mapping

_VARIABLE = "SEALWRIGHT_PARENT"
_PR_SET_PDEATHSIG = 1


def tied_to_this_process(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a child that shall end when this process does."""
    return {**environment, _VARIABLE: str(os.getpid())}


def die_with_parent() -> None:
    """In the child, at its start: be sent SIGTERM when the parent that asked for it is gone (prctl(2))."""
    parent = os.environ.pop(_VARIABLE, None)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it was gone before prctl was called
        os.kill(os.getpid(), signal.SIGTERM)
