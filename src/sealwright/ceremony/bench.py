"""Where the files of a running ceremony lie: quarantine until everything is verified, outputs after that."""

from pathlib import Path

from sealwright.ceremony.folder import OUTPUTS, QUARANTINE
from sealwright.durable import read_file, sync_folder, write_new
from sealwright.errors import Conflict, IntegrityError, StorageError


class QuarantineBench:
    """Implements ``room.Bench`` for one record folder."""

    def __init__(self, record: Path, *, again: bool = False) -> None:
        """``again``: the ceremony was interrupted, and files may lie there that it has not recorded yet."""
        self._record, self._again = record, again
        if again:
            for cut in (record / QUARANTINE).glob(".*.new"):
                cut.unlink()  # what came of a file before the interruption, and never had its name

    def lay_down(self, name: str, data: bytes) -> None:
        """Into quarantine. Raises ``Conflict`` when another file is there already."""
        if not self._again or self.recover(name) != data:
            write_new(self._record / QUARANTINE / name, data)

    def recover(self, name: str) -> bytes | None:
        path = self._record / QUARANTINE / name
        return read_file(path) if self._again and path.exists() else None

    def promote(self, names: tuple[str, ...]) -> None:
        """Quarantine becomes the outputs in one rename: either all of them are outputs, or none is."""
        quarantine, outputs = self._record / QUARANTINE, self._record / OUTPUTS
        if self._again and outputs.exists() and not quarantine.exists():
            quarantine = outputs  # the rename was done, and its result not recorded
        found = sorted(path.name for path in quarantine.iterdir())
        if found != sorted(names):
            raise IntegrityError(f"quarantine has {', '.join(found)}; wanted {', '.join(sorted(names))}")
        if quarantine is outputs:
            return
        if outputs.exists():
            raise Conflict(f"{outputs} exists already", hint="outputs are never overwritten")
        try:
            quarantine.rename(outputs)
            sync_folder(self._record)
        except OSError as error:
            raise StorageError(f"cannot promote to {outputs}: {error.strerror}") from error
