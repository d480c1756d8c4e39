"""Connections that do nothing, or send or read slowly."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence

from serving.load import HOST

SMALL = 4096
"""Bytes that the system receives for a slow reader."""


class Crowd:
    """Sockets that are opened again when the server ends them.

    Args:
        idle: what is sent on each connection, after which nothing follows.
        slow: requests whose replies are read by one byte per second.
    """

    def __init__(self, port: int, idle: Sequence[bytes], slow: Sequence[bytes]) -> None:
        self._port = port
        self._sends = (*idle, *slow)
        self._slow_from = len(idle)
        self._sockets: list[socket.socket] = []
        self.reopened = 0

    def open(self) -> None:
        """Open all connections."""
        for number in range(len(self._sends)):
            self._sockets.append(self._opened(number))

    def close(self) -> None:
        """Close them."""
        for each in self._sockets:
            each.close()

    def turn(self) -> None:
        """Read a byte from slow connections; open those again that have been ended."""
        for number, each in enumerate(self._sockets):
            try:
                found = each.recv(1 if number >= self._slow_from else 65536)
            except BlockingIOError:
                continue  # nothing has come, and it is open
            except OSError:
                found = b""
            if not found:
                each.close()
                self._sockets[number] = self._opened(number)
                self.reopened += 1

    def _opened(self, number: int) -> socket.socket:
        opened = socket.socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        opened.connect((HOST, self._port))
        opened.sendall(self._sends[number])
        opened.setblocking(False)
        return opened


@contextlib.contextmanager
def crowded(port: int, idle: Sequence[bytes], slow: Sequence[bytes]) -> Iterator[Crowd]:
    """A crowd during a block."""
    crowd, ended = Crowd(port, idle, slow), threading.Event()

    def turns() -> None:
        while not ended.wait(1.0):
            crowd.turn()

    crowd.open()
    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield crowd
    finally:
        ended.set()
        thread.join()
        crowd.close()
