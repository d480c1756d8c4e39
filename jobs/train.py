"""Train the FER and IER networks together; the same name and settings resume a run."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from ier_ray.cluster.job import run_job
from ier_ray.cluster.trainer import run_training
from ier_ray.tuning.retraining import TrainJobSettings


def main(settings: TrainJobSettings) -> dict[str, Any]:
    record = asdict(run_training(settings.run()))
    del record["history"]  # in the run's history.json
    return record


if __name__ == "__main__":
    sys.exit(run_job(TrainJobSettings, main, program="train", purpose=__doc__ or ""))
