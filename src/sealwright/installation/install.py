"""``sealwrightd install``: from replayed ceremony records to a folder that the five processes run on.

Every record is replayed before a byte of it is believed, and the records must belong to one PKI. A rehearsal can only
become a rehearsal: the mode is part of the anchor, the anchor's digest is the PKI id, and the PKI id is inside every
statement that will ever be signed for it.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from sealwright.ceremony.record import CeremonyRecord, load_record
from sealwright.ceremony.script import Kind
from sealwright.errors import Conflict, InputError, IntegrityError, StorageError
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.session import Pin, TokenSession
from sealwright.installation.config import CONFIG_NAME
from sealwright.installation.owners import Owners, lay_out
from sealwright.installation.toml import write_toml
from sealwright.ledger.log import Ledger
from sealwright.pki.crl import read_crl
from sealwright.pki.keys import spki_sha256
from sealwright.pki.profiles import load_profiles
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.statements.anchor import Anchor, load_anchor

KINDS = ("root-genesis", "issuing-key", "issuing-ca")


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the operator decides. ``pins`` has the PIN file of each of the issuing, ocsp and ledger tokens."""

    genesis: Path
    records: Sequence[Path]
    ca: Path
    folder: Path
    module: Path
    environment: Mapping[str, str]
    pins: Mapping[str, Path]
    registry_listen: str
    registry_url: str
    validation_listen: str
    rehearsal: bool
    metrics_listen: str | None = None
    owners: Owners | None = None
    """Separate users for the processes; None: everything belongs to who installs."""


def install(wanted: Installation) -> Anchor:
    """Make ``wanted.folder``. It appears whole or not at all.

    Raises ``Conflict`` when it exists, ``InputError`` when a record is missing or of the wrong mode or the policy in
    ``wanted.ca`` cannot be read, ``PolicyViolation`` when a profile is weaker than its kind allows, and
    ``IntegrityError`` when a record does not replay or two records do not belong together.
    """
    if wanted.folder.exists():
        raise Conflict(f"{wanted.folder} exists", hint="an installed PKI is never overwritten; name a new folder")
    settings = _check_policy(wanted.ca)
    replayed = [load_record(each) for each in (wanted.genesis, *wanted.records)]
    records = _by_kind(replayed)
    anchor = load_anchor(records["root-genesis"].read("anchor.json"))
    _check_mode(wanted, anchor)
    keys = json.loads(records["issuing-key"].read("keys.json"))
    _check_belong_together(records, anchor, keys)

    folder = _beside(wanted.folder)
    try:
        (folder / "crl").mkdir()
        files = {
            "anchor.json": records["root-genesis"].read("anchor.json"),
            "root.pem": records["root-genesis"].read("root.pem"),
            "issuing.pem": records["issuing-ca"].read("issuing.pem"),
            "keys.json": records["issuing-key"].read("keys.json"),
            f"crl/{settings.root.id}.crl": newest_root_crl(replayed, records["root-genesis"].read("root.pem")),
            CONFIG_NAME: write_toml(_config(wanted, anchor, keys)),
        }
        for name, data in files.items():
            (folder / name).write_bytes(data)
        shutil.copytree(wanted.ca, folder / "ca", ignore=shutil.ignore_patterns("roster.toml"))
        shutil.copytree(wanted.genesis, folder / "genesis")
        _create_ledger(wanted, folder, anchor, keys)
        if wanted.owners is not None:
            lay_out(folder, wanted.owners, wanted.pins)
        folder.rename(wanted.folder)
    except OSError as error:
        raise StorageError.of(
            error, f"cannot make {wanted.folder}", hint="nothing was installed: is the disk full?"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return anchor


def _check_policy(ca: Path) -> PKISettings:
    """Read all that a roster will pin, so that the servers are not the first to find a profile that cannot be."""
    _read(ca / "policy.md")
    load_profiles({str(path): _read(path) for path in sorted((ca / "profiles").glob("*.toml"))})
    return load_settings(_read(ca / "pki.toml"), source=str(ca / "pki.toml"))


def _by_kind(replayed: Sequence[CeremonyRecord]) -> dict[str, CeremonyRecord]:
    """A record that is named later replaces an earlier one of the same kind; a renewal, what it renews."""
    renews = {Kind.ISSUING_CA_RENEWAL: Kind.ISSUING_CA}
    records: dict[str, CeremonyRecord] = {renews.get(record.kind, record.kind): record for record in replayed}
    missing = [kind for kind in KINDS if kind not in records]
    if missing:
        raise InputError(
            f"no record of {', '.join(missing)} was named; installation needs {', '.join(KINDS)}",
            hint="--genesis takes the root-genesis folder, --record each of the others",
        )
    modes = {record.mode for record in records.values()}
    if len(modes) != 1:
        raise InputError("some records are of rehearsals and some of production; a PKI is one or the other")
    return records


def _check_mode(wanted: Installation, anchor: Anchor) -> None:
    if anchor.mode == "REHEARSAL" and not wanted.rehearsal:
        raise InputError(
            "these are the records of a rehearsal; a rehearsal is never installed as production",
            hint="run the ceremonies for production, or say --rehearsal to look at a rehearsal",
        )
    if anchor.mode != "REHEARSAL" and wanted.rehearsal:
        raise InputError("--rehearsal was said, and these are the records of production ceremonies")


def _check_belong_together(
    records: Mapping[str, CeremonyRecord], anchor: Anchor, keys: Mapping[str, Mapping[str, str]]
) -> None:
    """One root, one issuing CA under it, and that CA's key is the one the issuing-key ceremony made."""
    root = x509.load_pem_x509_certificate(records["root-genesis"].read("root.pem"))
    issuing = x509.load_pem_x509_certificate(records["issuing-ca"].read("issuing.pem"))
    anchor.check_root(root)
    try:
        issuing.verify_directly_issued_by(root)
    except Exception as error:  # pyca raises InvalidSignature, ValueError or TypeError
        raise IntegrityError("issuing.pem of the issuing-ca record is not signed by this root") from error
    if spki_sha256(issuing.public_key()) != _spki_digest(keys["issuing"]["spki"]):  # type: ignore[arg-type]  # replay refused other kinds
        raise IntegrityError("the key in issuing.pem is not the key that the issuing-key record made")


def newest_root_crl(replayed: Sequence[CeremonyRecord], root: bytes) -> bytes:
    """The root CRL with the highest number, in whatever order the records were named.

    Raises ``IntegrityError`` for a CRL that is not this root's.
    """
    certificate = x509.load_pem_x509_certificate(root)
    crls = [record.read("root.crl") for record in replayed if "root.crl" in record.outputs]
    return max(crls, key=lambda crl: read_crl(crl, certificate)[1])


def _spki_digest(text: str) -> str:
    import base64

    return spki_sha256(load_der_public_key(base64.b64decode(text)))  # type: ignore[arg-type]  # replay refused other kinds


def _config(wanted: Installation, anchor: Anchor, keys: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    def place(name: str) -> dict[str, str]:
        return {
            "token_serial": keys[name]["token_serial"],
            "key_id": keys[name]["key_id"],
            "pin_file": str(wanted.pins[name].absolute()),
        }

    config = _one_user(place) if wanted.owners is None else _separate_users(place, wanted.owners)
    config["registry"] |= {"listen": wanted.registry_listen, "url": wanted.registry_url}
    config["validation"] |= {"listen": wanted.validation_listen, "workers": 2}
    if wanted.metrics_listen is not None:
        config["metrics"] = {"listen": wanted.metrics_listen}
    token = {"module": str(wanted.module), "environment": dict(wanted.environment)}
    return {"mode": anchor.mode, "token": token, **config}


Sections = dict[str, dict[str, object]]


def _one_user(place: Callable[[str], dict[str, str]]) -> Sections:
    uid, publication = os.getuid(), "sqlite:///publication.db"
    return {
        "signer": {
            "socket": "signer.sock",
            "peers": [uid],
            "presign_peers": [uid],
            "issuing": place("issuing"),
            "ledger": place("ledger"),
        },
        "presign": {"ocsp": place("ocsp"), "publication": publication},
        "registry": {"database": "sqlite:///registry.db"},
        "validation": {"publication": publication},
    }


def _separate_users(place: Callable[[str], dict[str, str]], owners: Owners) -> Sections:
    """The same, each process with a directory of its own (``owners.lay_out``)."""
    users, publication = owners.users, "sqlite:///publication/publication.db"
    return {
        "signer": {
            "socket": "run/signer.sock",
            "peers": [users["registry"]],
            "presign_peers": [users["presign"]],
            "status_peers": [users["metrics"], 0],  # root, for `sealwrightd check`
            "issuing": place("issuing"),
            "ledger": place("ledger"),
        },
        "presign": {"ocsp": place("ocsp"), "publication": publication, "status": "status/presign.json"},
        "registry": {"database": "sqlite:///registry/registry.db"},
        "validation": {"publication": publication},
        "users": {**users, "group": owners.group},
    }


def _create_ledger(wanted: Installation, folder: Path, anchor: Anchor, keys: Mapping[str, Mapping[str, str]]) -> None:
    """Begin the ledger, once, here. The signer never makes one: an empty ledger would forget every serial."""
    os.environ.update(wanted.environment)
    module = load_module(wanted.module)
    with TokenSession.open(module, keys["ledger"]["token_serial"], Pin.from_file(wanted.pins["ledger"])) as token:
        key = private_key(token, bytes.fromhex(keys["ledger"]["key_id"]))
        if not isinstance(key, Ed25519PrivateKey):
            raise IntegrityError("the ledger key is not Ed25519")
        Ledger.create(folder / "ledger", anchor.ledger_origin, key).close()


def _beside(folder: Path) -> Path:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise StorageError(
            f"cannot write in {folder.parent}: {error.strerror}", hint="nothing was installed"
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}", hint="--ca names the folder with pki.toml, policy.md and profiles/"
        ) from error
