"""The command that Serve starts as HAProxy."""

from __future__ import annotations

import os
import subprocess

from ier_ray.serve.haproxy import COMMAND, VARIABLE


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
