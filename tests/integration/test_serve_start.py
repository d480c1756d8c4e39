"""`make serve`: one service per port, whatever clusters have died on the machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml
from support.checkpoints import save_tiny
from support.processes import free_port, wait_for
from support.runs import ROOT

from ier_ray.errors import ServiceError
from ier_ray.serve.start import claimed_port

HOST = "127.0.0.1"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The shipped configuration with a checkpoint and a port of this test."""
    content = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    content["http_options"]["port"] = free_port()
    content["applications"][0]["args"]["checkpoint"] = save_tiny(tmp_path / "checkpoint")
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def serving(config: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """The service in a process of its own."""
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    with (config.parent / "service.log").open("w") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "ier_ray.serve.start", str(config)],
            cwd=ROOT,
            env={**kept, "RAY_TMPDIR": str(temporary)},
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            yield service
        finally:
            service.terminate()
            service.wait(60)


def healthy(port: int, *, seconds: float = 120) -> bool:
    """Whether a service on the port becomes healthy in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://{HOST}:{port}/healthz", timeout=10).is_success:
                return True
        except httpx.TransportError:
            time.sleep(0.5)
    return False


@pytest.mark.timeout(300)
def test_a_second_service_on_the_port_is_refused_and_a_dead_cluster_is_no_obstacle(
    config: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    temporary = tmp_path_factory.mktemp("ray")
    (temporary / "ray").mkdir()
    (temporary / "ray" / "ray_current_cluster").write_text(f"{HOST}:{free_port()}")
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    log = config.parent / "service.log"
    with serving(config, temporary):
        wait_for(lambda: "records a Ray cluster that cannot be joined" in log.read_text())
        for _ in ("while the first starts", "while it serves"):
            second = subprocess.run(
                [sys.executable, "-m", "ier_ray.serve.start", str(config)],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert second.returncode == 1
            (line,) = second.stderr.splitlines()
            assert line.startswith(f"serve: error: cannot serve on {HOST}, port {port}: Address")
            assert healthy(port)


def test_a_claimed_port_is_open_to_sockets_that_share_it_and_free_afterwards() -> None:
    port = free_port()
    with claimed_port(HOST, port):
        for host in (HOST, "0.0.0.0"):  # noqa: S104 (nothing listens)
            with pytest.raises(ServiceError, match=f"cannot serve on {host}, port {port}: Address"):
                claimed_port(host, port)
        shared = listening(port)  # as Ray Serve does
    with shared, pytest.raises(ServiceError, match="stop the program that listens there"):
        claimed_port(HOST, port)
    claimed_port(HOST, port).close()


def test_a_service_that_has_just_ended_is_no_obstacle() -> None:
    port = free_port()
    with listening(port) as service, socket.create_connection((HOST, port)) as client:
        connection, _ = service.accept()
        connection.close()  # the side that closes first keeps the port busy for a minute
        client.recv(1)
    claimed_port(HOST, port).close()


def listening(port: int) -> socket.socket:
    service = socket.socket()
    service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    service.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    service.bind((HOST, port))
    service.listen()
    return service
