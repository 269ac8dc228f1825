"""Debian packages that a bench measures with or against, installed when they are not there."""

import os
import shutil
import subprocess
from typing import Final

from sealwright.errors import Unavailable

_PROGRAMS: Final = {"wrk": "wrk", "nginx": "nginx-light"}


def need_programs(*names: str) -> None:
    """Raises ``Unavailable`` when one is missing and cannot be installed."""
    missing = [_PROGRAMS[name] for name in names if shutil.which(name) is None]
    if not missing:
        return
    if os.getuid() != 0:
        raise Unavailable(f"not installed: {', '.join(missing)}", hint=f"as root: apt-get install {' '.join(missing)}")
    # RUNLEVEL: a server that is installed to be measured is not started as a service.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]):
        own = [*command, *missing] if "install" in command else command
        done = subprocess.run(own, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"{' '.join(own)}: {done.stderr.strip()[-300:]}", hint="apt wants an index")
