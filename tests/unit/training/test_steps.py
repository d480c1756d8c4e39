"""One optimizer step, and the watch over its losses, on random images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.distributed
from support.steps import batches, trainee
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ier_ray.errors import TrainingError
from ier_ray.losses import ADVERSARIAL_MODES, DiscrepancyMode, JointLoss, LossParts
from ier_ray.training.context import LocalContext
from ier_ray.training.step import DeviceBatch, Trainee, optimizer_step
from ier_ray.training.watch import LOOK_EVERY, LossWatch

MODES: tuple[DiscrepancyMode, ...] = get_args(DiscrepancyMode)


def gradients(trained: Trainee, loss: JointLoss, steps: list[DeviceBatch]) -> dict[str, Tensor]:
    optimizer_step(trained, loss, steps, count=len(steps))
    return {n: p.grad.clone() for n, p in trained.model.named_parameters() if p.grad is not None}


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
    small = gradients(trainee(loss.mode), loss, batches(3, 4))
    large = gradients(trainee(loss.mode), loss, batches(1, 12))
    assert small.keys() == large.keys()
    for name, gradient in large.items():
        torch.testing.assert_close(small[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_clipping_bounds_the_norm_and_keeps_the_direction() -> None:
    loss, data = JointLoss(), batches(1, 4)
    free = gradients(trainee(), loss, data)
    length = torch.stack([g.norm() for g in free.values()]).norm()
    assert length > 1
    clipped = gradients(trainee(clip_norm=0.5), loss, data)
    for name, gradient in free.items():
        torch.testing.assert_close(clipped[name], gradient * 0.5 / length, rtol=1e-4, atol=1e-7)


def test_bfloat16_stays_close_and_keeps_weights_and_losses_in_float32() -> None:
    loss, data = JointLoss(regularization=1e-3), batches(1, 8)
    exact, rounded = trainee(), trainee(precision="bfloat16")
    (expected,) = optimizer_step(exact, loss, data, count=1)
    (found,) = optimizer_step(rounded, loss, data, count=1)
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
    plain = trainee(mode)
    wrapped = DistributedDataParallel(plain.model)
    trained = Trainee(plain.model, wrapped, plain.optimizer, plain.settings)
    losses = [JointLoss(balance=0.0, mode=mode), JointLoss(mode=mode)]
    if mode not in ADVERSARIAL_MODES:
        losses.append(JointLoss(mode=mode, classification=0.0))
    for loss in [*losses, *losses]:
        optimizer_step(trained, loss, batches(2, 4), count=2)


def test_alignment_alone_moves_by_the_discrepancys_gradient() -> None:
    alone = gradients(trainee(), JointLoss(classification=0.0), batches(1, 4))
    trained = trainee()
    (batch,) = batches(1, 4)
    outputs = trained.model(batch.fer_images, batch.ier_images, compared="cross")
    first, second = (logits.softmax(1) for logits in outputs.compared)
    (first - second).abs().mean().backward()
    for name, parameter in trained.model.named_parameters():
        torch.testing.assert_close(alone[name], parameter.grad, rtol=1e-4, atol=1e-7, msg=name)


class SecondRank(LocalContext):
    """Two ranks, of which the other's losses are all 1."""

    def sum(self, tensor: Tensor) -> Tensor:
        return tensor + 1


def parts(*values: float) -> LossParts:
    return LossParts(*(torch.tensor(value) for value in values))


def test_means_are_over_batches_and_ranks(tmp_path: Path) -> None:
    watch = LossWatch(SecondRank(tmp_path, world_size=2), epoch=1, learning_rate=1.0)
    watch.add(1, [parts(1, 2, 3, 4, 5), parts(3, 4, 5, 6, 7)])
    watch.add(2, [parts(5, 6, 7, 8, 9)])
    assert watch.means() == {
        "total": 2.0,
        "fer": 2.5,
        "ier": 3.0,
        "discrepancy": 3.5,
        "regularization": 4.0,
    }


def test_a_loss_that_is_not_finite_is_named_with_its_step_and_parts(tmp_path: Path) -> None:
    watch = LossWatch(LocalContext(tmp_path), epoch=3, learning_rate=0.5)
    good, bad = parts(1, 1, 0, 0, 0), parts(float("nan"), 1.25, float("inf"), 0.5, 2)
    for step in range(1, LOOK_EVERY):
        watch.add(step, [bad if step >= 7 else good])
    (tmp_path / "last").mkdir()
    expected = (
        r"epoch 3: the loss is not finite at step 7 \(total nan, fer 1.25, ier inf, discrepancy "
        rf"0.5, regularization 2\); lower optimizer.learning_rate \(now 0.5\).*{tmp_path}/last"
    )
    with pytest.raises(TrainingError, match=expected):
        watch.add(LOOK_EVERY, [bad])


def test_a_pass_shorter_than_a_look_is_looked_at_in_the_end(tmp_path: Path) -> None:
    watch = LossWatch(LocalContext(tmp_path), epoch=1, learning_rate=0.5)
    watch.add(4, [parts(float("inf"), 1, 1, 1, 1)])
    with pytest.raises(TrainingError, match=r"at step 4 .* start again \(no epoch ended\)"):
        watch.means()
