"""What every job does: parse settings, run, print one JSON line, and return an exit code."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import ray
import yaml

from ier_ray.cluster.failures import for_the_user, in_one_line
from ier_ray.cluster.logs import job_log
from ier_ray.command_line import from_command_line
from ier_ray.config import SettingsT
from ier_ray.errors import IerRayError, SettingsError

logger = logging.getLogger(__name__)

FAILED, MISUSED, INTERRUPTED = 1, 2, 130


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
    as JSON. The exit code is 2 for bad settings, 1 for other errors and 130 after Ctrl-C. An error
    is one line on standard error. Where more is known, that line names a log file that has it.
    """
    try:
        settings = from_command_line(settings_class, arguments, program=program, purpose=purpose)
    except SettingsError as error:
        _print_error(f"{program}: error: {error}")
        return MISUSED
    with job_log(program) as log:
        logger.info("%s settings:\n%s", program, _indented(settings.model_dump(mode="json")))
        code, log_helps = 0, False
        try:
            record = json.dumps(body(settings), allow_nan=False)
        except (Exception, KeyboardInterrupt) as error:
            message, code = _told(error)
            log_helps = ray.is_initialized() or not isinstance(error, IerRayError)
            logger.debug("%s", message, exc_info=error)
        finally:
            ray.shutdown()  # prints the workers' last lines before ours
    if not log_helps:
        log.unlink()
    if code:
        _print_error(f"{program}: {message}" + (f" (log: {log})" if log_helps else ""))
    else:
        print(record, flush=True)  # noqa: T201
    return code


def _told(error: BaseException) -> tuple[str, int]:
    """An error in one line, and the exit code that it leads to."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    known = for_the_user(error)
    if known is None:
        return f"unexpected error: {in_one_line(error)}; please report it with the log", FAILED
    return f"error: {known}", MISUSED if isinstance(known, SettingsError) else FAILED


def _print_error(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201


def _indented(values: dict[str, Any]) -> str:
    lines = yaml.safe_dump(values, sort_keys=False).rstrip().splitlines()
    return "\n".join(f"  {line}" for line in lines)
