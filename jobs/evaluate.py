"""Metrics of a checkpoint on test images: a table, a file of predictions, one JSON line."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from pydantic import Field, model_validator

from ier_ray import storage
from ier_ray.cluster.evaluation import Asked, choose_sets, predict
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Locations, Settings
from ier_ray.data.fitting import Given
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.summary import Evaluation, evaluate_predictions
from ier_ray.evaluation.tables import as_table
from ier_ray.training.checkpoint import read_checkpoint_manifest

Frequencies = dict[str, float] | None
Priors = tuple[Frequencies, Frequencies]
"""Class frequencies of training, and those to adjust to."""


class EvaluateSettings(Settings):
    """Which checkpoint to evaluate, and on which data."""

    checkpoint: Location
    """Checkpoint directory or s3:// URI, as printed by train.py or tune.py."""
    fer: Locations = Field(default_factory=list)
    """Shard sets of facial expressions, one or several. If omitted, FER is not evaluated."""
    ier: Locations = Field(default_factory=list)
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
    output: Location | None = None
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
    given = [Given("fer", location, "fer") for location in settings.fer]
    given += [Given("ier", location, "ier") for location in settings.ier]
    sets = choose_sets(
        checkpoint, manifest, given, parts=[settings.part], allow_seen=settings.allow_seen
    )
    domains = [domain for domain in DOMAINS if any(rows.domain == domain for rows in sets)]
    none: Priors = (None, None)
    priors = {d: manifest.priors(d) if settings.adjust_prior else none for d in domains}
    output = (
        settings.output or f"{checkpoint.rpartition('/')[0]}/predictions-{settings.part}.parquet"
    )
    storage.check_writable(output)
    predicted = predict(checkpoint, sets, workers=settings.workers, flip=settings.flip)
    predictions = Predictions.concatenated(predicted)
    predictions.write(output)
    each = [
        measured(found, rows.domain, priors[rows.domain])
        for found, rows in zip(predicted, sets, strict=True)
    ]
    print(as_table(each), file=sys.stderr)
    record: dict[str, Any] = {
        domain: asdict(measured(predictions, domain, priors[domain])) for domain in domains
    }
    if len(sets) > len(record):
        record["sets"] = [
            {"location": rows.shards.location, **asdict(evaluation)}
            for rows, evaluation in zip(sets, each, strict=True)
        ]
    return {**record, "predictions": output}


def measured(predictions: Predictions, domain: Domain, priors: Priors) -> Evaluation:
    return evaluate_predictions(
        predictions, domain=domain, trained_prior=priors[0], target_prior=priors[1]
    )


if __name__ == "__main__":
    sys.exit(run_job(EvaluateSettings, main, program="evaluate", purpose=__doc__ or ""))
