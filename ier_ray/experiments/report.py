"""One self-contained HTML page about a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from ier_ray import __version__
from ier_ray.cluster.explainer import ExplainedImage
from ier_ray.cluster.trainer import TrainResult
from ier_ray.data.samples import NamedImage
from ier_ray.evaluation.summary import Evaluation
from ier_ray.experiments import figures
from ier_ray.training.settings import TrainSettings


@dataclass(frozen=True)
class ReportContent:
    """The content of a report."""

    title: str
    settings: TrainSettings
    trained: TrainResult
    evaluations: Sequence[Evaluation]
    images: Sequence[NamedImage]
    explained: Sequence[ExplainedImage]
    """One record for each of ``images``."""
    figures: dict[str, str]
    """Headline figures, in order."""
    places: dict[str, str]
    """Locations of the run's files, by name."""


def render_report(content: ReportContent) -> str:
    """The page, with all pictures embedded."""
    environment = Environment(
        loader=PackageLoader("ier_ray.experiments", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    pairs = zip(content.images, content.explained, strict=True)
    return environment.get_template("report.html").render(
        content=content,
        version=__version__,
        curves=figures.learning_curves(
            content.trained.history, content.settings.schedule.warmup_epochs
        ),
        confusions=[(e, figures.confusion(e)) for e in content.evaluations],
        explained=[(record, figures.explained_pair(image, record)) for image, record in pairs],
        settings=yaml.safe_dump(content.settings.model_dump(mode="json"), sort_keys=False),
    )
