"""Jobs in processes of their own, which tests interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import yaml

from ier_ray.training.settings import TrainSettings
from ier_ray.tuning.settings import SweepSettings
from support.runs import ROOT

Job = subprocess.Popen[str]


def kill(job: Job) -> None:
    """End a job and what it has started, if it runs."""
    if job.poll() is None:
        os.killpg(job.pid, signal.SIGKILL)
    job.communicate(timeout=30)


def start_job(
    settings: TrainSettings | SweepSettings, directory: Path, address: str, log: Path | None = None
) -> Job:
    """`jobs/train.py` or `jobs/tune.py` on a cluster, in a process group of its own.

    Args:
        log: file for what it prints on standard error; by default it goes where ours goes.
    """
    script = "tune.py" if isinstance(settings, SweepSettings) else "train.py"
    config = directory / f"{settings.name}.yaml"
    config.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    with ExitStack() as stack:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "jobs" / script), "--config", str(config)],
            env={**os.environ, "RAY_ADDRESS": address, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=stack.enter_context(log.open("w")) if log else None,
            text=True,
            start_new_session=True,
        )
