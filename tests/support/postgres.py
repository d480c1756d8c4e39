"""A PostgreSQL server for one test run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from ier_ray.serve.ports import free_port

INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where Debian has the server's programs."""
USER = "postgres"


def command(name: str) -> list[str]:
    """A program of the server, which never runs as root."""
    program = str(INSTALLED[-1] / name)
    return ["runuser", "-u", USER, "--", program] if os.getuid() == 0 else [program]


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a server that is ended afterwards; the name of a database follows."""
    if not INSTALLED:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory() as directory:
        if os.getuid() == 0:
            shutil.chown(directory, USER)
        data, port = Path(directory) / "data", free_port()
        options = ["--auth=trust", f"--username={USER}", "--no-sync", f"--pgdata={data}"]
        subprocess.run([*command("initdb"), *options], check=True, capture_output=True)
        listening = f"-p {port} -k {directory} -c listen_addresses=127.0.0.1"
        control = [*command("pg_ctl"), f"--pgdata={data}"]
        start = ["-w", f"--log={directory}/log", "-o", listening, "start"]
        subprocess.run([*control, *start], check=True, stdout=subprocess.DEVNULL)
        try:
            yield f"postgresql://{USER}@127.0.0.1:{port}/"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)


@contextmanager
def stopped(server: str) -> Iterator[None]:
    """The server of a URL does not answer, though its connections stay."""
    port = urlsplit(server).port
    (main,) = [
        psutil.Process(each.pid)
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    ]
    processes = [main, *main.children(recursive=True)]
    for each in processes:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            each.resume()
