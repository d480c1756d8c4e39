"""Train once per test fold; print the mean and spread of the test folds' metrics."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from ier_ray.cluster.crossvalidation import cross_validate
from ier_ray.cluster.job import run_job
from ier_ray.training.settings import TrainSettings


def main(settings: TrainSettings) -> dict[str, Any]:
    return asdict(cross_validate(settings))


if __name__ == "__main__":
    sys.exit(run_job(TrainSettings, main, program="crossvalidate", purpose=__doc__ or ""))
