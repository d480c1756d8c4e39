"""Accuracy, F1 and confusion matrix of a checkpoint on the held-out fold of both domains."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from pydantic import Field

from ier_ray.cluster.evaluation import evaluate
from ier_ray.cluster.job import run_job
from ier_ray.config import Settings
from ier_ray.data.schema import Domain


class EvaluateSettings(Settings):
    """Which checkpoint to evaluate, and on which data."""

    checkpoint: str
    """Checkpoint directory or s3:// URI, as printed by train.py or tune.py."""
    fer: str | None = None
    """Shard set of facial expressions. If omitted, this domain is not evaluated."""
    ier: str | None = None
    """Shard set of generic images. If omitted, this domain is not evaluated."""
    val_fold: int = Field(0, ge=0)
    """Fold that was held out in training."""
    workers: int = Field(1, ge=1)
    """Copies of the network that predict in parallel."""


def main(settings: EvaluateSettings) -> dict[str, Any]:
    locations: dict[Domain, str | None] = {"fer": settings.fer, "ier": settings.ier}
    return {
        domain: asdict(
            evaluate(
                settings.checkpoint,
                location,
                domain=domain,
                val_fold=settings.val_fold,
                workers=settings.workers,
            )
        )
        for domain, location in locations.items()
        if location is not None
    }


if __name__ == "__main__":
    sys.exit(run_job(EvaluateSettings, main, program="evaluate", purpose=__doc__ or ""))
