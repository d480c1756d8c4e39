"""The demo on synthetic data: shards, joint training, evaluation, explanations, report."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ier_ray import storage
from ier_ray.cluster.connection import connect
from ier_ray.cluster.explainer import explain_images
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
from ier_ray.data.parts import SplitPlan
from ier_ray.data.samples import images_from_shards
from ier_ray.data.schema import DOMAINS, Domain
from ier_ray.data.shards import RowIndex, RowReader, ShardSet
from ier_ray.data.sources import SyntheticSource
from ier_ray.data.splits import SplitIndex
from ier_ray.emotions import FOUR
from ier_ray.experiments.report import ReportContent, render_report
from ier_ray.explain.metrics import cue_mass_ratio
from ier_ray.explainer_settings import ExplainerSettings
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
    logger.info("explaining %d scenes", len(images))
    explained = explain_images(
        checkpoint,
        images,
        storage.join(output, "explanations"),
        scheme=FOUR,
        settings=settings.explainer,
        workers=2,
        worker_cpus=0.5,
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
    content = ReportContent(
        title="ier_ray demo",
        settings=train,
        trained=trained,
        evaluations=list(trained.test.values()),
        images=images,
        explained=explained,
        figures=headline_figures(result),
        places={
            "report": result.report,
            "checkpoint": checkpoint,
            "shards": storage.join(output, "shards"),
            "run (history, last checkpoint)": trained.run,
            "explanations": storage.join(output, "explanations"),
        },
    )
    storage.write_bytes(result.report, render_report(content).encode())
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


def logistic_regression_accuracy(location: str, plan: SplitPlan, *, size: int = 64) -> float:
    """Test accuracy of multinomial logistic regression on raw pixels, as a control."""
    split = SplitIndex.read(ShardSet.open(location), plan)
    reader = RowReader.of(split.shards, size)

    def pixels(index: RowIndex) -> tuple[Any, Any]:
        read = reader.read(index.positions)
        images = np.concatenate([rows["image"] for rows in read], dtype=np.float64)
        return images.reshape(len(index), -1) / 255.0, index.label

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=100, tol=1e-2))
    model.fit(*pixels(split.train))
    return float(model.score(*pixels(split.test)))


def headline_figures(result: DemoResult) -> dict[str, str]:
    """The figures at the top of the report."""
    return {
        "FER accuracy": f"{result.fer_accuracy:.3f}",
        "IER accuracy": f"{result.ier_accuracy:.3f}",
        "logistic regression, IER": f"{result.logistic_regression_ier_accuracy:.3f}",
        "cue mass ratio": f"{result.cue_mass_ratio:.1f}×",
        "seconds": f"{result.seconds:.0f}",
    }
