"""The service as `make serve` starts it, in a process and a cluster of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from ier_ray.serve.ports import free_port
from support.checkpoints import save_tiny
from support.processes import wait_for
from support.runs import ROOT
from support.service import explain

HOST = "127.0.0.1"


def config_in(directory: Path, **arguments: Any) -> Path:
    """The shipped configuration with a checkpoint, a free port and jobs of a test, in a file.

    Args:
        arguments: of the application.
    """
    content = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    content["http_options"]["port"] = free_port()
    args = content["applications"][0]["args"]
    # Small batches: the gate refuses beyond six of them.
    args |= {"checkpoint": save_tiny(directory / "checkpoint"), "max_batch_size": 4}
    args |= {"jobs": {"storage": str(directory / "jobs")}, **arguments}
    path = directory / "serve.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@contextmanager
def serving(
    config: Path, *, address: str | None = None, record: str | None = None, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """The service in a process of its own, in a cluster of its own or one that runs.

    Args:
        record: the address of a cluster that is on record on the machine.
        environment: more of the process.
    """
    temporary = Path(tempfile.mkdtemp(prefix="ier-"))  # short: Ray puts sockets there
    (temporary / "ray").mkdir()
    if record is not None:
        (temporary / "ray" / "ray_current_cluster").write_text(record)
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    if address is not None:
        kept["RAY_ADDRESS"] = address
    with (config.parent / "service.log").open("w") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "ier_ray.serve.start", str(config)],
            cwd=ROOT,
            env={**kept, **environment, "RAY_TMPDIR": str(temporary)},
            stdout=log,
            stderr=log,
            text=True,
        )
        try:
            yield service
        finally:
            service.terminate()
            service.wait(60)
            shutil.rmtree(temporary, ignore_errors=True)


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


@contextmanager
def ready(directory: Path, **arguments: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service that explains, and its URL.

    Args:
        arguments: of the application.
    """
    config = config_in(directory, **arguments)
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    with serving(config) as process:
        assert healthy(port), (directory / "service.log").read_text()[-4000:]
        url = f"http://{HOST}:{port}"
        wait_for(lambda: explain(url, 0, depth=1).is_success)
        yield process, url
