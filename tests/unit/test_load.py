"""The load generator of the benchmarks and of tests of the service."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from scipy.stats import kstest
from serving.load import (
    BROKEN,
    GAVE_UP,
    HOST,
    OK,
    OVERLOADED,
    Load,
    Outcome,
    Reply,
    arrivals,
    message,
    offer,
    percentile,
)


class Echo(BaseHTTPRequestHandler):
    """Replies with the body; path and query say after how long and with which status."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, CountingServer)
        with server.under_way():
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, delay = self.path.strip("/").split("/")
            time.sleep(float(delay))
        if int(status) == BROKEN:
            self.close_connection = True
            return
        self.send_response(int(status))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class CountingServer(ThreadingHTTPServer):
    """Knows the largest number of requests that were under way together."""

    request_queue_size = 128
    now, most = 0, 0

    def __init__(self) -> None:
        super().__init__((HOST, 0), Echo)
        self._lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """Clients that gave up are no news."""

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        yield
        with self._lock:
            self.now -= 1


@pytest.fixture
def server() -> Iterator[CountingServer]:
    with CountingServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


def reply(status: int, *, due: float, done: float) -> Reply:
    return Reply(0, due, due, done, status, b"")


def test_arrivals_are_a_poisson_process() -> None:
    found = arrivals(50, 200, seed=3)
    assert (np.diff(found) >= 0).all()
    assert found.min() >= 0
    assert found.max() < 200
    gaps = np.diff(found)
    assert kstest(gaps, "expon", args=(0, 1 / 50)).pvalue > 0.01
    counts = [len(arrivals(50, 2, seed)) for seed in range(400)]
    assert np.mean(counts) == pytest.approx(100, abs=2)
    assert np.var(counts) == pytest.approx(100, rel=0.25)


def test_the_seed_decides_the_arrivals() -> None:
    np.testing.assert_array_equal(arrivals(20, 5, seed=1), arrivals(20, 5, seed=1))
    assert not np.array_equal(arrivals(20, 5, seed=1)[:5], arrivals(20, 5, seed=2)[:5])


def test_percentiles_are_observed_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, percent) for percent in (1, 50, 95, 99, 100)] == [1, 50, 95, 99, 100]
    assert percentile([4.0, 1.0, 3.0], 50) == 3
    assert percentile([1.0, 7.0], 99) == 7
    assert math.isnan(percentile([], 50))


def test_latency_counts_from_the_scheduled_arrival_and_leaves_out_rejections() -> None:
    outcome = Outcome(
        (
            Reply(0, due=1.0, sent=2.9, done=3.0, status=OK, body=b""),
            reply(OVERLOADED, due=1.0, done=1.001),
            reply(GAVE_UP, due=0.0, done=5.0),
            reply(BROKEN, due=1.0, done=1.001),
        ),
        client_cpu_s=0.0,
    )
    assert outcome.latency_ms(50) == 2000
    assert outcome.latency_ms(100) == 5000
    assert outcome.lag_ms == pytest.approx(1900)
    assert outcome.rps == pytest.approx(1 / 3)  # until the last good reply
    assert outcome.count(OVERLOADED) == 1
    assert Outcome((), 0.0).rps == 0


def test_replies_are_those_to_their_messages(server: CountingServer) -> None:
    bodies = [f"{number}".encode() * 1000 for number in range(7)]
    messages = [message("/200/0.01", body) for body in bodies]
    outcome = offer(Load(rate=100, seconds=0.5, seed=4), server.server_port, messages)
    assert {reply.status for reply in outcome.replies} == {OK}
    assert all(reply.body == bodies[reply.number % 7] for reply in outcome.replies)
    due = [reply.due for reply in sorted(outcome.replies, key=lambda reply: reply.number)]
    np.testing.assert_array_equal(due, arrivals(100, 0.5, seed=4))
    assert 0 < outcome.client_cpu_s < 0.5


def test_a_stalled_server_is_charged_for_what_came_meanwhile(server: CountingServer) -> None:
    load = Load(rate=60, seconds=0.5, connections=1)
    outcome = offer(load, server.server_port, [message("/200/0.05")])
    count = len(outcome.replies)
    assert outcome.count(OK) == count == len(arrivals(60, 0.5, seed=0))
    assert server.most == 1
    assert outcome.latency_ms(100) >= 1e3 * (0.05 * count - 0.5)
    assert outcome.lag_ms >= 1e3 * (0.05 * (count - 1) - 0.5)


def test_a_closed_loop_keeps_its_connections_busy(server: CountingServer) -> None:
    outcome = offer(
        Load(rate=None, seconds=0.5, connections=3), server.server_port, [message("/200/0.05")]
    )
    assert server.most == 3
    assert 6 <= outcome.count(OK) <= 30
    assert outcome.rps <= 3 / 0.05


@pytest.mark.parametrize(
    ("path", "status"),
    [("/503/0", OVERLOADED), ("/200/3", GAVE_UP), (f"/{BROKEN}/0", BROKEN)],
)
def test_other_fates(server: CountingServer, path: str, status: int) -> None:
    load = Load(rate=30, seconds=0.3, patience=0.2 if status == GAVE_UP else 30)
    outcome = offer(load, server.server_port, [message(path)])
    assert {reply.status for reply in outcome.replies} == {status}
    assert len(outcome.replies) == len(arrivals(30, 0.3, seed=0))
    if status == GAVE_UP:
        assert outcome.latency_ms(50) >= 200
    else:
        assert math.isnan(outcome.latency_ms(50))


def test_nobody_listens() -> None:
    with CountingServer() as server:
        port = server.server_port
    outcome = offer(Load(rate=30, seconds=0.2), port, [message("/200/0")])
    assert {reply.status for reply in outcome.replies} == {BROKEN}
