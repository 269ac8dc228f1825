"""Is a port free? Asked before anything is started, so that the answer names the port and not a child's log."""

import socket

from sealwright.errors import Unavailable


def check_port_free(listen: str) -> None:
    """Raise ``Unavailable`` when something listens on ``host:port`` already, or the host is not this machine's."""
    host, _, port = listen.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError) as error:
            raise Unavailable(
                f"cannot listen on {listen}: {getattr(error, 'strerror', None) or error}",
                hint="stop what holds the port (`ss -ltnp` names it), or set another in sealwrightd.toml",
            ) from error
