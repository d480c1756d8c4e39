"""What every job does: parse settings, run, print one JSON line, and return an exit code."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import ray
import yaml

from ier_ray.command_line import from_command_line
from ier_ray.config import SettingsT
from ier_ray.errors import IerRayError, SettingsError

logger = logging.getLogger(__name__)

FAILED, MISUSED = 1, 2


def run_job(
    settings_class: type[SettingsT],
    body: Callable[[SettingsT], dict[str, Any]],
    *,
    program: str,
    purpose: str,
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse the command line, run, and report. ``body`` joins a cluster when its checks are done.

    The resolved settings are logged first. The last line of standard output is ``body``'s record
    as JSON. The exit code is 2 for bad settings and 1 for other expected errors; anything else
    is a bug and raises.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        settings = from_command_line(settings_class, arguments, program=program, purpose=purpose)
        logger.info("%s settings:\n%s", program, _indented(settings.model_dump(mode="json")))
        record = body(settings)
    except IerRayError as error:
        cause = getattr(error, "cause", error)  # a Ray task's error without its traceback
        print(f"{program}: error: {cause}", file=sys.stderr)  # noqa: T201
        return MISUSED if isinstance(error, SettingsError) else FAILED
    finally:
        ray.shutdown()  # prints the workers' last lines before ours
    print(json.dumps(record, allow_nan=False), flush=True)  # noqa: T201
    return 0


def _indented(values: dict[str, Any]) -> str:
    lines = yaml.safe_dump(values, sort_keys=False).rstrip().splitlines()
    return "\n".join(f"  {line}" for line in lines)
