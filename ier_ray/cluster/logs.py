"""A job's log: the user reads what concerns them on standard error, a file holds everything."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from ray._private.ray_constants import LOG_PREFIX_INFO_MESSAGE
from ray._private.ray_logging import global_worker_stdstream_dispatcher
from ray._private.worker import print_to_stdstream
from ray.experimental.tqdm_ray import RAY_TQDM_MAGIC

OURS = "ier_ray"
"""Logger of the package."""
RAYS = ("ray", "ray.data")
"""Ray's loggers that print by themselves."""
PRINTER = "ray_print_logs"
"""Ray's name for what prints the output of workers; leaving the cluster removes it by this name."""

workers = logging.getLogger(f"{__name__}.workers")


@contextmanager
def job_log(program: str) -> Iterator[Path]:
    """Log to standard error and, in full, to a new file in the temporary directory.

    Standard error gets messages without tracebacks: ours, and warnings of others. What Ray logs as
    an error is also raised, so that the job reports it. The file is for whoever looks into a
    failure: the caller removes it when there was none.
    """
    handle, name = tempfile.mkstemp(prefix=f"ier_ray-{program}-", suffix=".log")
    os.close(handle)
    everything = logging.FileHandler(name, encoding="utf-8")
    everything.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    console = StandardError()
    console.setLevel(logging.INFO)
    console.setFormatter(MessageOnly())
    console.addFilter(lambda record: not is_rays(record) or record.levelno == logging.WARNING)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    logging.getLogger(OURS).setLevel(logging.DEBUG)
    for logger in map(logging.getLogger, RAYS):
        for handler in [h for h in logger.handlers if isinstance(h, logging.StreamHandler)]:
            logger.removeHandler(handler)
        logger.propagate = True
    for handler in (console, everything):
        root.addHandler(handler)
    try:
        yield Path(name)
    finally:
        for handler in (console, everything):
            root.removeHandler(handler)
            handler.close()


def is_rays(record: logging.LogRecord) -> bool:
    """Whether Ray logged a record."""
    return record.name.partition(".")[0] == "ray"


class StandardError(logging.StreamHandler[TextIO]):
    """Prints to what is standard error now: a live table takes its place while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        self.setStream(sys.stderr)
        super().emit(record)


class MessageOnly(logging.Formatter):
    """Leaves out tracebacks, whoever attached them."""

    def format(self, record: logging.LogRecord) -> str:
        """The message."""
        return record.getMessage()


class Marked(logging.Formatter):
    """Marks each line for the driver, with the token that Ray has for messages to the user."""

    def format(self, record: logging.LogRecord) -> str:
        """The marked message."""
        lines = super().format(record).splitlines()
        return "\n".join(f"{LOG_PREFIX_INFO_MESSAGE}{line}" for line in lines)


def show_in_job(trial: str | None = None) -> None:
    """Show what the package logs in this worker process to the user of the job.

    Args:
        trial: the trial of a sweep that the process works for; each line begins with its name.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(Marked(f"{trial}: %(message)s" if trial else "%(message)s"))
    logger = logging.getLogger(OURS)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


def sort_worker_output() -> None:
    """Print what workers mean for the user, and log all other output of theirs (level debug).

    For the user are lines of :func:`show_in_job`, progress bars, and news of the autoscaler.
    Whatever else workers print, tracebacks above all, repeats an error that the job reports.
    """
    global_worker_stdstream_dispatcher.remove_handler(PRINTER)
    global_worker_stdstream_dispatcher.add_handler(PRINTER, sort_lines)


def sort_lines(output: dict[str, Any]) -> None:
    """Print or log the lines that one process printed."""
    who = output.get("actor_name") or output.get("task_name") or "worker"
    shown = []
    for line in output["lines"]:
        if is_for_the_user(line) or output.get("pid") == "autoscaler":
            shown.append(line)
        else:
            workers.debug("(%s pid=%s) %s", who, output.get("pid"), line)
    if shown:
        print_to_stdstream({**output, "lines": shown}, ignore_prefix=False)


def is_for_the_user(line: str) -> bool:
    """Whether a worker's line is marked as a message, or draws a progress bar."""
    return LOG_PREFIX_INFO_MESSAGE in line or RAY_TQDM_MAGIC in line
