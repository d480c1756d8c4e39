"""One self-contained page about finished runs, from their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from ier_ray import __version__, storage
from ier_ray.data.schema import Domain
from ier_ray.evaluation.confident_errors import most_confident_errors
from ier_ray.evaluation.summary import FOLD_FIGURES, FoldTable, fold_table
from ier_ray.report.curves import learning_curves
from ier_ray.report.explanations import read_explanations
from ier_ray.report.gallery import (
    MOST_ERRORS,
    MOST_EXPLAINED,
    ShownError,
    ShownExplanation,
    confident_errors,
    shown_explanation,
)
from ier_ray.report.heat import bar_colors
from ier_ray.report.layers import layer_plots
from ier_ray.report.pictures import pictures_of
from ier_ray.report.results import intervals_plot
from ier_ray.report.run import LAYERWISE, FinishedRun, distinct_names, read_run
from ier_ray.report.slices import Slice, SliceFigures, compare_runs, figures_of, slices_of
from ier_ray.report.svg import Plot
from ier_ray.training.run_files import HISTORY, PREDICTIONS

Tiles = dict[str, str]


@dataclass(frozen=True, eq=False)
class RunSection:
    """What the page says of one run."""

    name: str
    run: FinishedRun
    slices: list[Slice]
    headline: Plot
    figures: list[SliceFigures]
    folds: list[FoldTable]
    """Of a cross-validation, one per domain."""
    curves: list[Plot]
    explained: list[ShownExplanation]
    left_out: int
    """Explained images that are not shown."""
    errors: dict[Domain, list[ShownError]]
    missing: str | None
    """What to tell of pictures that are not there."""
    layers: list[Plot]
    settings: str
    files: list[tuple[str, str]]
    """What, and where it is."""


def render_report(
    runs: Sequence[str],
    *,
    title: str,
    explanations: Sequence[str] = (),
    tiles: Tiles | None = None,
) -> str:
    """The page about one run, or about several and how they differ.

    Args:
        runs: directories of finished runs or cross-validations, on local disk or S3.
        explanations: directories of explanations of the last run, beside those that lie in the
            runs' own directories.
        tiles: figures to show at the top, by name.

    Raises:
        SettingsError: when a run or its explanations are missing, a run is not finished, or it is
            given twice.
        DataError, CheckpointError, StorageError: when a file is damaged or cannot be read.
    """
    found = [read_run(location) for location in runs]
    names = distinct_names(found)
    beside = [storage.absolute(directory) for directory in explanations]
    sections = [
        run_section(run, name, beside if run is found[-1] else [])
        for run, name in zip(found, names, strict=True)
    ]
    environment = Environment(
        loader=PackageLoader("ier_ray.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        title=title,
        sections=sections,
        compared=list(compare_runs({one.name: one.slices for one in sections})),
        tiles=tiles or {},
        bar=bar_colors(),
        fold_figures=FOLD_FIGURES,
        version=__version__,
    )


def run_section(run: FinishedRun, name: str, beside: Sequence[str]) -> RunSection:
    """Everything about one run."""
    slices = slices_of(run)
    directories = list(dict.fromkeys([*run.explanations, *beside]))
    explained = read_explanations(directories)
    wrong = [
        sample
        for one in slices
        if one.dataset is None
        for sample in most_confident_errors(one.predictions, most=MOST_ERRORS).sample_ids.tolist()
    ]
    pictures, missing = pictures_of(run, [*(one.name for one in explained), *wrong])
    shown = [shown_explanation(one, pictures.get(one.name)) for one in explained]
    return RunSection(
        name=name,
        run=run,
        slices=slices,
        headline=headline(slices),
        figures=[figures_of(one) for one in slices],
        folds=[
            fold_table(run.predictions, domain=one.domain)
            for one in slices
            if run.cross_validated and one.dataset is None
        ],
        curves=list(
            learning_curves(
                [training.history for training in run.trainings],
                warmup_epochs=run.settings.schedule.warmup_epochs,
                best_epochs=[training.manifest.epoch for training in run.trainings],
            )
        ),
        explained=shown[:MOST_EXPLAINED],
        left_out=len(shown[MOST_EXPLAINED:]),
        errors={
            one.domain: confident_errors(one, pictures, shown)
            for one in slices
            if one.dataset is None
        },
        missing=missing,
        layers=[] if run.layerwise is None else list(layer_plots(run.layerwise)),
        settings=yaml.safe_dump(run.settings.model_dump(mode="json"), sort_keys=False),
        files=files_of(run, directories),
    )


def headline(slices: Sequence[Slice]) -> Plot:
    """Test accuracies beside what needs no network."""
    rows = [
        (one.title, one.evaluation.accuracy, one.evaluation.accuracy_interval) for one in slices
    ]
    first = slices[0]
    marks = {"chance": first.chance}
    shares = {round(one.evaluation.majority_share, 6) for one in slices}
    if len(shares) == 1:
        marks = {"majority class": first.evaluation.majority_share, **marks}
    return intervals_plot(rows, "Test accuracy", "accuracy (share of images)", marks=marks)


def files_of(run: FinishedRun, explanations: Sequence[str]) -> list[tuple[str, str]]:
    """Where everything is."""
    found = [("run", run.location), ("test predictions", storage.join(run.location, PREDICTIONS))]
    for training in run.trainings:
        of = f" of {training.fold}" if run.cross_validated else ""
        found.append((f"checkpoint{of}", training.checkpoint))
        found.append((f"history{of}", storage.join(training.location, HISTORY)))
    if run.layerwise is not None:
        found.append(("layers", storage.join(run.location, LAYERWISE)))
    return [*found, *(("explanations", directory) for directory in explanations)]
