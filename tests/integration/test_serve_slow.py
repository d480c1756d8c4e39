"""Clients that send, read or do nothing, slowly: others are served, and they end."""

from __future__ import annotations

import random
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest
from support.image_files import variants
from support.mutations import DECLARED, PATHS, REQUESTS, request_of
from support.processes import descendants
from support.service import EXPLAIN, PREDICT, explain, scene
from support.service_process import HOST, ready

from ier_ray.serve.haproxy import HEADERS_S, IDLE_S

pytestmark = pytest.mark.alone

TRANSFER_S, MARGIN_S = 4, 15
PLACES = 24
"""Predictions that an ingress replica has at the same time: six batches of four."""
OPEN = 4
"""Explanations that it has at the same time."""
GROWTH_BYTES = 24 * 2**20
"""Most that a process may grow by requests that it has served before."""

Service = tuple[subprocess.Popen[str], str, Path]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with short bounds, its URL, and its log."""
    directory = tmp_path_factory.mktemp("service")
    limits = {"max_transfer_s": TRANSFER_S, "max_explanations": OPEN}
    sizes = {"max_upload_bytes": 200_000, "max_upload_pixels": 10**6}
    with ready(directory, **limits, **sizes) as (process, url):
        yield process, url, directory / "service.log"


def connected(url: str, beginning: bytes, *, buffer: int | None = None) -> socket.socket:
    """A connection on which so much has been sent."""
    opened = socket.socket()
    if buffer is not None:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    opened.settimeout(max(HEADERS_S, IDLE_S) + MARGIN_S)
    opened.connect((HOST, int(url.rpartition(":")[2])))
    opened.sendall(beginning)
    return opened


def post(path: str, body: bytes, *, accept: str = "*/*", length: int | None = None) -> bytes:
    """A request, or its beginning if a length is given that its body has not."""
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\nContent-Length: {size}\r\n\r\n"
    return head.encode() + body


def rest_of(opened: socket.socket) -> bytes:
    """All that still comes until the server ends the connection."""
    found = b""
    while part := opened.recv(65536):
        found += part
    return found


def predicted_at_once(url: str, count: int) -> list[int]:
    """Statuses of so many predictions that begin together."""
    with ThreadPoolExecutor(count) as pool, httpx.Client(timeout=60) as client:
        replies = pool.map(lambda n: client.post(f"{url}{PREDICT}", content=scene(n)), range(count))
        return [reply.status_code for reply in replies]


def test_idle_connections_do_not_keep_others_from_being_served_and_end(service: Service) -> None:
    _, url, _ = service
    beginnings: Sequence[bytes] = (
        b"",
        b"POST /v1/models/ier:predict HTTP/1.1\r\nHost: a\r\nX-",
        post(PREDICT, b"half", length=1000),
        post(EXPLAIN, b"half", length=1000),
    )
    with ExitStack() as stack:
        idle = [
            stack.enter_context(connected(url, beginnings[number % 4])) for number in range(200)
        ]
        assert len(idle) // 4 > PLACES
        assert predicted_at_once(url, PLACES // 2) == [200] * (PLACES // 2)
        assert [explain(url, seed, depth=3).status_code for seed in range(3)] == [200] * 3
        with ThreadPoolExecutor(len(idle)) as pool:
            ends = list(pool.map(rest_of, idle))
    for number, end in enumerate(ends):
        assert end.startswith(b"HTTP/1.1 408 ")
        if number % 4 >= 2:  # the service has refused it, HAProxy the others
            assert b"application/problem+json" in end
            assert b"has not arrived within 4 s" in end
    # All places are free again: that many predictions may begin together.
    assert predicted_at_once(url, PLACES) == [200] * PLACES


def test_slow_readers_hold_no_explanation_open(service: Service) -> None:
    _, url, _ = service
    stopped = threading.Event()

    def read_slowly(opened: socket.socket) -> None:
        while not stopped.wait(1):
            opened.recv(1)

    stream = "text/event-stream"
    with ExitStack() as stack, ThreadPoolExecutor(4 * OPEN) as pool:
        for seed in range(4 * OPEN):
            accept = stream if seed % 4 else "image/png"
            asked = post(f"{EXPLAIN}?depth=8", scene(seed), accept=accept)
            opened = stack.enter_context(connected(url, asked, buffer=4096))
            assert opened.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 503")
            pool.submit(read_slowly, opened)
            time.sleep(0.2)
        try:
            assert predicted_at_once(url, PLACES // 2) == [200] * (PLACES // 2)
            for seed in range(100, 100 + 2 * OPEN):
                assert explain(url, seed, depth=4).status_code == 200
        finally:
            stopped.set()


def test_damaged_requests_leave_nothing_behind(service: Service) -> None:
    """The second of two equal rounds takes no memory that the first has not taken."""
    process, url, _ = service
    files = [file for several in variants().values() for file in several]

    def run() -> None:
        draw = random.Random(0)
        with httpx.Client(timeout=30) as client:
            for number in range(REQUESTS):
                media, body = request_of(files, draw)
                path = draw.choice(PATHS)
                headers = {b"content-type": media.encode("latin-1")}
                reply = client.post(f"{url}{path}", content=body, headers=headers)
                assert reply.status_code in DECLARED, (number, reply.text)

    def memory() -> dict[str, int]:
        return {
            name: only.memory_full_info().pss
            for name in ("Ingress", "Explainer")
            for only in descendants(f"ServeReplica:ier:{name}", of=process.pid)
        }

    run()
    before = memory()
    run()
    after = memory()
    assert before.keys() == after.keys() == {"Ingress", "Explainer"}
    for name, pss in after.items():
        assert pss - before[name] < GROWTH_BYTES, name


def test_sigterm_ends_the_service_in_order(service: Service) -> None:
    process, url, log = service
    everything = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    assert process.wait(60) == 0
    said = log.read_text()
    for word in ("Traceback", "SIGTERM", "Check failed", "core dumped"):
        assert word not in said
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/healthz")
    _, left = psutil.wait_procs(everything, timeout=30)
    assert not left
