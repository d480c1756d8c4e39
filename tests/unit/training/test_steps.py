"""One optimizer step on random images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.distributed
from support.steps import batches, take_step, train_state
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ier_ray.losses import DISCREPANCIES, DiscrepancyMode, JointLoss
from ier_ray.training.state import TrainState
from ier_ray.training.step import DeviceBatch

MODES: tuple[DiscrepancyMode, ...] = get_args(DiscrepancyMode)


def gradients(
    state: TrainState, loss: JointLoss, steps: list[DeviceBatch], **settings: object
) -> dict[str, Tensor]:
    take_step(state, loss, steps, **settings)
    return {n: p.grad.clone() for n, p in state.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "loss",
    [
        JointLoss(balance=0.0, regularization=0.01),
        JointLoss(balance=2.0, regularization=0.01),
        JointLoss(balance=2.0, mode="mcd"),
        JointLoss(balance=2.0, mode="dann"),
        JointLoss(balance=2.0, supervision="fer"),
    ],
    ids=["cross_entropy", "same_image", "mcd", "dann", "fer_supervision"],
)
def test_three_batches_of_four_are_one_of_twelve(loss: JointLoss) -> None:
    small = gradients(train_state(loss.mode), loss, batches(3, 4))
    large = gradients(train_state(loss.mode), loss, batches(1, 12))
    assert small.keys() == large.keys()
    for name, gradient in large.items():
        torch.testing.assert_close(small[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("network", ["fer", "ier", "discriminator"])
def test_clipping_bounds_the_norm_of_each_network_and_keeps_the_direction(network: str) -> None:
    loss, data = JointLoss(balance=3.0, mode="dann"), batches(1, 4)
    free = gradients(train_state("dann"), loss, data)
    clipped = gradients(train_state("dann"), loss, data, clip_norm=0.2)
    names = [name for name in free if name.startswith(network)]
    length = torch.stack([free[name].norm() for name in names]).norm()
    assert length > 0.2
    for name in names:
        torch.testing.assert_close(
            clipped[name], free[name] * 0.2 / length, rtol=1e-4, atol=1e-7, msg=name
        )


def test_bfloat16_stays_close_and_keeps_weights_and_losses_in_float32() -> None:
    loss, data = JointLoss(regularization=1e-3), batches(1, 8)
    exact, rounded = train_state(), train_state()
    (expected,) = take_step(exact, loss, data)
    (found,) = take_step(rounded, loss, data, precision="bfloat16")
    for value, other in zip(expected, found, strict=True):
        assert other.dtype == torch.float32
        torch.testing.assert_close(other, value, rtol=0.03, atol=1e-3)
    assert found.fer != expected.fer  # it did run in bfloat16
    for parameter in rounded.model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """A group of this process alone: DDP's rules without a second process."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("mode", MODES)
def test_no_parameter_goes_without_a_gradient_under_ddp(
    mode: DiscrepancyMode, process_group: None
) -> None:
    """DDP refuses the next forward pass if one did: in warm-up, joint and alignment steps."""
    plain = train_state(mode)
    state = replace(plain, wrapped=DistributedDataParallel(plain.model))
    losses = [JointLoss(balance=0.0, mode=mode), JointLoss(mode=mode)]
    if not DISCREPANCIES[mode].adversarial:
        losses.append(JointLoss(mode=mode, classification=0.0))
    for loss in [*losses, *losses]:
        take_step(state, loss, batches(2, 4))


def test_alignment_alone_moves_by_the_discrepancys_gradient() -> None:
    alone = gradients(train_state(), JointLoss(classification=0.0), batches(1, 4))
    state = train_state()
    (batch,) = batches(1, 4)
    outputs = state.model(batch.fer_images, batch.ier_images, compared="cross")
    first, second = (logits.softmax(1) for logits in outputs.compared)
    (first - second).abs().mean().backward()
    for name, parameter in state.model.named_parameters():
        torch.testing.assert_close(alone[name], parameter.grad, rtol=1e-4, atol=1e-7, msg=name)
