"""Values and gradients against an independent float64 computation in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from ier_ray.losses import (
    DISCREPANCIES,
    DiscrepancyMode,
    JointLoss,
    JointOutputs,
    coral,
    discrepancy,
    domain_confusion,
    mmd,
    pair_by_label,
    reverse_gradient,
)
from ier_ray.models import ModelSettings, build_joint_model

MODES: tuple[DiscrepancyMode, ...] = get_args(DiscrepancyMode)
FER_LABELS = np.array([0, 2, 1, 0, 2, 2])
IER_LABELS = np.array([2, 0, 0, 3, 2])
BETA, LAMBDA = 0.7, 0.01


def numpy_softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def numpy_cross_entropy(z: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(numpy_softmax(z)[np.arange(len(z)), labels]).mean())


def numpy_same_image(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(numpy_softmax(first) - numpy_softmax(second)).mean(1).mean())


def numpy_paired(first: np.ndarray, second: np.ndarray) -> float:
    p, q = numpy_softmax(first), numpy_softmax(second)
    distances = []
    for label in range(4):
        left, right = p[label == FER_LABELS], q[label == IER_LABELS]
        distances += [np.abs(a - b).mean() for a, b in zip(left, right, strict=False)]
    return float(np.mean(distances))


def numpy_class_mean(first: np.ndarray, second: np.ndarray) -> float:
    p, q = numpy_softmax(first), numpy_softmax(second)
    shared = sorted(set(FER_LABELS) & set(IER_LABELS))
    return float(
        np.mean(
            [np.abs(p[k == FER_LABELS].mean(0) - q[k == IER_LABELS].mean(0)).mean() for k in shared]
        )
    )


def numpy_outputs(first: np.ndarray, second: np.ndarray) -> float:
    p, q = numpy_softmax(first).mean(0), numpy_softmax(second).mean(0)
    return float(np.abs(p - q).mean())


def numpy_hidden(first: np.ndarray, second: np.ndarray) -> float:
    return float(
        np.mean(
            [
                [abs(a - b) for a, b in zip(*rows, strict=True)]
                for rows in zip(first, second, strict=True)
            ]
        )
    )


def numpy_coral(first: np.ndarray, second: np.ndarray) -> float:
    apart = np.cov(first, rowvar=False) - np.cov(second, rowvar=False)
    return float((apart**2).sum() / (4 * first.shape[1] ** 2))


def mean_distance(first: np.ndarray, second: np.ndarray) -> float:
    joint = [*first, *second]
    pairs = [
        ((a - b) ** 2).sum() for i, a in enumerate(joint) for j, b in enumerate(joint) if i != j
    ]
    return float(np.mean(pairs))


def numpy_mmd_at(scale: float) -> Callable[[np.ndarray, np.ndarray], float]:
    def kernel_mean(xs: np.ndarray, ys: np.ndarray) -> float:
        values = [
            np.exp(-((x - y) ** 2).sum() / (factor * scale))
            for x in xs
            for y in ys
            for factor in (0.25, 0.5, 1, 2, 4)
        ]
        return float(np.mean(values))

    def value(first: np.ndarray, second: np.ndarray) -> float:
        cross = kernel_mean(first, second)
        return kernel_mean(first, first) + kernel_mean(second, second) - 2 * cross

    return value


def numpy_dann(first: np.ndarray, second: np.ndarray) -> float:
    fer, ier = 1 / (1 + np.exp(-first)), 1 / (1 + np.exp(-second))
    return float((-np.log(fer).mean() - np.log(1 - ier).mean()) / 2)


def compared_shapes(mode: DiscrepancyMode) -> list[tuple[int, int]]:
    """Shapes of the pair that a mode compares: 6 FER and 5 IER images."""
    return {
        "logits": [(6, 4), (5, 4)],
        "cross": [(5, 4), (5, 4)],
        "contested": [(5, 4), (5, 4)],
        "features": [(6, 3), (5, 3)],
        "cross_features": [(5, 3), (5, 3)],
        "domains": [(6, 1), (5, 1)],
    }[DISCREPANCIES[mode].compared]


def numeric_gradient(function: Callable[[], float], value: np.ndarray) -> np.ndarray:
    """Central differences of a function that reads ``value``."""
    step = 1e-6
    gradient = np.zeros_like(value)
    for place in np.ndindex(value.shape):
        original = value[place]
        value[place] = original + step
        above = function()
        value[place] = original - step
        gradient[place] = (above - function()) / (2 * step)
        value[place] = original
    return gradient


@pytest.mark.parametrize("mode", MODES)
def test_value_and_gradient_equal_numpy(mode: DiscrepancyMode) -> None:
    generator = np.random.default_rng(4)
    shapes = [(6, 4), (5, 4), *compared_shapes(mode), (3, 2)]
    values = [generator.normal(size=shape) for shape in shapes]
    fer, ier, first, second, weight = values
    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    expected = {
        "same_image": numpy_same_image,
        "mcd": numpy_same_image,
        "paired": numpy_paired,
        "class_mean": numpy_class_mean,
        "outputs": numpy_outputs,
        "hidden": numpy_hidden,
        "coral": numpy_coral,
        "mmd": numpy_mmd_at(mean_distance(first, second)),
        "dann": numpy_dann,
    }[mode]

    def cross_entropies_and_weights() -> float:
        fer_loss = numpy_cross_entropy(fer, FER_LABELS)
        ier_loss = numpy_cross_entropy(ier, IER_LABELS)
        return fer_loss + ier_loss + LAMBDA * float((weight**2).sum())

    loss = JointLoss(balance=BETA, regularization=LAMBDA, mode=mode)
    parts = loss(
        JointOutputs(tensors[0], tensors[1], (tensors[2], tensors[3])),
        torch.tensor(FER_LABELS),
        torch.tensor(IER_LABELS),
        [tensors[4]],
    )
    apart = expected(first, second)
    assert parts.discrepancy.item() == pytest.approx(apart, abs=1e-12)
    total = cross_entropies_and_weights() + BETA * apart
    assert parts.total.item() == pytest.approx(total, abs=1e-12)
    assert parts.fer.item() == pytest.approx(numpy_cross_entropy(fer, FER_LABELS), abs=1e-12)
    assert parts.ier.item() == pytest.approx(numpy_cross_entropy(ier, IER_LABELS), abs=1e-12)

    gradients = torch.autograd.grad(parts.total, tensors)
    sign = -1 if mode == "mcd" else 1  # what is compared climbs; see the model's test
    for number, value in enumerate(values):
        numeric = numeric_gradient(cross_entropies_and_weights, value)
        numeric += sign * BETA * numeric_gradient(lambda: expected(first, second), value)
        np.testing.assert_allclose(gradients[number].numpy(), numeric, atol=1e-7)


@pytest.mark.parametrize("mode", ["paired", "class_mean"])
def test_gradient_reaches_logits_that_are_compared_and_classified(mode: DiscrepancyMode) -> None:
    """With one tensor in both roles, as the model gives it, the two gradients add."""
    fer = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    ier = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor(FER_LABELS), torch.tensor(IER_LABELS)
    outputs = JointOutputs(fer, ier, (fer, ier))
    parts = JointLoss(balance=BETA, mode=mode)(outputs, *labels, [torch.ones(1)])
    (whole,) = torch.autograd.grad(parts.total, fer, retain_graph=True)
    (entropy,) = torch.autograd.grad(parts.fer, fer, retain_graph=True)
    (apart,) = torch.autograd.grad(parts.discrepancy, fer)
    assert apart.abs().max() > 0
    torch.testing.assert_close(whole, entropy + BETA * apart)


def test_regularization_reaches_dense_weights_only() -> None:
    torch.manual_seed(0)
    model = build_joint_model(ModelSettings(image_size=32, width=0.02), num_classes=4).double()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2])

    def gradients(regularization: float) -> dict[str, torch.Tensor]:
        loss = JointLoss(regularization=regularization)
        outputs = model(images, images.flip(0), compared=loss.compared)
        model.zero_grad()
        loss(outputs, labels, labels, model.dense_weights()).total.backward()
        found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        assert len(found) == len(list(model.parameters()))
        return found

    without, with_it = gradients(0.0), gradients(LAMBDA)
    dense = 0
    for name, parameter in model.named_parameters():
        added = with_it[name] - without[name]
        if name.split(".")[1] == "classifier" and name.endswith("weight"):
            dense += 1
            torch.testing.assert_close(added, 2 * LAMBDA * parameter.detach())
        else:
            torch.testing.assert_close(added, torch.zeros_like(added), msg=name)
    assert dense == 6


def test_discrepancy_by_hand() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    q = torch.tensor([[0.1, 0.2, 0.7], [0.0, 0.5, 0.5]])
    assert discrepancy(p, q).item() == pytest.approx((1.2 / 3 + 0) / 2)
    assert discrepancy(p, p).item() == 0
    assert discrepancy(p[:0], q[:0]).item() == 0


def test_pairs_match_the_nth_of_a_class_with_the_nth() -> None:
    left, right = pair_by_label(torch.tensor(FER_LABELS), torch.tensor(IER_LABELS))
    assert list(zip(left.tolist(), right.tolist(), strict=True)) == [(0, 1), (1, 0), (3, 2), (4, 4)]


def test_no_shared_class_gives_zero_with_a_gradient() -> None:
    fer = torch.randn(3, 4, requires_grad=True)
    ier = torch.randn(3, 4, requires_grad=True)
    modes: tuple[DiscrepancyMode, ...] = ("paired", "class_mean")
    for mode in modes:
        labels = torch.tensor([0, 0, 1]), torch.tensor([2, 3, 3])
        apart = DISCREPANCIES[mode]((fer, ier), *labels)
        assert apart.item() == 0
        apart.backward()


@pytest.mark.parametrize(
    "mode", [mode for mode in MODES if not DISCREPANCIES[mode].needs_discriminator]
)
def test_balance_zero_is_cross_entropy_alone_and_asks_for_nothing_more(
    mode: DiscrepancyMode,
) -> None:
    loss = JointLoss(balance=0.0, mode=mode)
    assert loss.compared == "logits"
    fer, ier = torch.randn(6, 4), torch.randn(5, 4)
    parts = loss(
        JointOutputs(fer, ier, (fer, ier)),
        torch.tensor(FER_LABELS),
        torch.tensor(IER_LABELS),
        [torch.ones(1)],
    )
    assert parts.discrepancy == 0
    torch.testing.assert_close(parts.total, parts.fer + parts.ier)


@pytest.mark.parametrize("mode", MODES)
def test_the_table_says_whether_a_mode_reads_labels(mode: DiscrepancyMode) -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(shape, generator=generator) for shape in compared_shapes(mode))
    values = {
        DISCREPANCIES[mode]((first, second), torch.tensor(FER_LABELS), labels).item()
        for labels in (torch.tensor(IER_LABELS), torch.tensor(IER_LABELS).flip(0), torch.zeros(5))
    }
    assert (len(values) > 1) is DISCREPANCIES[mode].reads_labels


def test_the_table_says_what_each_mode_needs() -> None:
    def modes(property_: str) -> set[str]:
        return {mode for mode, spec in DISCREPANCIES.items() if getattr(spec, property_)}

    assert modes("needs_features") == {"hidden", "mcd", "mmd", "coral", "dann"}
    assert modes("adversarial") == {"mcd", "dann"}
    assert modes("needs_discriminator") == {"dann"}
    assert set(MODES) == set(DISCREPANCIES)  # what settings accept


def test_with_a_discriminator_the_discrepancy_is_measured_also_at_balance_zero() -> None:
    loss = JointLoss(balance=0.0, mode="dann")
    assert loss.compared == "domains"
    fer, ier = torch.randn(6, 1), torch.randn(5, 1)
    outputs = JointOutputs(torch.randn(6, 4), torch.randn(5, 4), (fer, ier))
    labels = torch.tensor(FER_LABELS), torch.tensor(IER_LABELS)
    parts = loss(outputs, *labels, [torch.ones(1)])
    torch.testing.assert_close(parts.discrepancy, domain_confusion(fer, ier))
    torch.testing.assert_close(parts.total, parts.fer + parts.ier)


def test_supervision_by_fer_reads_no_ier_label() -> None:
    loss = JointLoss(supervision="fer", mode="same_image")
    assert loss.ier_on_fer
    fer, ier, cross, swapped = (torch.randn(n, 4) for n in (6, 5, 5, 6))
    outputs = JointOutputs(fer, ier, (cross, ier), swapped)
    labels = torch.tensor(FER_LABELS)
    found = [
        loss(outputs, labels, torch.full((5,), any_label), [torch.ones(1)]) for any_label in (0, 3)
    ]
    assert found[0] == found[1]
    expected = numpy_cross_entropy(swapped.double().numpy(), FER_LABELS)
    assert found[0].ier.item() == pytest.approx(expected, abs=1e-6)


def test_coral_of_known_covariances() -> None:
    """Points on the axes: covariances diag(2, 2/9) and diag(1/2, 0)."""
    first = torch.tensor([[2.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, -1.0]]) * torch.tensor(
        [3**0.5, 1 / 3**0.5]
    )
    second = torch.tensor([[0.0, 7.0], [1.0, 7.0]])
    expected = ((2 - 0.5) ** 2 + (2 / 9) ** 2) / (4 * 2**2)
    assert coral(first, second).item() == pytest.approx(expected)
    assert coral(first, first + 5).item() == pytest.approx(0, abs=1e-6)  # means do not matter
    assert coral(first[:1], second[:1]).item() == 0  # one sample has no covariance


def test_mmd_by_hand() -> None:
    """One sample each at distance 1: the mean squared distance is 1, so γ = 1/4, 1/2, 1, 2, 4."""
    far = np.mean(np.exp([-4.0, -2.0, -1.0, -0.5, -0.25]))
    found = mmd(torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    assert found.item() == pytest.approx(2 - 2 * far)
    assert mmd(torch.tensor([[0.0]]), torch.tensor([[5.0]])).item() == pytest.approx(2 - 2 * far)


def test_mmd_of_equal_samples_is_zero() -> None:
    points = torch.randn(7, 5, dtype=torch.float64)
    assert mmd(points, points.flip(0)).item() == pytest.approx(0, abs=1e-12)
    constant = torch.ones(3, 2, requires_grad=True)
    collapsed = mmd(constant, torch.ones(4, 2))
    assert collapsed.item() == 0
    collapsed.backward()
    assert constant.grad is not None
    assert bool(constant.grad.isfinite().all())


def test_reversal_changes_the_gradients_sign_alone() -> None:
    values = torch.tensor([1.0, -2.0], requires_grad=True)
    reversed_ = reverse_gradient(values)
    assert reversed_.tolist() == [1.0, -2.0]
    (reversed_ * torch.tensor([3.0, 5.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-3.0, -5.0]


def test_an_undecided_discriminator_costs_log_two() -> None:
    assert domain_confusion(torch.zeros(3, 1), torch.zeros(8, 1)).item() == pytest.approx(np.log(2))
    sure = domain_confusion(torch.full((3, 1), 9.0), torch.full((8, 1), -9.0))
    assert sure.item() < 1e-3


def test_discriminator_learns_while_features_are_confused() -> None:
    """The same loss, one step each: of the discriminator it falls, of the features it rises."""
    torch.manual_seed(2)
    judge = nn.Linear(3, 1)
    fer, ier = torch.randn(9, 3) + 1, torch.randn(9, 3)

    def confusion(fer: torch.Tensor, ier: torch.Tensor) -> torch.Tensor:
        return domain_confusion(judge(reverse_gradient(fer)), judge(reverse_gradient(ier)))

    fer.requires_grad_()
    before = confusion(fer, ier)
    before.backward()
    assert fer.grad is not None
    assert confusion(fer.detach() - 0.1 * fer.grad, ier) > before
    torch.optim.SGD(judge.parameters(), lr=0.1).step()
    assert confusion(fer, ier) < before
