"""Values and gradients against an independent float64 computation in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ier_ray.losses import (
    DiscrepancyMode,
    JointLogits,
    JointLoss,
    discrepancy,
    joint_discrepancy,
    pair_by_label,
)

FER_LABELS = np.array([0, 2, 1, 0, 2, 2])
IER_LABELS = np.array([2, 0, 0, 3, 2])
BETA, LAMBDA = 0.7, 0.01


def numpy_softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def numpy_cross_entropy(z: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(numpy_softmax(z)[np.arange(len(z)), labels]).mean())


def numpy_discrepancy(
    fer: np.ndarray, ier: np.ndarray, cross: np.ndarray, mode: DiscrepancyMode
) -> float:
    p_fer, p_ier, p_cross = numpy_softmax(fer), numpy_softmax(ier), numpy_softmax(cross)
    if mode == "same_image":
        return float(np.abs(p_cross - p_ier).mean(1).mean())
    distances = []
    for label in range(4):
        left, right = p_fer[label == FER_LABELS], p_ier[label == IER_LABELS]
        if mode == "paired":
            distances += [np.abs(p - q).mean() for p, q in zip(left, right, strict=False)]
        elif len(left) and len(right):
            distances.append(np.abs(left.mean(0) - right.mean(0)).mean())
    return float(np.mean(distances))


def numpy_loss(values: list[np.ndarray], mode: DiscrepancyMode) -> float:
    fer, ier, cross, weight = values
    return (
        numpy_cross_entropy(fer, FER_LABELS)
        + numpy_cross_entropy(ier, IER_LABELS)
        + BETA * numpy_discrepancy(fer, ier, cross, mode)
        + LAMBDA * float((weight**2).sum())
    )


@pytest.mark.parametrize("mode", ["same_image", "paired", "class_mean"])
def test_value_and_gradient_equal_numpy(mode: DiscrepancyMode) -> None:
    generator = np.random.default_rng(4)
    shapes = [(6, 4), (5, 4), (5, 4), (3, 2)]
    values = [generator.normal(size=shape) for shape in shapes]
    tensors = [torch.tensor(value, requires_grad=True) for value in values]
    loss = JointLoss(balance=BETA, regularization=LAMBDA, mode=mode)
    parts = loss(
        JointLogits(*tensors[:3]),
        torch.tensor(FER_LABELS),
        torch.tensor(IER_LABELS),
        [tensors[3]],
    )
    assert parts.total.item() == pytest.approx(numpy_loss(values, mode), abs=1e-12)
    apart = numpy_discrepancy(*values[:3], mode)
    assert parts.discrepancy.item() == pytest.approx(apart, abs=1e-12)
    assert parts.fer.item() == pytest.approx(numpy_cross_entropy(values[0], FER_LABELS), abs=1e-12)
    assert parts.ier.item() == pytest.approx(numpy_cross_entropy(values[1], IER_LABELS), abs=1e-12)

    gradients = torch.autograd.grad(parts.total, tensors, allow_unused=True)
    step = 1e-6
    for number, value in enumerate(values):
        numeric = np.zeros_like(value)
        for place in np.ndindex(value.shape):
            original = value[place]
            value[place] = original + step
            above = numpy_loss(values, mode)
            value[place] = original - step
            numeric[place] = (above - numpy_loss(values, mode)) / (2 * step)
            value[place] = original
        analytic = gradients[number]
        found = np.zeros_like(value) if analytic is None else analytic.numpy()
        np.testing.assert_allclose(found, numeric, atol=1e-7)


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
    logits = JointLogits(fer, torch.randn(3, 4, requires_grad=True), None)
    modes: tuple[DiscrepancyMode, ...] = ("paired", "class_mean")
    for mode in modes:
        apart = joint_discrepancy(logits, torch.tensor([0, 0, 1]), torch.tensor([2, 3, 3]), mode)
        assert apart.item() == 0
        apart.backward()


def test_balance_zero_is_cross_entropy_alone_and_needs_no_cross() -> None:
    loss = JointLoss(balance=0.0)
    assert not loss.needs_cross
    logits = JointLogits(torch.randn(6, 4), torch.randn(5, 4), None)
    parts = loss(logits, torch.tensor(FER_LABELS), torch.tensor(IER_LABELS), [torch.ones(1)])
    torch.testing.assert_close(parts.total, parts.fer + parts.ier)


def test_same_image_without_cross_logits_is_an_error() -> None:
    logits = JointLogits(torch.randn(6, 4), torch.randn(5, 4), None)
    with pytest.raises(ValueError, match="needs the cross logits"):
        joint_discrepancy(logits, torch.tensor(FER_LABELS), torch.tensor(IER_LABELS), "same_image")
