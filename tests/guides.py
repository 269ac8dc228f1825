"""The shell blocks of our guides, run as they stand there."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass
class Guide:
    """A page whose sections are run one by one, in a folder of the reader's. Exports last from one to the next."""

    page: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def run(self, section: str, *, block: int | None = None, fails: bool = False) -> str:
        """What the section's blocks say: standard output and error. ``section`` is a heading, or "" for what precedes
        the first one; ``block`` chooses one."""
        blocks = _BLOCK.findall(self._text(section))
        assert blocks, f"{self.page.name} has no shell block under {section!r}"
        script = "\n".join(blocks if block is None else blocks[block : block + 1])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"[ ! -e .exports ] || . ./.exports\n{script}\nexport -p > .exports"],
            cwd=self.folder,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def _text(self, section: str) -> str:
        parts = re.split(r"^## (.*)$", self.page.read_text(), flags=re.MULTILINE)
        sections = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
        return sections[section]
