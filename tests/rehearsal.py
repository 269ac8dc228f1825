"""The folder that ``scripts/quickstart`` made, and its people, for the tests of the whole flow."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]


@dataclass
class Rehearsal:
    """What ``scripts/quickstart --once`` left, and what it told."""

    folder: Path
    told: str
    evidence: dict[str, Any] = field(default_factory=dict)
    told_again: str = ""

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    def file(self, name: str) -> Path:
        return self.folder / "evidence" / name

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}

    def team(
        self, person: str, *arguments: str, check: bool = True, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """``sealwright`` as that person."""
        return subprocess.run(
            [sys.executable, "-m", "sealwright.cli.team", *arguments],
            env={**self.environment, "SEALWRIGHT_HOME": str(self.folder / "people" / f"{person}-home")},
            capture_output=True,
            text=True,
            input=stdin,
            check=check,
            timeout=120,
        )
