"""What the commands share: the folder, the configuration with environment and logs, and what processes take of it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sealwright.errors import InputError
from sealwright.installation.config import DaemonConfig, KeyPlace, StandbySection, load_config
from sealwright.logs import log_to_stderr

if TYPE_CHECKING:
    from sealwright.issuing.service import SignerConfig
    from sealwright.issuing.standby import OpenSource
    from sealwright.publication.config import PresignConfig
    from sealwright.registration.config import NoticesConfig
    from sealwright.validation.config import ValidationConfig

Folder = Annotated[
    Path, typer.Option("--dir", metavar="DIR", help="The installed PKI's folder.", envvar="SEALWRIGHT_DIR")
]


def begin(folder: Path, name: str) -> DaemonConfig:
    """Configuration, the token module's environment, and logs: one JSON object a line on stderr."""
    config = load_config(folder)
    own = {"signer": config.signer.environment, "presign": config.presign.environment}
    os.environ.update({**config.token.environment, **own.get(name, {})})
    log_to_stderr(name)
    return config


def presign_config(folder: Path, config: DaemonConfig) -> "PresignConfig":
    from sealwright.publication.config import PresignConfig

    serial, key_id, pin_file, module = key_place(config.presign.ocsp)
    return PresignConfig(
        folder=folder,
        socket=config.signer.socket,
        module=module or config.token.module,
        token_serial=serial,
        key_id=key_id,
        pin_file=pin_file,
        publication=config.presign.publication,
        status=config.presign.status,
        state=config.presign.status.with_suffix(".db"),
    )


def key_place(place: KeyPlace) -> tuple[str, bytes, Path, Path | None]:
    return place.token_serial, bytes.fromhex(place.key_id), place.pin_file, place.module


def notices_config(config: DaemonConfig) -> "NoticesConfig | None":
    from sealwright.hsm.pin import Pin
    from sealwright.registration.config import MailConfig, NoticesConfig

    notices = config.notices
    if notices is None:
        return None
    mail = MailConfig(**notices.mail.model_dump()) if notices.mail else None
    # Read as a PIN is: from a file of this user alone.
    webhook = Pin.from_file(notices.webhook_file).reveal().decode() if notices.webhook_file else None
    return NoticesConfig(days=notices.days, state=notices.state, webhook=webhook, mail=mail)


def validation_config(folder: Path, config: DaemonConfig, *, rebuild: bool) -> "ValidationConfig":
    from sealwright.validation.config import ValidationConfig

    section = config.validation
    host, _, port = section.listen.rpartition(":")
    return ValidationConfig(
        folder=folder,
        publication=section.publication,
        host=host,
        port=int(port),
        workers=section.workers,
        snapshot=section.snapshot,
        status_listen=section.status,
        rebuild=rebuild,
    )


def standby_section(config: DaemonConfig) -> StandbySection:
    if config.standby is None:
        raise InputError(
            "sealwrightd.toml has no [standby]", hint='source = "https://REGISTRY", or the path of the active ledger'
        )
    return config.standby


def source_opener(folder: Path, section: StandbySection) -> "OpenSource":
    from sealwright.installation.sources import open_source
    from sealwright.installed import load_installed

    installed = load_installed(folder)
    return lambda: open_source(section.source, installed, tls_ca=section.tls_ca)


def signer_config(folder: Path, config: DaemonConfig) -> "SignerConfig":
    from sealwright.issuing.service import SignerConfig, TokenKey

    return SignerConfig(
        folder=folder,
        socket=config.signer.socket,
        module=config.token.module,
        issuing=TokenKey(*key_place(config.signer.issuing)),
        ledger=TokenKey(*key_place(config.signer.ledger)),
        peers=frozenset(config.signer.peers),
        presign_peers=frozenset(config.signer.presign_peers),
        status_peers=frozenset(config.signer.status_peers),
    )
