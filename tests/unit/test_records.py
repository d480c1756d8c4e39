"""Records of explanations say what the explanation says."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from ier_ray.emotions import FOUR
from ier_ray.explain import AnytimeExplainer, DenseEvaluator
from ier_ray.explain.evaluators import SCORES
from ier_ray.explainer_settings import ExplainerSettings, Score
from ier_ray.records import ExplanationRecord, leaves_of

SIZE = 16


def dense(score: str) -> DenseEvaluator:
    torch.manual_seed(0)
    weights = torch.randn(3 * SIZE * SIZE, 4) / 20
    image = torch.randn(3, SIZE, SIZE)
    return DenseEvaluator(
        lambda x: x.flatten(1) @ weights, image, torch.zeros_like(image), score=SCORES[score]
    )


def test_leaves_paint_the_leaf_map() -> None:
    explanation = AnytimeExplainer(depth=3).explain(dense("probability"))
    painted = np.zeros((SIZE, SIZE))
    for leaf in leaves_of(explanation, 1):
        painted[leaf.top : leaf.bottom, leaf.left : leaf.right] = leaf.value
        assert leaf.deviation is None
    np.testing.assert_array_equal(painted, explanation.leaf_map(1))


def test_refined_leaves_have_their_deviations() -> None:
    explanation = AnytimeExplainer(depth=3, budget=64).explain(dense("probability"))
    found = [leaf.deviation for leaf in leaves_of(explanation, 2)]
    assert explanation.deviations is not None
    assert found == explanation.deviations[:, 2].tolist()


@pytest.mark.parametrize("score", get_args(Score))
def test_probabilities_come_from_the_scores_of_the_whole_image(score: Score) -> None:
    evaluator = dense(score)
    explanation = AnytimeExplainer(depth=2).explain(evaluator)
    settings = ExplainerSettings(depth=2, score=score)
    record = ExplanationRecord.of(explanation, settings, FOUR)
    expected = evaluator.network(evaluator.image[None]).double().softmax(1)[0].tolist()
    found = record.prediction
    assert list(found.probabilities) == list(FOUR.classes)
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-6)
    assert found.probability == max(found.probabilities.values())
    assert found.label == record.target == FOUR.classes[int(np.argmax(expected))]
    assert record.inference == "dense"


def test_the_asked_class_is_explained_whatever_is_predicted() -> None:
    explanation = AnytimeExplainer(depth=2).explain(dense("logit"))
    settings = ExplainerSettings(depth=2, score="logit")
    for index, target in enumerate(FOUR.classes):
        record = ExplanationRecord.of(explanation, settings, FOUR, target)
        assert record.target == target
        assert record.full == explanation.full[index]
        assert record.empty == explanation.empty[index]
        total = sum(leaf.value for leaf in record.leaves)
        assert total == pytest.approx(record.full - record.empty + record.efficiency_gap, abs=1e-12)
