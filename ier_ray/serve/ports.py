"""Ports of this machine."""

from __future__ import annotations

import socket

from ier_ray.errors import ServiceError


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def claimed_port(host: str, port: int) -> socket.socket:
    """A socket that keeps others from claiming a port, but not this service from listening there.

    It is bound as long as it is open, without listening. Only sockets that share ports, as Ray
    Serve's do, can be bound beside it.

    Raises:
        ServiceError: when the port is in use, or not to be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    claim = socket.socket(family, kind, protocol)
    try:
        # Connections of a service that has ended may linger for a minute; they are no obstacle.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.bind(address)
    except OSError as error:
        claim.close()
        raise ServiceError(
            f"cannot serve on {host}, port {port}: {error.strerror}; stop the program that listens "
            f"there, which may be another 'make serve', or change http_options.port"
        ) from error
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return claim
