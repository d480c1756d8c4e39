"""Records of predictions and explanations, as files and HTTP replies contain them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ier_ray.data.schema import PARTS
from ier_ray.data.shards import RowIndex, ShardSet
from ier_ray.emotions import EmotionScheme
from ier_ray.evaluation.predictions import UNKNOWN_PART, Predictions
from ier_ray.explain.dncshap import Explanation
from ier_ray.explain.evaluators import PROBABILITIES
from ier_ray.explainer_settings import ExplainerSettings

DESCRIBED = ConfigDict(use_attribute_docstrings=True)
"""Fields are described in the service's document by the strings below them."""
SIDES = ("top", "bottom", "left", "right")


class Prediction(BaseModel):
    """Class probabilities of an image."""

    model_config = DESCRIBED

    label: str
    """The class of the highest probability."""
    probability: float
    probabilities: dict[str, float]

    @classmethod
    def of(cls, probabilities: NDArray[np.float64], scheme: EmotionScheme) -> Prediction:
        """From class probabilities ``(K,)``."""
        best = int(probabilities.argmax())
        return cls(
            label=scheme.classes[best],
            probability=float(probabilities[best]),
            probabilities=dict(zip(scheme.classes, probabilities.tolist(), strict=True)),
        )


class Leaf(BaseModel):
    """A region and its credit. Pixels of the network's input; bottom and right are exclusive."""

    model_config = DESCRIBED

    top: int
    bottom: int
    left: int
    right: int
    value: float
    deviation: float | None = None
    """Standard deviation of the value, if evaluations beyond the tree refined it."""
    spread: float | None = None
    """Standard deviation over the trees of the credit of the region's pixels, if several trees were
    averaged."""


class ExplanationRecord(BaseModel):
    """An explanation of one class of an image."""

    model_config = DESCRIBED

    target: str
    """The explained class."""
    prediction: Prediction
    """Of the unmasked image, from the same evaluations as the explanation."""
    image_size: int
    """Side of the network's input in pixels, which regions are measured in."""
    full: float
    """Score of the image."""
    empty: float
    """Score of the baseline."""
    efficiency_gap: float
    """Sum of the leaf values − (full − empty)."""
    evaluations: int
    """Masked images scored."""
    inference: str
    """How the scores were computed: incremental, or dense and why."""
    settings: ExplainerSettings
    leaves: list[Leaf]

    @classmethod
    def of(
        cls,
        explanation: Explanation,
        settings: ExplainerSettings,
        scheme: EmotionScheme,
        target: str | None = None,
    ) -> ExplanationRecord:
        """The record of an explanation.

        Args:
            target: the class; by default the predicted one.
        """
        probabilities = PROBABILITIES[settings.score](explanation.full)
        prediction = Prediction.of(probabilities, scheme)
        target = target or prediction.label
        chosen = scheme.index(target)
        return cls(
            target=target,
            prediction=prediction,
            image_size=explanation.tree.shape[0],
            full=float(explanation.full[chosen]),
            empty=float(explanation.empty[chosen]),
            efficiency_gap=explanation.efficiency_gap(chosen),
            evaluations=explanation.evaluations,
            inference=explanation.inference,
            settings=settings,
            leaves=leaves_of(explanation, chosen),
        )


def leaves_of(explanation: Explanation, target: int) -> list[Leaf]:
    """Each leaf's rectangle, value and, where there are any, standard deviations."""
    rectangles = explanation.tree.rectangles[explanation.tree.leaves].tolist()
    forest = explanation.forest
    columns = {
        "value": explanation.leaf_values(target),
        "deviation": None if explanation.deviations is None else explanation.deviations[:, target],
        "spread": None if forest is None else forest.leaf_spread[:, target],
    }
    known = {name: column.tolist() for name, column in columns.items() if column is not None}
    return [
        Leaf(
            **dict(zip(SIDES, rectangle, strict=True)),
            **{name: column[row] for name, column in known.items()},
        )
        for row, rectangle in enumerate(rectangles)
    ]


def predictions_of_rows(
    shards: ShardSet,
    index: RowIndex,
    probabilities: NDArray[np.float64],
    *,
    parts: NDArray[np.int8],
    seen: NDArray[np.bool_],
    run: str,
    seed: int,
) -> Predictions:
    """Predictions of N rows of a shard set, with what the set says of each row.

    Args:
        probabilities: ``(N, K)``, in the order of the set's classes.
        parts: ``(N,)``, each row's position in :data:`ier_ray.data.schema.PARTS`, or -1.
        seen: ``(N,)``, whether the row trained or selected what predicts it.
        run, seed: of the run that predicts.
    """
    count = len(index)
    described = shards.described(index)
    ids, groups, datasets = (
        np.array(column.to_pylist(), dtype=str) for column in described.columns
    )
    names = np.array([*PARTS, UNKNOWN_PART])  # -1 is the last
    return Predictions(
        sample_ids=ids,
        groups=groups,
        datasets=datasets,
        domains=np.full(count, shards.manifest.domain),
        parts=names[parts],
        folds=index.fold,
        labels=index.label,
        probabilities=probabilities,
        runs=np.full(count, run),
        seeds=np.full(count, seed, dtype=np.int64),
        seen=seen,
        classes=shards.scheme.classes,
    )
