"""Who I am and whom I ask: ``config.toml`` in $SEALWRIGHT_HOME or ~/.config/sealwright, made by ``sealwright init``.

The PKI id in it is the trust; the server's URL is only where to ask. No secret is in it.
"""

import ipaddress
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from sealwright.client.files import write_file
from sealwright.durable import read_file
from sealwright.errors import InputError, NotReady, PolicyViolation
from sealwright.statements.wire import Digest, Name, WireModel, parse_model

CONFIG_NAME = "config.toml"


def check_server(url: str) -> str:
    """The URL without a slash at its end. CLIENT-TLS: plain HTTP only to this machine itself."""
    parts = urlsplit(url)
    try:
        right = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        right = False
    if not right or parts.username or parts.query or parts.fragment:
        raise InputError(f"the server is {url[:200]!r}; wanted https://HOST[:PORT]")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise PolicyViolation(
            f"the server is {url[:200]!r}: plain HTTP to another machine",
            rule="CLIENT-TLS",
            hint="use https://; http:// is for 127.0.0.1, localhost and ::1 only",
        )
    return url.rstrip("/")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ClientConfig(WireModel):
    server: Annotated[str, AfterValidator(check_server)]
    pki_id: Digest
    person: Name
    key: Annotated[str, Field(min_length=1)]
    """Path of the SSH key: a private key, or a ``.pub`` whose private half is in an agent or a FIDO token."""
    tls_ca: str | None = None
    """PEM file of the CAs that the server's TLS certificate may be under; None for those of the system."""

    @property
    def key_file(self) -> Path:
        return Path(self.key).expanduser()


def home() -> Path:
    """Where this client keeps what it knows."""
    named = os.environ.get("SEALWRIGHT_HOME")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "sealwright"


def is_set_up(folder: Path) -> bool:
    return (folder / CONFIG_NAME).exists()


def load_config(folder: Path) -> ClientConfig:
    """Raises ``NotReady`` before ``sealwright init``, ``InputError`` naming the field that is wrong."""
    path = folder / CONFIG_NAME
    if not path.exists():
        raise NotReady(
            f"this client is not set up: there is no {path}",
            hint="sealwright init --server URL --pki-id HEX --person NAME --key ~/.ssh/id_ed25519",
        )
    try:
        value = tomllib.loads(read_file(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}", hint="run `sealwright init` again with --replace") from error
    return parse_model(ClientConfig, value, str(path))


def save_config(folder: Path, config: ClientConfig) -> None:
    # A JSON string is a TOML basic string, as long as nothing beyond the BMP is escaped.
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in config if value is not None]
    write_file(folder / CONFIG_NAME, ("\n".join(lines) + "\n").encode(), mode=0o600, replace=True)
