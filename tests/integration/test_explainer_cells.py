"""Measures of explainers and of an epoch's interpretation, without a cluster."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.runs import tiny_settings
from torch import Tensor, nn

from ier_ray.data.shards import ShardSet
from ier_ray.experiments.cases import Counter, Explained, explained
from ier_ray.experiments.costing import measured_costs
from ier_ray.experiments.explainers import EXPLAINERS, credits_of
from ier_ray.experiments.explaining import (
    ExplainOptions,
    alike,
    gini,
    measured_explainer,
    randomized,
    scaling,
)
from ier_ray.experiments.grid_files import read_grid
from ier_ray.experiments.memory_reads import MemoryReads
from ier_ray.experiments.timing import exponent
from ier_ray.experiments.units import Unit

OPTIONS = {"images": 1, "depth": 3, "depths": [2, 3], "exact_depth": 2}
OTHER_SCALE = {"captum_occlusion", "captum_grad_cam", "random"}


@pytest.fixture(scope="module")
def unit(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Unit:
    settings = tiny_settings(
        shards,
        tmp_path_factory.mktemp("explained"),
        scaling={"num_workers": 1},
        schedule={"epochs": 1, "warmup_epochs": 0},
    )
    return Unit("explainer", settings, {}, method="dncshap", options=OPTIONS)


@pytest.fixture(scope="module")
def reads() -> MemoryReads:
    return MemoryReads()


def test_the_grid_has_every_explainer() -> None:
    methods = [choice.method for choice in read_grid("table1").rows[0].values]
    assert sorted(map(str, methods)) == sorted(EXPLAINERS)


@pytest.mark.parametrize("name", EXPLAINERS)
def test_every_explainer_is_measured(name: str, unit: Unit, reads: MemoryReads) -> None:
    one = Unit(unit.kind, unit.train, {}, method=name, options=OPTIONS)
    found = measured_explainer(one, reads)
    wanted = {choice.measure for choice in read_grid("table1").columns.values}
    absent = {measure for measure in wanted if found.get(str(measure)) is None}
    expected: set[str] = set()
    if name in OTHER_SCALE:
        expected |= {"error", "infidelity"}
    if name in {"random", "dncshap_incremental"}:
        expected |= {"evaluations", "evaluations_exponent"}
    assert absent == expected
    budget = 4 * 8
    if name not in {"exact", "dncshap_incremental", "random"}:
        assert found["evaluations"] is not None
        assert 0 < found["evaluations"] <= budget
    if name == "exact":
        assert found["error"] == 0


class Additive(nn.Module):
    """The first logit is the sum of the first channel, the second is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Conv2d(3, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        total = images[:, 0].sum((1, 2)) / 1000
        return torch.stack([total, torch.zeros_like(total)], 1)


def case() -> Explained:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 8, 8, generator=generator)
    network = Additive().eval()
    return Explained(network, image, torch.zeros_like(image), 0, None, 0)


@pytest.mark.parametrize("name", ["dncshap", "ours", "shap_permutation", "exact"])
def test_a_nearly_additive_game_is_solved(name: str) -> None:
    one = case()
    tree = one.tree(3)
    found = credits_of(name, one, tree, budget=32)
    sums = [
        float(one.image[0, top:bottom, left:right].sum()) / 1000
        for top, bottom, left, right in tree.rectangles[tree.leaves].tolist()
    ]
    assert found == pytest.approx(np.array(sums) / 4, rel=0.02)  # slope of the sigmoid at 0


def test_evaluations_and_exponents_are_counted() -> None:
    options = ExplainOptions.model_validate(OPTIONS | {"depths": [2, 3, 4]})
    found = scaling("captum_feature_ablation", case(), options)
    assert found["evaluations"] == 17
    assert found["evaluations_exponent"] == pytest.approx(
        np.polyfit(np.log([4, 8, 16]), np.log([5, 9, 17]), 1)[0]
    )
    found = scaling("exact", case(), options)
    assert found["evaluations"] == 2**16
    with Counter(case().network) as counter:
        counter.network(torch.zeros(5, 3, 8, 8))
    assert counter.images == 5


def test_exponent_and_sparsity_by_hand() -> None:
    assert exponent([2, 4, 8], [3, 12, 48]) == pytest.approx(2)
    assert exponent([2], [3]) is None
    assert gini(np.array([1.0, -1.0, 1.0, 1.0])) == pytest.approx(0)
    assert gini(np.array([0.0, 0.0, 0.0, -5.0])) == pytest.approx(0.75)
    assert gini(np.zeros(3)) == 0
    assert alike(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 25.0])) == pytest.approx(1)
    assert alike(np.array([1.0, 2.0, 3.0]), np.zeros(3)) == 0


def test_a_randomized_network_has_the_same_numbers_elsewhere() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    other = randomized(network)
    own, mixed = (one.get_parameter("0.weight") for one in (network, other))
    assert not torch.equal(own, mixed)
    assert torch.equal(own.flatten().sort().values, mixed.flatten().sort().values)
    assert not other.training


def test_explained_images_are_test_images_with_their_cues(
    unit: Unit, shards: dict[str, str], reads: MemoryReads
) -> None:
    found = list(explained(unit, Additive().eval(), 3, reads))
    assert len(found) == 3
    for one in found:
        assert one.cue is not None
        assert one.cue.shape == (32, 32)
        assert 0 < one.cue.mean() < 0.5
    index = ShardSet.open(shards["ier"]).index()
    assert (index.fold == unit.train.data.test_fold).sum() >= 3


def test_costs_of_interpretation(unit: Unit, reads: MemoryReads) -> None:
    options: dict[str, Any] = {"images": 2, "depth": 2, "rounds": 1}
    found = measured_costs(Unit("cost", unit.train, {}, options=options), reads)
    assert set(found) == {"feature_seconds", "layer_seconds"}
    assert all(value is not None and value > 0 for value in found.values())
