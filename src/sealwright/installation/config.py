"""``sealwrightd.toml``: where each process of an installed PKI finds its token, socket, database and port.

It holds no trust and no secret: trust is the anchor and the roster, PINs are files of their own. Relative paths are
relative to the installed folder.
"""

import pwd
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sealwright.errors import InputError, NotFound, StorageError

CONFIG_NAME = "sealwrightd.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


PathText = Annotated[Path, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)]
Listen = Annotated[str, Field(pattern=r"^[0-9a-zA-Z.:\[\]-]+:[0-9]{1,5}$")]


def _uids(value: object) -> object:
    """Uids, or names of users of this machine."""
    if not isinstance(value, list):
        return value
    return tuple(_uid(each) if isinstance(each, str) else each for each in value)


def _uid(name: str) -> int:
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise ValueError(f"there is no user {name!r} on this machine") from None


Uids = Annotated[tuple[int, ...], BeforeValidator(_uids)]
Environment = Annotated[dict[str, str], Field(default_factory=dict)]
"""For the PKCS#11 module of this process; over ``[token] environment``."""


class KeyPlace(_Strict):
    """A key: its token's serial number, its CKA_ID in hex, and the file with the token's PIN.

    ``module`` when the token has another PKCS#11 module than ``[token]`` says.
    """

    token_serial: str
    key_id: Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,32}$")]
    pin_file: PathText
    module: PathText | None = None


class TokenSection(_Strict):
    module: PathText
    environment: dict[str, str] = Field(default_factory=dict)


class SignerSection(_Strict):
    socket: PathText
    peers: Uids
    presign_peers: Uids
    status_peers: Uids = ()
    environment: Environment
    issuing: KeyPlace
    ledger: KeyPlace


class PresignSection(_Strict):
    ocsp: KeyPlace
    publication: str
    status: PathText = Path("presign.json")
    environment: Environment


class RegistrySection(_Strict):
    listen: Listen
    url: str
    database: str
    tls_certificate: PathText | None = None
    tls_key: PathText | None = None


class ValidationSection(_Strict):
    listen: Listen
    publication: str
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    snapshot: PathText = Path("snapshot")
    status: Listen | None = None
    """Health and metrics of this node."""


class UsersSection(_Strict):
    """The user of each process, by name or number, and the group of those that call the signer."""

    signer: str | int
    presign: str | int
    registry: str | int
    validation: str | int
    metrics: str | int
    group: str | int


class MetricsSection(_Strict):
    """The exporter. It listens on loopback: what it says is for operators."""

    listen: Listen


class Mail(_Strict):
    """``to`` has an address for each team, and ``"*"`` for all that have none and for what is no team's."""

    server: Listen
    sender: str
    to: dict[str, str]
    starttls: bool = True


WAIT_SECONDS = 30.0
"""Longer than a token call may take: after 25 s ``hsm.supervision`` ends the process that waits for one."""


class StandbySection(_Strict):
    """Whom ``signer --standby`` follows. ``source``: the URL of a registry that serves the active signer's ledger, or
    the path of that ledger. ``wait_seconds``: between the end of the old signer's right to sign and the new one's
    beginning."""

    source: str
    tls_ca: PathText | None = None
    poll_seconds: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    wait_seconds: Annotated[float, Field(ge=0, le=3600)] = WAIT_SECONDS


class NoticesSection(_Strict):
    """``days``: before an expiry, when a notice is sent. ``state``: which were sent already. ``webhook_file`` holds the
    webhook's address, which may be a secret: it is read as a PIN is, from a file of the registry's user alone."""

    days: Annotated[tuple[int, ...], BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value)]
    state: PathText = Path("notices.json")
    webhook_file: PathText | None = None
    mail: Mail | None = None


class DaemonConfig(_Strict):
    mode: Literal["REHEARSAL", "PRODUCTION"]
    token: TokenSection
    signer: SignerSection
    presign: PresignSection
    registry: RegistrySection
    validation: ValidationSection
    metrics: MetricsSection | None = None
    notices: NoticesSection | None = None
    standby: StandbySection | None = None
    users: UsersSection | None = None


def load_config(folder: Path) -> DaemonConfig:
    """Read the configuration of an installed folder, its relative paths made absolute.

    Raises ``NotFound`` when there is none, ``StorageError`` when it cannot be read, and ``InputError`` naming the field
    that is wrong.
    """
    path = folder / CONFIG_NAME
    hint = "name the folder that `sealwrightd install` made, with --dir"
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there", hint=hint) from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}", hint=hint) from error
    try:
        return _absolute(DaemonConfig.model_validate(tomllib.loads(text)), folder.absolute())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"{path}: {field}: {first['msg']}", hint="the fields are in src/sealwright/README.md"
        ) from None


def _absolute(config: DaemonConfig, folder: Path) -> DaemonConfig:
    def place(key: KeyPlace) -> KeyPlace:
        return key.model_copy(update={"pin_file": folder / key.pin_file})

    def database(url: str) -> str:
        prefix = "sqlite:///"
        return f"{prefix}{folder / url.removeprefix(prefix)}" if url.startswith(prefix) else url

    signer = config.signer.model_copy(
        update={
            "socket": folder / config.signer.socket,
            "issuing": place(config.signer.issuing),
            "ledger": place(config.signer.ledger),
        }
    )
    tls = {
        name: folder / value
        for name in ("tls_certificate", "tls_key")
        if (value := getattr(config.registry, name)) is not None
    }
    return config.model_copy(
        update={
            "signer": signer,
            "presign": config.presign.model_copy(
                update={
                    "ocsp": place(config.presign.ocsp),
                    "publication": database(config.presign.publication),
                    "status": folder / config.presign.status,
                }
            ),
            "registry": config.registry.model_copy(update={"database": database(config.registry.database), **tls}),
            "validation": config.validation.model_copy(
                update={
                    "publication": database(config.validation.publication),
                    "snapshot": folder / config.validation.snapshot,
                }
            ),
            "standby": config.standby
            and config.standby.model_copy(
                update={
                    "source": config.standby.source
                    if "://" in config.standby.source
                    else str(folder / config.standby.source),
                    "tls_ca": config.standby.tls_ca and folder / config.standby.tls_ca,
                }
            ),
            "notices": config.notices
            and config.notices.model_copy(
                update={
                    "state": folder / config.notices.state,
                    "webhook_file": config.notices.webhook_file and folder / config.notices.webhook_file,
                }
            ),
        }
    )
