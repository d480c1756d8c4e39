"""Starting the servers, and how much CPU time their processes use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from ier_ray.serve.ports import free_port
from serving.load import HOST, OK

ROOT = Path(__file__).parents[2]
SERVE_CONFIG = ROOT / "serve_config.yaml"
START_S, STOP_S, SETTLE_S = 240, 40, 60
"""Longest time to start, to stop, and to work off a load, in seconds."""
OURS, ONE_HOP, BARE = "ours", "onehop", "bare"
PATHS = {OURS: "/v1/models/ier:predict", ONE_HOP: "/onehop/ier:predict", BARE: "/ier:predict"}
"""Where each contender predicts the image in a request's body."""


@dataclass(frozen=True)
class CpuSeconds:
    """CPU time of a server's processes so far."""

    service: float
    """Proxy, replicas and the actors that they own."""
    cluster: float
    """What Ray runs in any case: raylet, GCS, dashboard, Serve's controller, idle workers."""

    @property
    def total(self) -> float:
        """Of all processes."""
        return self.service + self.cluster


@dataclass(frozen=True)
class Server:
    """One or two contenders that run."""

    process: psutil.Process
    port: int
    log: Path

    def cpu_seconds(self, contender: str) -> CpuSeconds:
        """CPU time so far; replicas of the other contender count for the cluster."""
        service = cluster = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            try:
                with process.oneshot():
                    used, title = process.cpu_times(), " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            if contender == BARE or serves(title, contender):
                service += used.user + used.system
            else:
                cluster += used.user + used.system
        return CpuSeconds(service, cluster)

    def settle(self) -> None:
        """Wait until nothing is left of the last load."""
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            before = self.cpu_seconds(OURS).total
            time.sleep(0.5)
            if self.cpu_seconds(OURS).total - before < 0.15:
                return
        print(f"still busy {SETTLE_S} s after the last load")

    def wait_until_ready(self, contender: str, image: bytes) -> None:
        """Wait for the first prediction.

        Raises:
            SystemExit: when the server ends or does not answer, with the end of its log.
        """
        url = f"http://{HOST}:{self.port}{PATHS[contender]}"
        until = time.monotonic() + START_S
        while time.monotonic() < until and self.process.status() != psutil.STATUS_ZOMBIE:
            try:
                if httpx.post(url, content=image, timeout=10).status_code == OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.2)
        raise SystemExit(f"{contender} did not start:\n{self.log.read_text()[-4000:]}")


def serves(title: str, contender: str) -> bool:
    """Whether a process of the cluster works for a contender's requests.

    Args:
        title: the command line, which Ray sets to the name of the actor.
    """
    if "ServeReplica:" in title:
        return (f"ServeReplica:{ONE_HOP}:" in title) == (contender == ONE_HOP)
    if "haproxy" in title or "ProxyActor" in title:
        return True
    idle = ("ray::IDLE", "ray::ServeController")
    return contender == OURS and title.startswith("ray::") and not title.startswith(idle)


@contextmanager
def serve_applications(checkpoint: str, threads: int, directory: Path) -> Iterator[Server]:
    """Our config as `make serve` starts it, with the one-hop application added.

    Both share the cluster and its proxy; only the one that is measured has load.
    """
    config = yaml.safe_load(SERVE_CONFIG.read_text())
    (ours,) = config["applications"]
    ours["args"]["checkpoint"] = checkpoint
    environment = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
    for deployment in ours["deployments"]:
        deployment["ray_actor_options"]["runtime_env"] = environment
    config["applications"].append(
        {
            "name": ONE_HOP,
            "route_prefix": f"/{ONE_HOP}",
            "import_path": "serving.onehop:build",
            "args": {"checkpoint": checkpoint, "threads": threads},
        }
    )
    with served(config, directory) as server:
        yield server


@contextmanager
def served(config: dict[str, Any], directory: Path) -> Iterator[Server]:
    """A Serve config as `make serve` starts it, on a free port."""
    port = free_port()
    config["http_options"] |= {"host": HOST, "port": port}
    file = directory / "serve.yaml"
    file.write_text(yaml.safe_dump(config))
    (directory / "ray").mkdir(exist_ok=True)
    command = [sys.executable, "-m", "ier_ray.serve.start", str(file)]
    with running(command, port, directory) as server:
        yield server


@contextmanager
def bare_server(checkpoint: str, threads: int, directory: Path) -> Iterator[Server]:
    """uvicorn in one process."""
    port = free_port()
    command = [sys.executable, "-m", "serving.bare", checkpoint, str(threads), str(port)]
    with running(command, port, directory) as server:
        yield server


@contextmanager
def running(command: Sequence[str], port: int, directory: Path) -> Iterator[Server]:
    """A process, and all that it starts, until the end of the block."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "PYTHONPATH": str(ROOT / "benchmarks"),
        "RAY_AUTH_MODE": "disabled",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
        "RAY_TMPDIR": str(directory),  # no other program finds this cluster
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    log = directory / f"{port}.log"
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=subprocess.STDOUT
        )
    process = psutil.Process(started.pid)
    try:
        yield Server(process, port, log)
    finally:
        everything = [process, *process.children(recursive=True)]
        started.terminate()
        _, left = psutil.wait_procs(everything, timeout=STOP_S)
        for one in left:
            one.kill()
        psutil.wait_procs(left, timeout=STOP_S)
        started.wait()
