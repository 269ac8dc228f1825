"""The ledger, fetched from the registry's tiles: a folder that is an export (``audit.export``).

Full tiles never change: each is fetched once. Nothing is believed of what came: ``audit.verify`` reads it all. The
checkpoint of the last audit that found no problem is kept, so that the next sees whether the ledger went on from there.
"""

from pathlib import Path

from sealwright.audit.export import FILE_LIMIT, FolderExport, belongs, pack_export, read_size, wanted_names
from sealwright.audit.findings import Findings
from sealwright.client.files import write_file
from sealwright.client.transport import RegistryClient
from sealwright.client.trust import ANCHOR, ISSUING, ROOT
from sealwright.durable import read_file
from sealwright.errors import Conflict
from sealwright.ledger.tiles import CHECKPOINT, parse_tile

COPY = "ledger"
KEPT = "audited-checkpoint"


def fetch_ledger(client: RegistryClient, home: Path, folder: Path) -> int:
    """Bring ``folder`` to the registry's checkpoint. Returns the ledger's size."""
    checkpoint = client.get_octets(f"/tlog/{CHECKPOINT}")
    write_file(folder / CHECKPOINT, checkpoint, replace=True)
    export = FolderExport(folder)
    size = read_size(export)
    for name in (ANCHOR, ROOT, ISSUING):
        write_file(folder / name, read_file(home / name), replace=True)
    there = export.names()
    for name in wanted_names(size):
        if name not in there and parse_tile(name) is not None:
            write_file(folder / name, client.get_octets(f"/tlog/{name}", limit=FILE_LIMIT))
    for name in there:
        if parse_tile(name) is not None and not belongs(name, size):  # a partial tile that has grown
            (folder / name).unlink()
    return size


def export_ledger(client: RegistryClient, home: Path, target: Path) -> int:
    """To a folder that is new or empty, or to a zip file by its name. Returns the ledger's size."""
    if target.suffix == ".zip":
        if target.exists():
            raise Conflict(f"{target} exists", hint="nothing is overwritten: name another file")
        size = fetch_ledger(client, home, home / COPY)
        pack_export(FolderExport(home / COPY), target)
        return size
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(
            f"{target} exists", hint="nothing is overwritten: name another folder, or a file that ends in .zip"
        )
    return fetch_ledger(client, home, target)


def kept_checkpoint(home: Path) -> str | None:
    path = home / KEPT
    return read_file(path).decode() if path.exists() else None


def keep_checkpoint(home: Path, findings: Findings) -> None:
    """Of an audit without a problem. An older one never takes a newer one's place: consistency was checked."""
    if findings.is_sound and findings.checkpoint:
        write_file(home / KEPT, findings.checkpoint.encode(), replace=True)
