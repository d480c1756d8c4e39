"""The test predictions of a run by domain and dataset, and what is computed of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ier_ray.data.schema import Domain
from ier_ray.errors import DataError
from ier_ray.evaluation.calibration import calibration_bins
from ier_ray.evaluation.classes import ClassFigures, per_class
from ier_ray.evaluation.comparison import Comparison, compared
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.selective import RiskCoverage, risk_coverage
from ier_ray.evaluation.summary import Evaluation, evaluate_predictions
from ier_ray.report.results import calibration_plot, confusion_plot, intervals_plot, risk_plot
from ier_ray.report.run import FinishedRun
from ier_ray.report.svg import Plot

DOMAIN_ORDER: tuple[Domain, ...] = ("ier", "fer")
"""The network that the method is for comes first."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Test predictions of one network: of one dataset, or of all together."""

    domain: Domain
    dataset: str | None
    """None: all datasets of the domain."""
    predictions: Predictions
    evaluation: Evaluation

    @classmethod
    def of(cls, domain: Domain, dataset: str | None, predictions: Predictions) -> Slice:
        """With its metrics."""
        return cls(domain, dataset, predictions, evaluate_predictions(predictions, domain=domain))

    @property
    def title(self) -> str:
        """The network and the data."""
        data = self.dataset or ", ".join(self.evaluation.datasets)
        if self.dataset is None and len(self.evaluation.datasets) > 1:
            data = "all datasets"
        return f"{self.domain.upper()} network, {data}"

    @property
    def chance(self) -> float:
        """Accuracy of guessing among the classes."""
        return 1 / len(self.evaluation.classes)


def slices_of(run: FinishedRun) -> list[Slice]:
    """Each domain's test predictions together, then those of each dataset if there are several.

    A domain with a test part of its own does not rotate in a cross-validation, and is left out.

    Raises:
        DataError: when there is no test prediction.
    """
    found: list[Slice] = []
    for domain in DOMAIN_ORDER:
        if domain not in run.settings.domains:
            continue
        if run.cross_validated and run.settings.split_plan(domain).rule == "own":
            continue
        kept = run.predictions
        tested = kept.select((kept.domains == domain) & (kept.parts == "test"))
        if not len(tested):
            raise DataError(f"{run.location}: no test prediction of domain {domain!r} was kept")
        found.append(Slice.of(domain, None, tested))
        datasets = np.unique(tested.datasets).tolist()
        if len(datasets) > 1:
            found += [
                Slice.of(domain, name, tested.select(tested.datasets == name)) for name in datasets
            ]
    return found


@dataclass(frozen=True, eq=False)
class SliceFigures:
    """What the page shows of a slice."""

    slice: Slice
    confusion: Plot
    calibration: Plot | None
    """None where there are too few images."""
    risk: Plot
    classes: list[ClassFigures]


def figures_of(one: Slice) -> SliceFigures:
    """Plots and figures of each class."""
    predictions, metrics = one.predictions, one.evaluation
    bins = calibration_bins(predictions.probabilities, predictions.labels)
    calibration = None
    if bins is not None and metrics.calibration_error is not None:
        calibration = calibration_plot(bins, one.title, error=metrics.calibration_error)
    curve = risk_coverage(predictions.probabilities, predictions.labels)
    return SliceFigures(
        slice=one,
        confusion=confusion_plot(metrics, one.title),
        calibration=calibration,
        risk=risk_plot({"network": curve}, one.title),
        classes=per_class(predictions),
    )


@dataclass(frozen=True, eq=False)
class ComparedRuns:
    """Several runs on one slice of the test images."""

    title: str
    evaluations: dict[str, Evaluation]
    """By the runs' names."""
    intervals: Plot
    risk: Plot
    pairs: list[Comparison]
    """Of runs on the same images."""
    untested: str | None
    """Which runs were not tested against others, and why."""


def compare_runs(slices: Mapping[str, Sequence[Slice]]) -> Iterator[ComparedRuns]:
    """Every slice that two runs or more have.

    Args:
        slices: of each run, by its name.
    """
    keys = dict.fromkeys((one.domain, one.dataset) for own in slices.values() for one in own)
    for key in keys:
        own = {
            name: one
            for name, all_of_run in slices.items()
            for one in all_of_run
            if (one.domain, one.dataset) == key
        }
        if len(own) > 1:
            yield _compared(own)


def _compared(own: dict[str, Slice]) -> ComparedRuns:
    pairs, untested = _tested({name: one.predictions for name, one in own.items()})
    titles = {one.title for one in own.values()}
    first = next(iter(own.values()))
    title = first.title if len(titles) == 1 else f"{first.domain.upper()} network"
    majority = max(one.evaluation.majority_share for one in own.values())
    curves: dict[str, RiskCoverage] = {
        name: risk_coverage(one.predictions.probabilities, one.predictions.labels)
        for name, one in own.items()
    }
    return ComparedRuns(
        title=title,
        evaluations={name: one.evaluation for name, one in own.items()},
        intervals=intervals_plot(
            [
                (name, one.evaluation.accuracy, one.evaluation.accuracy_interval)
                for name, one in own.items()
            ],
            title,
            "test accuracy (share of images)",
            marks={"majority class": majority, "chance": first.chance},
        ),
        risk=risk_plot(curves, title),
        pairs=pairs,
        untested=untested,
    )


def _tested(models: dict[str, Predictions]) -> tuple[list[Comparison], str | None]:
    """Comparisons of those on the same images, and what is said of the others."""
    sharing: dict[frozenset[tuple[str, int]], list[str]] = {}
    for name, own in models.items():
        images = zip(own.sample_ids.tolist(), own.folds.tolist(), strict=True)
        sharing.setdefault(frozenset(images), []).append(name)
    largest = max(sharing.values(), key=len)
    others = [name for name in models if name not in largest]
    if len(largest) == 1:
        return [], "no two of these runs were tested on the same images"
    try:
        pairs = compared({name: models[name] for name in largest})
    except DataError as error:
        return [], str(error)
    if not others:
        return pairs, None
    return pairs, f"{', '.join(others)}: not tested on the same images as {', '.join(largest)}"
