"""A TCP proxy in front of an HTTP server that fails what is sent through it, byte by byte."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase
from typing import Literal

REFUSAL = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Fault = Literal["cut", "refuse"]
"""How a request fails."""


class CuttingProxy(socketserver.ThreadingTCPServer):
    """Passes requests on until their bodies have had ``budget`` bytes together, then fails them.

    How: ``cut`` passes on what the budget has left of a body and cuts both connections; ``refuse``
    answers 503 for the server. Requests without a body always pass. ``failures`` bounds how many
    requests fail, None: all.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, server: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.server = server
        self.lock = threading.Lock()
        self.heal()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fail_after(self, budget: int, how: Fault = "cut", *, failures: int | None = None) -> None:
        self.budget, self.how, self.failures = budget, how, failures
        self.failed = 0

    def heal(self) -> None:
        self.fail_after(2**62)

    def allowed(self, length: int) -> int:
        """How many bytes of a request's body may pass; all of them, or it fails."""
        with self.lock:
            passing = min(length, self.budget)
            if passing == length or self.failed == self.failures:
                self.budget -= passing
                return length
            self.budget = 0
            self.failed += 1
            return passing


class Relay(socketserver.StreamRequestHandler):
    """One connection of a client, and one to the server."""

    server: CuttingProxy
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with socket.create_connection(self.server.server) as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            answers = threading.Thread(target=self.answer, args=(upstream,), daemon=True)
            answers.start()
            try:
                while head := read_head(self.rfile):
                    if not self.forward(head, upstream):
                        break
            except OSError:
                pass  # the other end hung up
            finally:
                cut(upstream)
                cut(self.connection)
                answers.join()

    def forward(self, head: bytes, upstream: socket.socket) -> bool:
        """Send a request on; whether all of it went."""
        length = content_length(head)
        allowed = self.server.allowed(length)
        if allowed < length and self.server.how == "refuse":
            self.connection.sendall(REFUSAL)
            return False
        upstream.sendall(head)
        left = allowed
        while left and (piece := self.rfile.read1(min(left, 2**16))):
            upstream.sendall(piece)
            left -= len(piece)
        return allowed == length

    def answer(self, upstream: socket.socket) -> None:
        try:
            while piece := upstream.recv(2**16):
                self.connection.sendall(piece)
        except OSError:
            pass  # the other end hung up
        cut(self.connection)


def read_head(stream: BufferedIOBase) -> bytes:
    """A request up to its empty line; nothing where the client has hung up."""
    lines = []
    while line := stream.readline():
        lines.append(line)
        if line == b"\r\n":
            return b"".join(lines)
    return b""


def content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def cut(connection: socket.socket) -> None:
    with suppress(OSError):  # where it is cut
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxying(server: tuple[str, int]) -> Iterator[CuttingProxy]:
    with CuttingProxy(server) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
