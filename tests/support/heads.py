"""Head nodes of their own, as `ray start --head` gives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from ier_ray.cluster.addresses import why_no_client
from ier_ray.serve.ports import free_port

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Head:
    """A head node that was started."""

    temporary: str
    """Its directory; with ``RAY_TMPDIR`` there, the machine's record is this cluster's."""
    port: int
    dashboard: str
    client: str
    process: subprocess.Popen[bytes]

    @property
    def record(self) -> Path:
        """The record of the cluster for others on the machine."""
        return Path(self.temporary, "ray", "ray_current_cluster")

    def parts(self) -> list[psutil.Process]:
        """The processes that it started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        """End all its processes at once, so that nothing is cleaned up."""
        started = self.parts()
        for part in [self.process, *started]:
            part.kill()
        self.process.wait(30)
        psutil.wait_procs(started, timeout=30)


@contextmanager
def head_node(**variables: str) -> Iterator[Head]:
    """A head node with 4 CPUs, killed at the end.

    Args:
        variables: more of its environment.
    """
    temporary = tempfile.mkdtemp(prefix="ier-head-")
    port, dashboard, client = free_port(), free_port(), free_port()
    command = [
        str(BIN / "ray"),
        "start",
        "--head",
        "--block",
        "--num-cpus=4",
        "--object-store-memory=300000000",
        "--node-ip-address=127.0.0.1",
        "--dashboard-host=127.0.0.1",
        f"--port={port}",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={free_port()}",
        f"--ray-client-server-port={client}",
    ]
    kept = {k: v for k, v in os.environ.items() if k not in ("RAY_ADDRESS", "PYTHONPATH")}
    kept["PATH"] = f"{BIN}:{kept['PATH']}"
    process = subprocess.Popen(
        command, env={**kept, "RAY_TMPDIR": temporary, **variables}, stdout=subprocess.DEVNULL
    )
    found = Head(
        temporary,
        port,
        f"http://127.0.0.1:{dashboard}",
        f"ray://127.0.0.1:{client}",
        process,
    )
    try:
        wait_for(found)
        yield found
    finally:
        if process.poll() is None:
            found.kill()
        shutil.rmtree(temporary, ignore_errors=True)


def wait_for(head: Head, *, seconds: float = 60) -> None:
    """Wait until the head is on record, takes jobs, and Ray Client can connect to it."""
    deadline = time.monotonic() + seconds
    while not (
        head.record.exists() and answers(head.dashboard) and why_no_client(head.client) is None
    ):
        assert time.monotonic() < deadline, "the head node did not start in time"
        time.sleep(0.5)


def answers(dashboard: str) -> bool:
    try:
        JobSubmissionClient(dashboard).list_jobs()
    except AuthenticationError:  # it wants a token
        return True
    except (ConnectionError, RuntimeError):
        return False
    return True
