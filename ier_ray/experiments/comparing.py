"""Each row of a table against its reference row, on the same test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ier_ray.config import Settings
from ier_ray.evaluation.equivalence import corrected_equivalence_test
from ier_ray.evaluation.intervals import paired_difference
from ier_ray.evaluation.matching import matched
from ier_ray.evaluation.metrics import accuracy
from ier_ray.evaluation.predictions import Predictions
from ier_ray.evaluation.significance import corrected_resampled_t_test, holm, mcnemar
from ier_ray.experiments.expansion import Cell
from ier_ray.experiments.grid import Grid
from ier_ray.training.settings import TrainSettings

MARGIN = 0.01
"""Accuracies that differ by less than this are called equal: one point."""
Cells = Mapping[tuple[str, str], Mapping[str, Predictions]]


class Comparison(Settings):
    """A row less its reference, in accuracy; shares from -1 to 1."""

    row: str
    """The row."""
    column: str
    """The column."""
    reference: str
    """The row that it is compared with."""
    difference: float
    """Mean over folds and seeds of the row's accuracy less the reference's."""
    low: float
    """Lower end of its 95 % interval: of the corrected resampled t-test, or of the bootstrap over
    groups where there is one fold and seed."""
    high: float
    """Upper end."""
    p_value: float
    """Of the corrected resampled t-test; with one fold and seed, of McNemar's test."""
    adjusted: float
    """The p-value after Holm's correction over the table."""
    only_row: int
    """Images that the row alone classifies correctly, with the first seed."""
    only_reference: int
    """Images that the reference alone classifies correctly."""
    equivalence: float | None = None
    """p-value of the test that the difference is within ±1 point; None with one fold and seed."""


def compared(grid: Grid, cells: Sequence[Cell], predictions: Cells) -> list[Comparison]:
    """All rows against their references, where both have finished, corrected over the table."""
    by_place = {(cell.row, cell.column): cell for cell in cells}
    found = []
    for place, own in predictions.items():
        row, column = place
        reference = grid.reference_of(row)
        if reference is None or (reference, column) not in predictions:
            continue
        other = predictions[reference, column]
        if by_place[place].units == by_place[reference, column].units:
            continue  # one training: there is nothing to compare
        if len(own) == len(other) and same_images(own, other):
            train = by_place[place].units[0].train
            found.append(comparison(row, column, reference, own, other, train, by_place))
    adjusted = holm([one.p_value for one in found]) if found else []
    return [
        one.model_copy(update={"adjusted": value})
        for one, value in zip(found, adjusted, strict=True)
    ]


def same_images(own: Mapping[str, Predictions], other: Mapping[str, Predictions]) -> bool:
    """Whether both have the same test images and labels: permuted labels have not."""
    return all(
        sorted(zip(a.sample_ids.tolist(), a.labels.tolist(), strict=True))
        == sorted(zip(b.sample_ids.tolist(), b.labels.tolist(), strict=True))
        for a, b in zip(own.values(), other.values(), strict=True)
    )


def comparison(
    row: str,
    column: str,
    reference: str,
    own: Mapping[str, Predictions],
    other: Mapping[str, Predictions],
    train: TrainSettings,
    cells: Mapping[tuple[str, str], Cell],
) -> Comparison:
    """One row against its reference."""
    pairs = list(zip(own.values(), other.values(), strict=True))
    differences = [correct(a).mean() - correct(b).mean() for a, b in pairs]
    seed = pairs[0][0].seeds[0]
    first = [pair for pair in pairs if pair[0].seeds[0] == seed]
    a, b = matched(*(Predictions.concatenated([pair[side] for pair in first]) for side in (0, 1)))
    discordant = mcnemar(correct(a), correct(b))
    values = {
        "row": row,
        "column": column,
        "reference": reference,
        "only_row": discordant.only_first,
        "only_reference": discordant.only_second,
        "adjusted": 1.0,
    }
    share = share_tested(train, cells[row, column])
    if len(differences) > 1 and share is not None:
        tested = corrected_resampled_t_test(differences, test_share=share)
        equal = corrected_equivalence_test(differences, test_share=share, margin=MARGIN)
        interval, p_value = tested.interval, tested.p_value
        values["equivalence"] = equal.p_value
    else:
        interval, p_value = paired_difference(accuracy, a, b, seed=0), discordant.p_value
    return Comparison(
        **values,
        difference=interval.estimate,
        low=interval.low,
        high=interval.high,
        p_value=p_value,
    )


def correct(predictions: Predictions) -> NDArray[np.bool_]:
    """Whether each image is classified correctly ``(N,)``."""
    hits: NDArray[np.bool_] = predictions.probabilities.argmax(1) == predictions.labels
    return hits


def share_tested(train: TrainSettings, cell: Cell) -> float | None:
    """``n_test / n_train`` of a cell's folds; None where the parts are the dataset's own."""
    plan = train.split_plan("ier")
    if plan.rule == "own" or cell.folds < 3:
        return None
    rest = cell.folds - 2 if plan.rule == "folds" else (cell.folds - 1) * (1 - plan.val_fraction)
    return 1 / rest
