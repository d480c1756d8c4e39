"""Start the service on this machine: ``python -m ier_ray.serve.start serve_config.yaml``.

This is ``serve run`` with HAProxy, after two checks. Ray Serve would share a port with a service
that listens there already, each getting some of the requests, and would wait for a cluster that is
dead.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click
import ray
import yaml

from ier_ray.cluster.connection import join
from ier_ray.errors import IerRayError
from ier_ray.serve.access import require_tokens
from ier_ray.serve.front import ENVIRONMENT
from ier_ray.serve.haproxy import COMMAND, VARIABLE
from ier_ray.serve.ports import claimed_port, free_port

logger = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    """Serve what a Serve config file describes until Ctrl-C or SIGTERM; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    (config,) = arguments
    set_environment()
    from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 (they read the environment)
    from ray.serve.scripts import cli  # noqa: PLC0415

    deployed = ServeDeploySchema.model_validate(yaml.safe_load(Path(config).read_text()))
    http = deployed.http_options
    try:
        for application in deployed.applications:
            require_tokens(http.host, application.args.get("tokens"))
        with claimed_port(http.host, http.port):
            join()
            until_terminated(lambda: cli.main(["run", config], standalone_mode=False))
            return 0
    except IerRayError as error:
        print(f"serve: error: {error}", file=sys.stderr)  # noqa: T201
    return 1


def until_terminated(serve: Callable[[], object]) -> None:
    """Serve with the cluster that this process has joined; end Serve and Ray in order.

    Ray would abort this process on SIGTERM, and leave Serve running in a cluster that it joined.
    """
    from ray.serve import shutdown  # noqa: PLC0415 (reads the environment)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        serve()
    except (KeyboardInterrupt, click.Abort):
        logger.info("shutting down")
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)  # it ends already
        shutdown()
        ray.shutdown()


def interrupt(_: int, __: FrameType | None) -> None:
    """End the service as Ctrl-C does."""
    raise KeyboardInterrupt


def set_environment() -> None:
    """Environment of a cluster that this process starts, beside others on this machine."""
    own = {
        VARIABLE: str(COMMAND),
        "SERVE_SOCKET_REUSE_PORT_ENABLED": "1",  # HAProxy's too is bound beside the claim
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(free_port()),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(free_port()),
    }
    for name, value in (ENVIRONMENT | own).items():
        os.environ.setdefault(name, value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
