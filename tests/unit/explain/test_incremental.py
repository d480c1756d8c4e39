"""Incremental inference gives what the whole network gives, on any shape and for any region."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from support.networks import both_ways, crooked, images, prepared
from torch import Tensor, nn
from torch.nn import functional

from ier_ray.explain import (
    DenseEvaluator,
    IncrementalEvaluator,
    Masking,
    RegionTree,
    exact_evaluator,
    explain,
)
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.evaluators import logit
from ier_ray.explain.incremental.grouping import group_by_size
from ier_ray.explain.incremental.operations import Slide
from ier_ray.explain.incremental.tracing import trace
from ier_ray.explain.masking import RegionMasking
from ier_ray.models.emotion_net import EmotionNet


class ReluTwice(nn.Module):
    """A value that one reader sees before, and another after, a change in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(M, 4)``."""
        before = self.first(images)
        after = self.second(before)
        return (self.second(self.relu(before)) + after + self.second(before)).mean((2, 3))


class Flattened(nn.Module):
    """Maps of two convolutions, joined and flattened, into a dense layer.

    Args:
        also: reads one of the maps beside it.
    """

    def __init__(self, *, also: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.flatten, self.dense = nn.Flatten(), nn.LazyLinear(5)
        self.also = also

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(M, 5)``."""
        first = self.first(images)
        second = functional.relu(self.second(first))
        dense = self.dense(self.flatten(torch.cat([second, first], 1)))
        return dense + second.amax((1, 2, 3))[:, None] if self.also else dense


class Branching(nn.Module):
    """Takes another way for bright images: no single graph describes it."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(M, 3)``."""
        return images.mean((2, 3)) if images.mean() > 0 else images.amax((2, 3))


def emotion_net(size: int) -> nn.Module:
    torch.manual_seed(0)
    return prepared(EmotionNet(num_classes=4, image_size=size, width=0.03))


@pytest.mark.parametrize(
    ("height", "width", "depth"),
    [(16, 16, 8), (13, 17, 8), (9, 31, 9), (24, 11, 5), (12, 12, 0)],
)
def test_every_kind_of_operation_down_to_single_pixels(height: int, width: int, depth: int) -> None:
    plan = Plan.of(RegionTree.halving(height, width, depth=depth), "both")
    found, expected = both_ways(crooked(), plan.masking, height, width)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("size", "depth"), [(32, 10), (96, 7)])
def test_the_papers_network(size: int, depth: int) -> None:
    plan = Plan.of(RegionTree.halving(size, size, depth=depth), "both")
    found, expected = both_ways(emotion_net(size), plan.masking, size, size)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["alexnet", "vgg16", "resnet18", "resnet50", "densenet121"])
def test_torchvisions_networks_in_single_precision(name: str) -> None:
    """Odd and not square; single precision as in use: differences are rounding only."""
    torch.manual_seed(0)
    options = {"init_weights": False} if name == "vgg16" else {}  # as good, and seconds faster
    network = prepared(getattr(torchvision.models, name)(num_classes=5, **options)).float()
    height, width = 75, 67
    image, baseline = (maps.float() for maps in images(height, width))
    tree = RegionTree.halving(height, width, depth=4)
    found = explain(IncrementalEvaluator(trace(network), image, baseline, logit), tree)
    assert found.inference == "incremental"
    expected = explain(DenseEvaluator(network, image, baseline, logit), tree)
    scale = np.abs(expected.full).max()
    np.testing.assert_allclose(found.full, expected.full, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(found.credits, expected.credits, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("also", [False, True])
def test_dense_layers_of_flattened_maps(also: bool) -> None:
    torch.manual_seed(0)
    network = Flattened(also=also).double()
    network(torch.zeros(1, 3, 11, 7, dtype=torch.float64))  # sizes its lazy layer
    network.eval()
    plan = Plan.of(RegionTree.halving(11, 7, depth=7), "both")
    found, expected = both_ways(network, plan.masking, 11, 7)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    # Only where nothing else reads the maps can a part of them be enough.
    assert (trace(network).readout is None) == also


def test_rectangles_of_any_kind_at_every_border() -> None:
    """Also what no tree holds: everything, nothing, single rows, the last pixel."""
    edges = [(0, 14), (0, 0), (0, 1), (13, 14), (3, 4), (0, 13), (1, 14), (5, 9)]
    rectangles = np.array([(*rows, *columns) for rows in edges for columns in edges])
    for keeps_inside in (True, False):
        masking = Masking(rectangles, np.full(len(rectangles), keeps_inside))
        found, expected = both_ways(crooked(), masking, 14, 14)
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_batch_size_does_not_matter() -> None:
    plan = Plan.of(RegionTree.halving(19, 15, depth=6), "both")
    whole, _ = both_ways(crooked(), plan.masking, 19, 15)
    for batch_size in (1, 7, 50):
        found, _ = both_ways(crooked(), plan.masking, 19, 15, batch_size=batch_size)
        np.testing.assert_allclose(found, whole, rtol=1e-12, atol=1e-13)


def test_the_order_asked_for_is_the_order_answered() -> None:
    plan = Plan.of(RegionTree.halving(16, 16, depth=5), "both")
    shuffled = np.random.default_rng(0).permutation(len(plan))
    straight, _ = both_ways(crooked(), plan.masking, 16, 16)
    found, _ = both_ways(crooked(), plan.masking[shuffled], 16, 16)
    np.testing.assert_allclose(found, straight[shuffled], rtol=1e-12, atol=1e-13)


def test_only_windows_are_computed() -> None:
    """Convolutions of a leaf's image see a few pixels, not the map."""
    network = emotion_net(96)
    seen: list[int] = []
    traced = trace(network)
    first = next(step.operation for step in traced.steps if isinstance(step.operation, Slide))
    evaluator = IncrementalEvaluator(traced, *images(96, 96))
    _ = evaluator.activations
    original = functional.conv2d

    def watch(maps: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        if weight.shape[1] == 3:
            seen.append(maps[0, 0].numel())
        return original(maps, weight, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(functional, "conv2d", watch)
        evaluator(Masking(np.array([[40, 46, 50, 54]]), np.array([True])))
    assert first.kernel == (3, 3)
    assert seen == [(6 + 4) * (4 + 4)]


def test_changes_in_place_are_seen_in_turn() -> None:
    torch.manual_seed(0)
    network = prepared(ReluTwice())
    plan = Plan.of(RegionTree.halving(12, 12, depth=6), "both")
    found, expected = both_ways(network, plan.masking, 12, 12)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Branching(), "dense: the network cannot be traced: .*control flow"),
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), "dense: no convolution comes before"),
        (
            nn.Sequential(
                nn.Conv2d(3, 1, 1), nn.Flatten(), nn.Linear(64, 500), nn.ReLU(), nn.Linear(500, 3)
            ),
            "dense: only 1% of the work comes before operations over all positions",
        ),
    ],
)
def test_other_networks_are_run_whole_and_the_result_says_why(
    network: nn.Module, reason: str
) -> None:
    network = prepared(network)
    image, baseline = images(8, 8)
    tree = RegionTree.halving(8, 8, depth=4)
    found = explain(exact_evaluator(network, image, baseline, score=logit), tree)
    assert re.match(reason, found.inference)
    expected = explain(DenseEvaluator(network, image, baseline, logit), tree)
    np.testing.assert_array_equal(found.credits, expected.credits)
    assert expected.inference == "dense"


def test_costs_count_what_each_image_changes() -> None:
    """3x3 windows grow by 2 pixels, cut at the border, and reach a 2x2 pool's positions."""
    network = prepared(
        nn.Sequential(
            nn.Conv2d(3, 2, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 5)
        )
    )
    evaluator = IncrementalEvaluator(trace(network), *images(8, 8))
    rectangles = np.array([[0, 8, 0, 8], [2, 4, 2, 3], [0, 1, 0, 8], [3, 3, 2, 4]])
    costs = evaluator.costs(Masking(rectangles, np.array([True, True, False, False])))
    by_hand = [0, 54 * 4 * 3 + 10 * 3 * 2, 54 * 2 * 8 + 10 * 1 * 4, 0]
    np.testing.assert_array_equal(costs - costs[0], by_hand)
    regions = RegionMasking(np.ones((3, 4), bool), np.zeros((8, 8), np.int64))
    assert (evaluator.costs(regions) == 1).all()  # all are run whole


def test_groups_trade_waste_against_calls() -> None:
    sizes = np.array([[4, 4], [4, 4], [10, 10], [4, 5], [9, 10]])

    def grouped(call_cost: float) -> list[list[int]]:
        groups = group_by_size(sizes, pixel_cost=1.0, call_cost=call_cost)
        return [group.tolist() for group in groups]

    assert grouped(0.5) == [[0, 1], [3], [4], [2]]
    assert grouped(10.5) == [[0, 1, 3], [2, 4]]  # 4x4 twice at 4x5 wastes 8, 9x10 at 10x10 10
    assert grouped(300) == [[0, 1, 2, 3, 4]]
    assert group_by_size(np.array([[3, 1]]), pixel_cost=1, call_cost=0)[0].tolist() == [0]


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_reach_is_exactly_what_a_change_can_touch(kernel: int, stride: int, padding: int) -> None:
    """Against a convolution of ones: outputs that differ from zero are those reached."""
    convolution = nn.Conv2d(1, 1, kernel, stride=stride, padding=padding, bias=False).eval()
    nn.init.ones_(convolution.weight)
    operation = trace(nn.Sequential(convolution).eval()).steps[0].operation
    assert isinstance(operation, Slide)
    for length in (7, 8):
        for first in range(length):
            for beyond in range(first + 1, length + 1):
                line = torch.zeros(1, 1, length, length)
                line[..., first:beyond, :] = 1
                with torch.no_grad():
                    touched = convolution(line)[0, 0].sum(1).numpy() > 0
                start, stop = operation.reach(
                    np.array([[first, 0]]), np.array([[beyond, length]]), (len(touched),) * 2
                )
                reached = np.zeros_like(touched)
                reached[start[0, 0] : stop[0, 0]] = True
                if touched.any():
                    np.testing.assert_array_equal(reached, touched)
                else:  # pixels that the stride skips
                    assert reached.sum() == 1
