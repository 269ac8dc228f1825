"""The registry under granian: one process that accepts, one that works. TLS wherever it leaves this machine."""

import functools
import ipaddress
import socket
from pathlib import Path
from typing import Any

from granian import Granian
from granian.constants import Interfaces

from sealwright.api.app import create_app
from sealwright.errors import InputError, PolicyViolation, Unavailable
from sealwright.logs import dict_config
from sealwright.registration.config import RegistryConfig
from sealwright.registration.registry import Registry

_LOGGING = dict_config("registry")
_LOGGING["loggers"]["_granian"] = {"handlers": ["stderr"], "level": "WARNING", "propagate": False}


def serve_registry(config: RegistryConfig, *, listen: str, tls: tuple[Path | None, Path | None] = (None, None)) -> None:
    """Serve until SIGTERM or SIGINT.

    ``listen`` is HOST:PORT, ``tls`` the certificate chain and key as PEM files. Raises ``PolicyViolation`` (API-TLS)
    off loopback without TLS, ``Unavailable`` when the port is taken.
    """
    host, port = split_listen(listen)
    certificate, key = tls
    if (certificate is None) != (key is None):
        raise InputError("tls_certificate and tls_key go together", hint="both in [registry] of sealwrightd.toml")
    if certificate is None and not is_loopback(host):
        raise PolicyViolation(
            f"the registry would listen on {host} without TLS",
            rule="API-TLS",
            hint="set tls_certificate and tls_key in [registry], or listen on 127.0.0.1",
        )
    for path in (certificate, key):
        if path is not None and not path.is_file():
            raise InputError(f"the TLS file {path} is not there")
    Registry.open(config).database.close()  # what would stop the worker is said here, once, by its name
    _check_free(host, port)
    server = Granian(
        "sealwright.api.app:create_app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        workers=1,
        websockets=False,
        ssl_cert=certificate,
        ssl_key=key,
        log_dictconfig=_LOGGING,
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    )
    server.serve(target_loader=functools.partial(_load, config), wrap_loader=False)


def _load(config: RegistryConfig) -> Any:
    return create_app(config)


def split_listen(listen: str) -> tuple[str, int]:
    """``127.0.0.1:8790`` or ``[::1]:8790``."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(f"the address to listen on is {listen!r}; wanted HOST:PORT")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """By number only, apart from ``localhost``: a name that resolves to loopback today may not tomorrow."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Unavailable(
                f"cannot listen on {host}:{port}: {error.strerror}", hint="is another registry running there?"
            ) from error
