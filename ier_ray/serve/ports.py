"""Ports of this machine."""

from __future__ import annotations

import random
import socket

from ier_ray.errors import ServiceError

UNASSIGNED = range(20000, 32768)
"""Above the ports of Ray's workers, below those that Linux gives to sockets without a port."""


def free_port() -> int:
    """A port of this machine that nothing listens on.

    It is none that the system gives away by itself: a program that starts meanwhile, such as one of
    Ray's many processes, could be given it.

    Raises:
        ServiceError: when none is free.
    """
    for port in random.SystemRandom().sample(UNASSIGNED, len(UNASSIGNED)):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise ServiceError(f"no port from {UNASSIGNED[0]} to {UNASSIGNED[-1]} is free")


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
