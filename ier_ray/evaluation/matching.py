"""Predictions of two models in one order, for what compares them image by image."""

from __future__ import annotations

import numpy as np

from ier_ray.errors import DataError
from ier_ray.evaluation.predictions import Predictions


def matched(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both predictions in one order, so that their rows are of the same images.

    Raises:
        DataError: when an image (sample id and fold) is in one only, or several times in one, or
            its label, its group or the classes differ.
    """
    if first.classes != second.classes:
        raise DataError(
            f"the models predict different classes: {list(first.classes)} and "
            f"{list(second.classes)}"
        )
    one, other = _by_image(first, "first"), _by_image(second, "second")
    unmatched = one.keys() ^ other.keys()
    if unmatched:
        raise DataError(
            f"the models were not evaluated on the same images: {len(unmatched)} of "
            f"{len(one.keys() | other.keys())} (sample id, fold) are in one only, such as "
            f"{min(unmatched)}"
        )
    keys = sorted(one)
    first = first.select(np.asarray([one[key] for key in keys], dtype=np.int64))
    second = second.select(np.asarray([other[key] for key in keys], dtype=np.int64))
    for name in ("labels", "groups"):
        differing = np.flatnonzero(first.columns()[name] != second.columns()[name])
        if len(differing):
            raise DataError(
                f"{name} differ in {len(differing)} of {len(first)} images, such as "
                f"{first.sample_ids[differing[0]]}: the models were not evaluated on the same data"
            )
    return first, second


def _by_image(predictions: Predictions, which: str) -> dict[tuple[str, int], int]:
    keys = zip(predictions.sample_ids.tolist(), predictions.folds.tolist(), strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) < len(predictions):
        raise DataError(
            f"the {which} predictions hold {len(predictions) - len(rows)} rows more than images; "
            f"select one run and seed"
        )
    return rows
