"""One self-contained HTML page about a sweep that has ended, with Optuna's interactive plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from optuna import visualization
from plotly.offline import get_plotlyjs

from ier_ray import __version__
from ier_ray.plotly_html import as_html
from ier_ray.tuning.history import by_fold
from ier_ray.tuning.leaderboard import rows_of, short
from ier_ray.tuning.selection_regret import oracle, selection_regrets
from ier_ray.tuning.space import Space
from ier_ray.tuning.study import study_of
from ier_ray.tuning.trials import TrialRecord

FEWEST = 2
"""Trials that importances are computed from."""
SETTING_WIDTH = 170
"""Pixels that the name of a setting takes below a plot; wider plots can be scrolled."""


@dataclass(frozen=True)
class Plot:
    """A plot with its heading."""

    title: str
    note: str
    figure: str | None
    """HTML in which plotly has escaped all names; None: there is none, and the note says why."""
    min_width: int = 0
    """In pixels."""


def render_page(space: Space, records: Sequence[TrialRecord], *, name: str) -> str:
    """The page; it loads nothing.

    Args:
        records: of all trials, in the order in which they were proposed.
        name: of the sweep.
    """
    environment = Environment(
        loader=PackageLoader("ier_ray.tuning", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
    )
    rows = rows_of(records)
    return environment.get_template("sweep.html").render(
        name=name,
        criterion=space.base.criterion,
        rows=rows,
        has_folds=have_folds(records),
        metrics=list(dict.fromkeys(metric for row in rows for metric in row.metrics)),
        short=short,
        plots=list(plots(space, records, name)),
        oracle=oracle(records),
        regrets=selection_regrets(records),
        plotly_js=get_plotlyjs(),
        version=__version__,
    )


def plots(space: Space, records: Sequence[TrialRecord], name: str) -> Iterator[Plot]:
    """The plots, in order. Those of scores take stopped trials for whole ones, as the ranking does.

    Optuna's plots would leave them out, and successive halving stops most trials.
    """
    ranked = [
        record.model_copy(update={"state": "finished"}) if record.ranked else record
        for record in records
    ]
    study, score = study_of(space, ranked, name=name), f"score by {space.base.criterion}"
    history = visualization.plot_optimization_history(study, target_name=score)
    yield Plot(
        "Optimization history",
        "The score of each trial, and the best so far. Here and in the plots of settings, trials "
        "that were stopped count with the best score that they reached.",
        embedded(history, "history"),
    )
    curves = visualization.plot_intermediate_values(study)
    curves.update_layout(xaxis_title="epoch", yaxis_title=score)
    folds = (
        "Epochs are those of all folds of a trial; in a later fold, the score is its mean with the "
        "best scores of the folds before. "
    )
    yield Plot(
        "Learning curves",
        f"The score after each epoch. {folds if have_folds(records) else ''}A curve that ends "
        f"early is of a trial that was stopped; failed trials are in the table only.",
        embedded(curves, "curves"),
    )
    names = sorted(one.name for one in space.parameters)  # Optuna's order, but it cuts them
    coordinates = visualization.plot_parallel_coordinate(study, target_name=score)
    coordinates.update_xaxes(ticktext=[score, *names])
    yield Plot(
        "Parallel coordinates",
        "Each line is a trial: its score, and its value of each searched setting.",
        embedded(coordinates, "coordinates"),
        min_width=SETTING_WIDTH * (len(names) + 1),
    )
    yield importances(study, score)
    slices = visualization.plot_slice(study, target_name=score)
    slices.update_xaxes(nticks=4, exponentformat="e")  # the labels of more would overlap
    yield Plot(
        "Slices",
        "Scores over the values of each searched setting.",
        embedded(slices, "slices"),
        min_width=SETTING_WIDTH * len(names),
    )


def have_folds(records: Sequence[TrialRecord]) -> bool:
    """Whether a trial has more than one fold."""
    return any(len(by_fold(record.history)) > 1 for record in records)


def importances(study: Any, score: str) -> Plot:
    """How much each setting decides whether a trial is among the best tenth."""
    title = "Hyperparameter importance"
    values = [trial.value for trial in study.trials if trial.value is not None]
    if len(values) < FEWEST:
        missing = f"it takes {FEWEST} trials that ended well, and {len(values)} did"
        return Plot(title, f"Not computed: {missing}.", None)
    if len(set(values)) == 1:
        return Plot(title, "Not computed: all trials have the same score.", None)
    note = (
        "How much each setting decides whether a trial is among the best tenth (PED-ANOVA), in "
        "shares of 1. With few trials, it is a rough estimate."
    )
    bars = visualization.plot_param_importances(study, target_name=score)
    return Plot(title, note, embedded(bars, "importances"))


def embedded(figure: Any, identifier: str) -> str:
    """A figure as HTML that needs plotly.js."""
    margin = {"t": 40, "b": 60, "l": 80, "r": 80}
    figure.update_layout(title=None, width=None, margin=margin)
    # plotly.js would show a button that uploads the figure's data to plotly's server.
    return as_html(figure, identifier, displaylogo=False, showSendToCloud=False)
