"""The command that Serve starts as HAProxy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.processes import wait_for

from ier_ray.serve.errors import PROBLEM, Problem, RefusedError
from ier_ray.serve.haproxy import (
    COMMAND,
    PROBLEMS,
    VARIABLE,
    configurations,
    on_one_address,
    problem,
)
from ier_ray.serve.ports import free_port


def test_the_command_becomes_haproxy_also_where_serve_is_told_to_use_it() -> None:
    done = subprocess.run(
        [COMMAND, "-v"],
        env={**os.environ, VARIABLE: str(COMMAND)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("HAProxy version")


SERVES = """
frontend prometheus
    bind :9101
    mode http
frontend http_frontend
    bind {host}:8123
    default_backend bind
listen stats
  bind *:8404
  stats enable
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_the_statistics_listen_where_the_service_does(host: str) -> None:
    serves = SERVES.format(host=host)
    expected = serves.replace(" :9101", f" {host}:9101").replace("*:8404", f"{host}:8404")
    assert on_one_address(serves) == expected


def test_what_is_no_configuration_of_serves_stays_as_it_is() -> None:
    other = "frontend other\n    bind *:80\n"
    assert on_one_address(other) == other


def test_the_configurations_are_those_that_haproxy_reads() -> None:
    assert configurations(["-db", "-f", "one.cfg", "-sf", "12"]) == [Path("one.cfg")]


CONFIGURATION = """global
    maxconn 100
defaults
    mode http
    timeout connect 1s
    timeout client 3600s
    timeout server 5s
    retries 0
    errorfile 503 {directory}/500.http
frontend http_frontend
    bind 127.0.0.1:{port}
    use_backend app if {{ path_beg /app }}
    default_backend default_backend
backend default_backend
    http-request return status 404 content-type text/plain lf-string "Path \'%[path]\' not found."
backend app
    server away 127.0.0.1:1
"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """HAProxy with an application whose replica is away."""
    port = free_port()
    (tmp_path / "500.http").write_text("HTTP/1.1 500 Internal Server Error\r\n\r\n")
    file = tmp_path / "haproxy.cfg"
    file.write_text(CONFIGURATION.format(directory=tmp_path, port=port))
    with subprocess.Popen([COMMAND, "-db", "-f", file]) as proxy:
        try:
            wait_for(lambda: answers(port), seconds=20)
            yield f"http://127.0.0.1:{port}"
        finally:
            proxy.terminate()


def answers(port: int) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{port}/")
    except httpx.TransportError:
        return False
    return True


@pytest.mark.parametrize(
    ("path", "status", "error", "retry"),
    [("/app/x", 503, "busy", "1"), ("/other", 404, "not_found", None)],
)
def test_haproxys_own_errors_are_problems(
    url: str, path: str, status: int, error: str, retry: str | None
) -> None:
    reply = httpx.get(f"{url}{path}", timeout=20)
    assert (reply.status_code, reply.headers["content-type"]) == (status, PROBLEM)
    assert (reply.json()["status"], reply.json()["error"]) == (status, error)
    assert reply.headers.get("retry-after") == retry


@pytest.mark.parametrize("status", PROBLEMS)
def test_a_problem_is_written_as_the_interface_writes_it(status: int) -> None:
    said = problem(status)
    found = json.loads(said.partition(" string ")[2].strip("'"))
    expected = RefusedError(status, *PROBLEMS[status]).problem("")
    assert Problem(instance="", **found) == expected
    assert said.count("'") == 2  # HAProxy's quotes
