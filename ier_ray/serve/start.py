"""Start the service on this machine: ``python -m ier_ray.serve.start serve_config.yaml``.

This is ``serve run`` with HAProxy, after two checks. Ray Serve would share a port with a service
that listens there already, each getting some of the requests, and would wait for a cluster that is
dead.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import yaml

from ier_ray.cluster.connection import join
from ier_ray.errors import IerRayError
from ier_ray.serve.access import require_tokens
from ier_ray.serve.front import ENVIRONMENT
from ier_ray.serve.haproxy import COMMAND, VARIABLE
from ier_ray.serve.ports import claimed_port, free_port


def main(arguments: list[str]) -> int:
    """Serve what a Serve config file describes until Ctrl-C; returns the exit code of a refusal."""
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
            cli.main(["run", config])  # uses the cluster that this process has joined
    except IerRayError as error:
        print(f"serve: error: {error}", file=sys.stderr)  # noqa: T201
    return 1


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
