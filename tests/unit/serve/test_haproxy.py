"""The command that Serve starts as HAProxy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ier_ray.serve.haproxy import COMMAND, VARIABLE, configurations, on_one_address


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
