"""Search for the best settings of a training run; the same name and settings resume a sweep."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from ier_ray.cluster.job import run_job
from ier_ray.cluster.tuner import run_sweep
from ier_ray.tuning.settings import SweepSettings


def main(settings: SweepSettings) -> dict[str, Any]:
    return asdict(run_sweep(settings))


if __name__ == "__main__":
    sys.exit(run_job(SweepSettings, main, program="tune", purpose=__doc__ or ""))
