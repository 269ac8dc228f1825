"""What a slow test needs from Debian is installed by the test itself, once, and said loudly when it cannot be."""

import fcntl
import os
import subprocess
import tempfile
from pathlib import Path


def need(*packages: str) -> None:
    """Install what is missing. One process at a time; fails the test with what apt said."""
    with (Path(tempfile.gettempdir()) / "sealwright-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        missing = [each for each in packages if not _is_installed(each)]
        if not missing:
            return
        assert os.geteuid() == 0, f"as root: apt-get install -y {' '.join(missing)}"
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *missing]):
            done = subprocess.run(
                ["apt-get", *command], env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, f"apt-get {' '.join(command)}: {done.stderr[-500:]}"


def _is_installed(package: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, timeout=30, check=False
    )
    return "ok installed" in done.stdout
