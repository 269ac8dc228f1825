"""The inputs of a ceremony of two roots, out of the records of both: whose each is, by the root that it belongs to."""

from collections.abc import Mapping, Sequence

from sealwright.ceremony.folder import INPUTS
from sealwright.ceremony.kinds import NEW, side_of
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.durable import read_file
from sealwright.errors import InputError
from sealwright.statements.anchor import load_anchor


def sort_by_root(records: Sequence[CeremonyRecord], names: Sequence[str]) -> dict[str, bytes]:
    """Inputs by name, from the records of two roots: the root that is named first is the old one.

    Of one root's records the last that has a file wins. The settings are those that its last ceremony took in.
    """
    sides: dict[str, str] = {}
    found: dict[str, bytes] = {}
    for record in records:
        for root, files in _of_each_root(record):
            side = sides.setdefault(root, NEW if sides else "")
            if len(sides) > 2:
                raise InputError("the records are of three roots", hint="name those of the old one first, then the new")
            found |= {f"{side}{name}": data for name, data in files.items() if f"{side}{name}" in names}
    return found


def _of_each_root(record: CeremonyRecord) -> list[tuple[str, Mapping[str, bytes]]]:
    """The root's SHA-256, and what the record has for it. A rollover's record is of two."""
    each: list[tuple[str, Mapping[str, bytes]]] = []
    for side in ("", NEW):
        files = {name.removeprefix(NEW): data for name, data in record.outputs.items() if side_of(name) == side}
        if "register.json" in files:
            root = parse_register(files["register.json"]).root.sha256
        elif "anchor.json" in files:
            root = load_anchor(files["anchor.json"]).root_sha256
        else:
            continue
        each.append((root, {**_settings(record, side), **files}))
    if not each:
        raise InputError(
            f"a {record.kind} record does not say of which root it is",
            hint="name records of the roots: root-genesis, issuing-ca, root-crl",
        )
    return each


def _settings(record: CeremonyRecord, side: str) -> dict[str, bytes]:
    """Pinned in the record, which was replayed."""
    name = f"{side}pki.toml"
    return {"pki.toml": read_file(record.path / INPUTS / name)} if (record.path / INPUTS / name).is_file() else {}
