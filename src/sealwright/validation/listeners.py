"""The sockets on the public port: one for each worker (SO_REUSEPORT), made by the parent and kept open by it.

A worker that is killed loses no listener: what connected waits in the socket's queue for the next worker. With fewer
workers than sockets, a worker listens on several.
"""

import socket

from sealwright.errors import Unavailable


def bind_listeners(host: str, port: int, count: int) -> list[socket.socket]:
    """``count`` bound sockets on one port. The address is first bound alone, so that two PKIs never share a port.

    Raises ``Unavailable`` when it is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
            port = probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise _taken(host, port, error) from error
    return bind_more(host, port, count)


def bind_more(host: str, port: int, count: int) -> list[socket.socket]:
    """On a port that is ours already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listeners: list[socket.socket] = []
    try:
        for _ in range(count):
            listener = socket.socket(family)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host.strip("[]"), port))
    except (OSError, OverflowError) as error:
        for listener in listeners:
            listener.close()
        raise _taken(host, port, error) from error
    return listeners


def share_out(listeners: list[socket.socket], workers: int) -> list[tuple[int, ...]]:
    """The file descriptors that each of so many workers listens on."""
    numbers = [each.fileno() for each in listeners]
    return [tuple(numbers[first::workers]) for first in range(workers)]


def _taken(host: str, port: int, error: Exception) -> Unavailable:
    return Unavailable(
        f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}",
        hint="stop what holds the port (`ss -ltnp` names it), or set another in sealwrightd.toml",
    )
