"""The demo on synthetic data: shards, joint training, evaluation, explanations, report."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from pydantic import Field

from ier_ray import storage
from ier_ray.cluster.connection import connect
from ier_ray.cluster.ingest import ingest
from ier_ray.cluster.runs import check_capacity
from ier_ray.cluster.trainer import run_training
from ier_ray.config import (
    Location,
    Seed,
    SettingPath,
    Settings,
    parse_settings,
    read_settings_file,
)
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.samples import images_from_shards
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.experiments.demo_stages import (
    compare_layers,
    explain,
    first_of_each_class,
    logistic_regression_accuracy,
)
from ier_ray.explain.metrics import cue_mass_ratio
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.report.page import render_report
from ier_ray.report.run import LAYERWISE
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import check_initial_weights

logger = logging.getLogger(__name__)


class DemoSettings(Settings):
    """The demo; all its files lie below one directory."""

    output: Location = "runs/demo"
    """Directory of the demo's shards, run, explanations and report."""
    train_config: Location = "configs/demo.yaml"
    """Training settings file; the demo sets name, storage and data."""
    samples: int = Field(4000, ge=40)
    """Drawings per domain: a fifth is the validation part, a fifth the test part."""
    seed: Seed = 0
    """Seed of the drawings."""
    explained_per_class: int = Field(6, ge=1)
    """Test scenes per class to explain."""
    explainer: ExplainerSettings = ExplainerSettings(baseline="mean")
    """Hidden regions get the mean color: black would itself be a strong cue on a bright scene."""
    sharp_per_class: int = Field(2, ge=1)
    """Of these scenes per class, those with a sharp map as well."""
    sharp: ExplainerSettings = ExplainerSettings(preset="sharp")
    """Settings of the sharp maps."""
    layers_per_class: int = Field(30, ge=2)
    """Test scenes per class whose embeddings in each layer are compared."""


@dataclass(frozen=True)
class DemoResult:
    """The record that the demo prints."""

    fer_accuracy: float
    ier_accuracy: float
    logistic_regression_ier_accuracy: float
    cue_mass_ratio: float
    """Fraction of positive attribution inside the cue masks over their fraction of the area."""
    checkpoint: str
    report: str
    seconds: float


def run_demo(settings: DemoSettings) -> DemoResult:
    """Run every stage on the cluster that this process has joined."""
    started = time.perf_counter()
    output = storage.absolute(settings.output)
    train = demo_training(settings, output)
    check_initial_weights(train, FOUR)
    storage.check_writable(output, directory=True)
    connect()
    check_capacity(train)
    shards = make_shards(settings, output, size=train.model.image_size)
    logger.info("training: %d epochs", train.schedule.epochs)
    trained = run_training(train)
    checkpoint = trained.checkpoint
    linear = logistic_regression_accuracy(shards["ier"], train.split_plan("ier"))
    images = images_from_shards(
        ShardSet.open(shards["ier"]),
        per_class=settings.explained_per_class,
        fold=train.data.test_fold,
        preprocessing=train.preprocessing,
    )
    explanations = storage.join(output, "explanations")
    explained = explain(images, settings.explainer, checkpoint, explanations)
    few = first_of_each_class(images, settings.sharp_per_class)
    explain(few, settings.sharp, checkpoint, f"{explanations}-sharp")
    compare_layers(
        checkpoint,
        shards["ier"],
        storage.join(trained.run, LAYERWISE),
        per_class=settings.layers_per_class,
        seed=settings.seed,
    )
    masks = [image.cue_mask for image in images if image.cue_mask is not None]
    ratio = cue_mass_ratio([record.density for record in explained], masks)
    result = DemoResult(
        fer_accuracy=trained.test["fer"].accuracy,
        ier_accuracy=trained.test["ier"].accuracy,
        logistic_regression_ier_accuracy=linear,
        cue_mass_ratio=ratio,
        checkpoint=checkpoint,
        report=storage.join(output, "report.html"),
        seconds=time.perf_counter() - started,
    )
    page = render_report(
        [trained.run],
        title="ier_ray demo",
        explanations=[explanations, f"{explanations}-sharp"],
        tiles=headline_figures(result),
    )
    storage.write_bytes(result.report, page.encode())
    return result


def demo_training(settings: DemoSettings, output: str) -> TrainSettings:
    """The file's training settings with the demo's name, storage and data."""
    values = read_settings_file(settings.train_config, setting="train_config")
    own: dict[SettingPath, str] = {("storage",): output, ("name",): "train"}
    own |= {("data", domain): storage.join(output, "shards", domain) for domain in DOMAINS}
    return parse_settings(TrainSettings, values, source=settings.train_config, flags=own)


def make_shards(settings: DemoSettings, output: str, *, size: int) -> dict[Domain, str]:
    """Draw and ingest both domains."""
    source = SyntheticSource(samples=settings.samples, size=size, seed=settings.seed)
    # No two drawings are the same, so looking for duplicates would only take time.
    layout = LayoutSettings(seed=settings.seed, rows_per_shard=512, duplicates="keep")
    locations = {domain: storage.join(output, "shards", domain) for domain in DOMAINS}
    for domain, location in locations.items():
        logger.info("drawing %d %s images", settings.samples, domain)
        ingest(source, domain, location, scheme=FOUR, layout=layout)
    return locations


def headline_figures(result: DemoResult) -> dict[str, str]:
    """The figures at the top of the report."""
    return {
        "FER accuracy": f"{result.fer_accuracy:.3f}",
        "IER accuracy": f"{result.ier_accuracy:.3f}",
        "logistic regression, IER": f"{result.logistic_regression_ier_accuracy:.3f}",
        "cue mass ratio": f"{result.cue_mass_ratio:.1f}×",
        "seconds": f"{result.seconds:.0f}",
    }
