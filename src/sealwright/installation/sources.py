"""Where another copy of the ledger is: a registry's tiles over HTTP, a ledger's directory, or an export.

All three give the files of c2sp.org/tlog-tiles by their names. Nothing of it is believed here: ``ledger.copy`` and
``recover`` verify it from the ledger key on. The signer itself never uses this module: it has no network.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sealwright.audit.export import FILE_LIMIT, open_export
from sealwright.errors import InputError, IntegrityError, NotFound, Unavailable
from sealwright.installed import Installed
from sealwright.ledger.bundles import split_bundle
from sealwright.ledger.copy import Source
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.tiles import CHECKPOINT, bundles_of

_SECONDS = 10.0


class _Directory:
    """The ledger of a signer or of a standby, as files: on this machine, or mounted."""

    def __init__(self, path: Path, installed: Installed) -> None:
        self._reader = LedgerReader(path, installed.anchor.ledger_origin, installed.ledger_key)

    def checkpoint(self) -> str:
        self._reader.refresh()
        return self._reader.checkpoint

    def read(self, name: str) -> bytes:
        return self._reader.resource(name)


class _Export:
    def __init__(self, path: Path) -> None:
        self._export = open_export(path)

    def checkpoint(self) -> str:
        return self.read(CHECKPOINT).decode("utf-8", "replace")

    def read(self, name: str) -> bytes:
        return self._export.read(name)


@contextmanager
def _tiles(url: str, tls_ca: Path | None) -> Iterator[Source]:
    import ssl

    import httpx

    class Tiles:
        def checkpoint(self) -> str:
            return self.read(CHECKPOINT).decode("utf-8", "replace")

        def read(self, name: str) -> bytes:
            data = b""
            try:
                with client.stream("GET", f"{url.rstrip('/')}/tlog/{name}") as answer:
                    for piece in answer.iter_bytes():
                        data += piece
                        if len(data) > FILE_LIMIT:
                            raise InputError(f"{url}: {name} is longer than any file of a ledger is")
            except httpx.HTTPError as error:
                raise Unavailable(f"{url} does not answer: {str(error) or type(error).__name__}") from None
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotFound(f"{url} has no {name}")
            if not answer.is_success:
                raise Unavailable(f"{url} answers {answer.status_code} for {name}")
            return data

    verify = ssl.create_default_context(cafile=tls_ca) if url.startswith("https:") else False
    # http: is this machine, or a tunnel: no proxy stands between. What comes is verified whatever brought it.
    with httpx.Client(
        timeout=_SECONDS, verify=verify, trust_env=url.startswith("https:"), follow_redirects=False
    ) as client:
        yield Tiles()


@contextmanager
def _of_path(path: Path, installed: Installed) -> Iterator[Source]:
    yield _Directory(path, installed) if (path / "open").is_dir() else _Export(path)


def open_source(where: str, installed: Installed, *, tls_ca: Path | None = None) -> AbstractContextManager[Source]:
    """``where``: an ``http://`` or ``https://`` URL of a registry, a ledger's directory, an export's folder or file."""
    if where.startswith(("http://", "https://")):
        return _tiles(where, tls_ca)
    return _of_path(Path(where), installed)


def read_entries(source: Source, checkpoint: str) -> Iterator[bytes]:
    """All entries up to a checkpoint, in order; nothing of them is verified."""
    size = checkpoint.split("\n")[1] if checkpoint.count("\n") > 1 else ""
    if not size.isascii() or not size.isdecimal() or len(size) > 12:
        raise InputError("checkpoint has no size on its second line")
    for tile in bundles_of(int(size)):
        data = source.read(tile.name)
        entries, end = split_bundle(data)
        if len(entries) != tile.width or end != len(data):
            raise IntegrityError(f"{tile.name} has {len(entries)} entries; wanted {tile.width} and nothing more")
        yield from entries
