"""Clusters that do not answer: a record is passed over, what RAY_ADDRESS names is an error."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import grpc
import pytest
from support.heads import Head, head_node
from support.processes import wait_for
from support.runs import ROOT

from ier_ray.cluster.addresses import address_to_join
from ier_ray.errors import ClusterError
from ier_ray.serve.ports import free_port

pytestmark = pytest.mark.alone

Server = Callable[[], AbstractContextManager[int]]

WITHIN = 40.0
"""Seconds in which a job says that a cluster is dead, and has joined another."""
JOIN = """
import logging, time
import ray
from ier_ray.cluster.connection import connect
logging.basicConfig(format="%(message)s")
started = time.monotonic()
try:
    connect()
    print(ray.get_runtime_context().gcs_address, time.monotonic() - started)
except Exception as error:
    print(type(error).__name__, error)
"""


def environment(**changes: str | None) -> dict[str, str]:
    """This process's, with changes; None removes a variable."""
    changed = {**os.environ, "RAY_ADDRESS": None, "RAY_TMPDIR": None, **changes}
    return {name: value for name, value in changed.items() if value is not None}


def join(**changes: str | None) -> subprocess.CompletedProcess[str]:
    """What a process that joins a cluster prints: the cluster's address and the seconds it took."""
    return subprocess.run(
        [sys.executable, "-c", JOIN],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def ingest(output: Path, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """`jobs/ingest.py` on a few drawings."""
    flags = ("--source=synthetic", "--samples=40", "--size=32", f"--output={output}")
    return subprocess.run(
        [sys.executable, str(ROOT / "jobs" / "ingest.py"), *flags],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def web_server() -> Iterator[int]:
    """A program that accepts connections and speaks another protocol."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def silent_server() -> Iterator[int]:
    """A program that accepts connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@contextmanager
def other_grpc_server() -> Iterator[int]:
    """A program that speaks gRPC, but not Ray's services."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None)


@contextmanager
def nobody() -> Iterator[int]:
    """A port where nothing listens."""
    yield free_port()


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with head_node() as found:
        yield found


def recorded(directory: Path, content: bytes) -> Path:
    """A record in Ray's directory."""
    record = directory / "ray_current_cluster"
    record.write_bytes(content)
    return record


def test_a_live_cluster_on_record_is_joined(head: Head) -> None:
    done = join(RAY_TMPDIR=head.temporary)
    assert done.stdout.split()[0].endswith(f":{head.port}")
    assert "records a Ray cluster" not in done.stderr


@pytest.mark.parametrize("address", ["127.0.0.1:{head.port}", "{head.client}"])
def test_a_live_cluster_that_is_named_is_joined(head: Head, address: str) -> None:
    def joins() -> bool:
        done = join(RAY_ADDRESS=address.format(head=head))
        return done.stdout.split()[0].endswith(f":{head.port}")

    wait_for(joins)  # Ray Client starts a process for each client, which may take long


def test_local_means_a_new_cluster_whatever_is_on_record(head: Head) -> None:
    done = join(RAY_ADDRESS="local", RAY_TMPDIR=head.temporary)
    assert not done.stdout.split()[0].endswith(f":{head.port}")
    assert "records a Ray cluster" not in done.stderr


def test_a_cluster_that_died_is_named_and_the_job_goes_on(tmp_path: Path) -> None:
    with head_node() as dead:
        address = dead.record.read_text()
        dead.kill()
        assert dead.record.exists()
        joined = join(RAY_TMPDIR=dead.temporary)
        assert f"{dead.record} records a Ray cluster that cannot be joined" in joined.stderr
        assert f": {address}: nothing there speaks" in joined.stderr
        assert float(joined.stdout.split()[1]) < WITHIN
        done = ingest(tmp_path, RAY_TMPDIR=dead.temporary)
    assert done.returncode == 0, done.stderr
    assert "remove that file if the cluster is gone" in done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["ier"]["rows"] == 40


def test_a_cluster_without_its_node_here_is_not_waited_for(tmp_path: Path) -> None:
    """Its control service lives, but its node on this machine was killed."""
    with head_node() as half:
        half.process.send_signal(signal.SIGSTOP)  # it would end the rest
        raylet = next(part for part in half.parts() if part.name() == "raylet")
        raylet.kill()
        done = join(RAY_TMPDIR=half.temporary)
    assert "it has no node on this machine" in done.stderr
    assert float(done.stdout.split()[1]) < WITHIN


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This process without a named cluster; returns the directory of a new record."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray"


def test_without_a_record_ray_starts_a_cluster(alone: Path) -> None:
    assert address_to_join() is None


@pytest.mark.parametrize("server", [nobody, web_server, silent_server, other_grpc_server])
def test_another_program_on_a_recorded_port_is_no_cluster(
    server: Server, alone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with server() as port:
        record = recorded(alone, f"127.0.0.1:{port}".encode())
        started = time.monotonic()
        assert address_to_join() == "local"
        assert time.monotonic() - started < WITHIN / 2
    message = caplog.messages[-1]  # Ray names other instances on the machine
    assert message.startswith(f"{record} records a Ray cluster that cannot be joined: ")
    assert f":{port}: " in message
    assert record.exists()


@pytest.mark.parametrize("content", [b"", b"no address", b"\xff\xfe\x00", b"host:port", b":"])
def test_a_damaged_record_is_no_cluster(
    content: bytes, alone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = recorded(alone, content)
    assert address_to_join() == "local"
    message = caplog.messages[-1]
    assert message.startswith(f"{record} records a Ray cluster that cannot be joined: ")
    assert len(message.splitlines()) == 1


def test_a_record_that_cannot_be_read_is_no_cluster(
    alone: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (alone / "ray_current_cluster").mkdir()
    assert address_to_join() == "local"
    assert "Is a directory" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("127.0.0.1:{port}", nobody),
        ("127.0.0.1:{port}", web_server),
        ("127.0.0.1:{port}", silent_server),
        ("127.0.0.1:{port}", other_grpc_server),
        ("ray://127.0.0.1:{port}", nobody),
        ("ray://127.0.0.1:{port}", silent_server),
        ("http://127.0.0.1:{port}", web_server),
        ("nowhere.invalid:{port}", nobody),
        ("somewhere", nobody),
        (" local", nobody),
    ],
)
def test_a_named_cluster_that_does_not_answer_is_an_error(
    address: str, server: Server, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server() as port:
        given = address.format(port=port)
        monkeypatch.setenv("RAY_ADDRESS", given)
        recorded(alone, b"127.0.0.1:1")  # does not count
        started = time.monotonic()
        with pytest.raises(ClusterError) as found:
            address_to_join()
        assert time.monotonic() - started < WITHIN / 2
    message = str(found.value)
    assert message.startswith(f"RAY_ADDRESS is {given!r}, but no Ray cluster can be joined there: ")
    assert len(message.splitlines()) == 1


def test_a_job_says_so_in_one_line(tmp_path: Path) -> None:
    given = f"127.0.0.1:{free_port()}"
    started = time.monotonic()
    done = ingest(tmp_path / "out", RAY_ADDRESS=given)
    assert time.monotonic() - started < WITHIN
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith(f"ingest: error: RAY_ADDRESS is {given!r}, but")
    assert "Traceback" not in done.stderr
    assert "(log:" not in done.stderr


def test_a_cluster_that_wants_a_token_refuses_in_one_line() -> None:
    with head_node(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="secret" * 8) as closed:
        named = join(RAY_ADDRESS=f"127.0.0.1:{closed.port}")
        recorded = join(RAY_TMPDIR=closed.temporary)
        opened = join(
            RAY_TMPDIR=closed.temporary, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="secret" * 8
        )
    for refused in (named, recorded):
        (line,) = refused.stdout.splitlines()
        assert line.startswith("ClusterError Ray cannot join or start a cluster: ")
    assert opened.stdout.split()[0].endswith(f":{closed.port}")


def test_only_one_place_joins_clusters() -> None:
    """What holds for one job holds for all."""
    files = [*(ROOT / "ier_ray").rglob("*.py"), *(ROOT / "jobs").glob("*.py")]
    joining = [path.name for path in files if "ray.init(" in path.read_text()]
    assert joining == ["connection.py"]
