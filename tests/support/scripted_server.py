"""A small HTTP server whose replies a test writes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Scripted:
    """A running server.

    Attributes:
        replies: one for each request, in their order; the last one is for all that follow.
        seen: method and path of each request, and its headers.
    """

    url: str
    replies: list[Callable[[BaseHTTPRequestHandler], None]]
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)


def reply(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    """A whole reply."""

    def written(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"content-length": str(len(body))} | (headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return written


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """No reply: the connection ends."""
    handler.close_connection = True


@contextmanager
def scripted(*replies: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[Scripted]:
    """A server with these replies."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            number = len(found.seen)
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.seen.append((f"{self.command} {self.path}", headers))
            found.replies[min(number, len(found.replies) - 1)](self)

        do_POST = do_GET

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Scripted(f"http://127.0.0.1:{server.server_address[1]}", list(replies))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
