"""The servers of the rehearsal: ``sealwrightd up`` as one child, from when the story needs it to its end."""

import os
import subprocess
import sys
import time
from types import TracebackType

from sealwright.cli.quickstart.place import Place
from sealwright.cli.quickstart.story import Story
from sealwright.errors import StorageError, Unavailable
from sealwright.installation.parent import tied_to_this_process


class Servers:
    def __init__(self, place: Place, story: Story) -> None:
        self._place, self._story = place, story
        self._up: subprocess.Popen[str] | None = None
        self._log = place.folder / "up.log"

    def __enter__(self) -> "Servers":
        return self

    def start(self) -> None:
        """Start them unless they run, and return when they answer. Raises ``Unavailable`` with their own words."""
        if self._up is not None:
            return
        self._story.show(["sealwrightd", "up", "--dir", str(self._place.pki)])
        with self._log.open("w", encoding="utf-8") as log:
            self._up = subprocess.Popen(
                [sys.executable, "-m", "sealwright.cli.daemon", "up", "--dir", str(self._place.pki)],
                env=tied_to_this_process({**os.environ, **self._place.environment}),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is the story's; it stops the servers in order
            )
        output = self._up.stdout
        if output is None:
            raise Unavailable("sealwrightd up gave no output to read")
        for line in output:
            self._story.tell("  " + line.rstrip())
            if line.startswith("ready:"):
                return
        raise self._ended("the servers did not start", self._up.wait())

    def stay(self) -> None:
        """Until Ctrl-C, which is how it ends well. Raises ``Unavailable`` when the servers end by themselves."""
        if self._up is None:
            return
        try:
            code = self._up.wait()
        except KeyboardInterrupt:
            return
        raise self._ended("the servers ended by themselves", code)

    def _ended(self, how: str, code: int) -> StorageError | Unavailable:
        """Their own words, which they leave in ``up.log``."""
        said = self._log.read_text(encoding="utf-8").strip()
        error, _, hint = said.partition("\nhint: ")
        kind = StorageError if code == StorageError.exit_code else Unavailable
        error = error.removeprefix("error: ") or f"they ended with {code} and had no room for their log"
        return kind(f"{how}: {error}", hint=hint)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._up is None:
            return
        start = time.monotonic()
        self._up.terminate()
        try:
            self._up.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._up.kill()
            self._up.wait()
        if self._up.stdout is not None:
            self._up.stdout.close()
        self._story.tell(f"the services are stopped ({time.monotonic() - start:.1f} s)")
