"""The id of a request in all that is logged and called while it is served.

Serve keeps the id in a context variable, writes it into the lines of its own logger, and hands it
to other deployments.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from typing import TypeVar

# There is no public way to keep a request's id in calls of their own.
from ray.serve._private.utils import generate_request_id
from ray.serve.context import _set_request_context

PACKAGE = "ier_ray"
SERVE = "ray.serve"
"""Serve's logger, whose handlers write a replica's file, and the id of the request into it."""

Result = TypeVar("Result")


class ToServe(logging.Handler):
    """Hands records to Serve's logger, whatever its handlers are at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        """As the base class."""
        logger = logging.getLogger(SERVE)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)


def log_to_serve() -> None:
    """Let this replica's log have what the package logs, as ``logging_config`` says."""
    logger = logging.getLogger(PACKAGE)
    logger.setLevel(logging.DEBUG)  # Serve's logger decides
    logger.propagate = False
    logger.handlers = [ToServe()]


def in_own_call(call: Callable[[], Result]) -> Result:
    """Call a deployment for the request that is served, as one of several calls for it.

    The router takes calls with one internal id for one call.
    """

    def own() -> Result:
        _set_request_context(_internal_request_id=generate_request_id())
        return call()

    return contextvars.copy_context().run(own)
