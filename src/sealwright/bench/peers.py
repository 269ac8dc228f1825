"""Peers to be measured against: each in a virtual environment of its own in the cache folder, never in ours."""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

from sealwright.errors import Unavailable


def cache_folder() -> Path:
    """Where benches keep what is dear to make: ``$XDG_CACHE_HOME/sealwright/bench``. It may be removed at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sealwright" / "bench"


def peer_python(name: str, *requirements: str) -> Path:
    """The interpreter of a virtual environment that has ``requirements``; made when it is not there.

    Raises ``Unavailable`` when they cannot be installed.
    """
    stamp = hashlib.sha256("\n".join((sys.version, *requirements)).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{stamp}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if ready.exists():
        return python
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{name} cannot be installed: {done.stderr.strip()[-500:]}", hint="pip wants an index")
    ready.touch()
    return python
