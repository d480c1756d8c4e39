"""A node that does not see a directory of the others, as a machine with a disk of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
NAMESPACES = (["--mount"], ["--user", "--map-root-user", "--mount"])
"""As root, and as a user where the system lets users have namespaces."""


def own_mounts() -> list[str]:
    """The command prefix that gives a process mounts of its own.

    Raises:
        RuntimeError: when this process may not: the test cannot be made, and must not pass.
    """
    for options in NAMESPACES:
        command = ["unshare", *options]
        if not subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
            return command
    raise RuntimeError("this test needs mounts of its own: run it as root, or with user namespaces")


@contextmanager
def lone_node(address: str, hidden: Path, *, cpus: int) -> Iterator[int]:
    """A node of a cluster for which a directory is empty; the process id of its starter.

    Args:
        address: of the cluster.
        hidden: the directory, which exists.
        cpus: of the node.
    """
    start = f"{BIN}/ray start --address={address} --num-cpus={cpus} --block"
    start += " --object-store-memory=100000000"
    command = [*own_mounts(), "sh", "-c", f"mount -t tmpfs none {hidden} && exec {start}"]
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment = {**kept, "PATH": f"{BIN}:{kept['PATH']}"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        started = psutil.Process(process.pid).children(recursive=True)
        for part in [psutil.Process(process.pid), *started]:
            part.kill()
        process.wait(30)
        psutil.wait_procs(started, timeout=30)
