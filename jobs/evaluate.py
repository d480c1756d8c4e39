"""Metrics of a checkpoint on test images: a table, a file of predictions, one JSON line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from pydantic import Field, model_validator

from ier_ray import storage
from ier_ray.cluster.evaluation import Asked, choose_rows, predict
from ier_ray.cluster.job import run_job
from ier_ray.config import Settings
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import Evaluation, evaluate_predictions
from ier_ray.evaluation.tables import as_table
from ier_ray.training.checkpoint import CheckpointManifest, read_checkpoint_manifest


class EvaluateSettings(Settings):
    """Which checkpoint to evaluate, and on which data."""

    checkpoint: str
    """Checkpoint directory or s3:// URI, as printed by train.py or tune.py."""
    fer: str | list[str] = Field(default_factory=list)
    """Shard sets of facial expressions, one or several. If omitted, FER is not evaluated."""
    ier: str | list[str] = Field(default_factory=list)
    """Shard sets of generic images, one or several. If omitted, IER is not evaluated."""
    part: Asked = "test"
    """Part of the data the checkpoint was trained with: test, val or train, by the folds or split
    in its manifest; or all rows, for whole sets of other data."""
    allow_seen: bool = False
    """Also evaluate on images that trained or selected the checkpoint. They are labeled as seen in
    the table and the file: figures on them are no result."""
    adjust_prior: bool = False
    """Also report figures after adjusting the probabilities from the class frequencies of training
    to those of the validation part (both are in the checkpoint's manifest)."""
    flip: bool = False
    """Average the probabilities of each image and its mirror image."""
    output: str | None = None
    """File for the predictions; by default predictions-PART.parquet beside the checkpoint."""
    workers: int = Field(1, ge=1)
    """Copies of the network that predict in parallel."""

    @model_validator(mode="after")
    def _something_to_do(self) -> EvaluateSettings:
        if not self.fer and not self.ier:
            raise ValueError("give at least one shard set: --fer or --ier")
        return self


def main(settings: EvaluateSettings) -> dict[str, Any]:
    checkpoint = storage.absolute(settings.checkpoint)
    manifest = read_checkpoint_manifest(checkpoint)
    sets = [
        choose_rows(
            checkpoint,
            manifest,
            location,
            domain=domain,
            parts=[settings.part],
            allow_seen=settings.allow_seen,
        )
        for domain in DOMAINS
        for location in locations(settings, domain)
    ]
    predicted = predict(checkpoint, sets, workers=settings.workers, flip=settings.flip)
    predictions = Predictions.concatenated(predicted)
    output = (
        settings.output or f"{checkpoint.rpartition('/')[0]}/predictions-{settings.part}.parquet"
    )
    predictions.write(output)
    each = [
        measured(found, rows.domain, manifest, settings)
        for found, rows in zip(predicted, sets, strict=True)
    ]
    print(as_table(each), file=sys.stderr)
    record: dict[str, Any] = {
        domain: asdict(measured(predictions, domain, manifest, settings))
        for domain in DOMAINS
        if locations(settings, domain)
    }
    if len(sets) > len(record):
        record["sets"] = [
            {"location": rows.shards.location, **asdict(evaluation)}
            for rows, evaluation in zip(sets, each, strict=True)
        ]
    return {**record, "predictions": output}


def locations(settings: EvaluateSettings, domain: Domain) -> list[str]:
    given: str | list[str] = getattr(settings, domain)
    return [given] if isinstance(given, str) else given


def measured(
    predictions: Predictions,
    domain: Domain,
    manifest: CheckpointManifest,
    settings: EvaluateSettings,
) -> Evaluation:
    priors = manifest.priors(domain) if settings.adjust_prior else (None, None)
    return evaluate_predictions(
        predictions, domain=domain, trained_prior=priors[0], target_prior=priors[1]
    )


if __name__ == "__main__":
    sys.exit(run_job(EvaluateSettings, main, program="evaluate", purpose=__doc__ or ""))
