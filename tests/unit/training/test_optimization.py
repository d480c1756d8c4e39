"""What the optimizer changes, at which rate, and what is averaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import SIZE, local_streams, run, tiny_settings
from support.steps import batches, take_step, train_state
from torch import nn

from ier_ray.emotions import FOUR
from ier_ray.errors import SettingsError
from ier_ray.losses import DISCREPANCIES, DiscrepancyGradient, JointLoss
from ier_ray.models import JointModel
from ier_ray.training.checkpoint import load_checkpoint, load_trainer_state
from ier_ray.training.context import LocalContext
from ier_ray.training.learning_rate import learning_rate, plateau_factor
from ier_ray.training.loop import train
from ier_ray.training.optimization import (
    averaged_copy,
    freeze_trunks,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
    set_train_mode,
)
from ier_ray.training.sections import OptimizerSettings
from ier_ray.training.state import start

CPU = torch.device("cpu")
RESNET = {"architecture": "resnet", "image_size": SIZE, "width": 0.1}


class Interrupted(LocalContext):
    """A context whose process dies at the end of an epoch, after its checkpoint is kept."""

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        super().report(metrics, directory)
        raise KeyboardInterrupt


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(str(directory / "last"))[0].state_dict()


@pytest.mark.parametrize(
    ("scores", "patience", "plateaus"),
    [
        ([], 1, 0),
        ([-2.0, -1.0], 1, 0),
        ([-1.0, -1.0], 1, 1),
        ([-1.0, -2.0, -2.0], 1, 2),
        ([-1.0, -2.0, -2.0], 2, 1),
        ([-1.0, -2.0, -2.0, -2.0], 2, 1),
        ([-1.0, -2.0, -2.0, -2.0, -2.0], 2, 2),
        ([-1.0, -2.0, -0.5, -2.0, -2.0], 2, 1),
    ],
)
def test_a_plateau_is_patience_epochs_without_a_better_score(
    scores: list[float], patience: int, plateaus: int
) -> None:
    assert plateau_factor(scores, patience=patience, factor=0.1) == pytest.approx(0.1**plateaus)


@pytest.mark.parametrize(
    ("changes", "step", "progress", "scores", "expected"),
    [
        ({}, 7, 0.9, [-1.0, -2.0], 8.0),
        ({"schedule": "cosine"}, 7, 0.0, [], 8.0),
        ({"schedule": "cosine"}, 7, 0.5, [], 4.0),
        ({"schedule": "cosine"}, 7, 1 / 3, [], 6.0),
        ({"schedule": "plateau", "plateau_patience": 1}, 7, 0.5, [-1.0, -2.0, -3.0], 2.0),
        ({"warmup_steps": 3}, 0, 0.0, [], 2.0),
        ({"warmup_steps": 3}, 2, 0.0, [], 6.0),
        ({"warmup_steps": 3}, 3, 0.0, [], 8.0),
        ({"warmup_steps": 3, "schedule": "cosine"}, 1, 0.5, [], 2.0),
    ],
)
def test_learning_rates_by_hand(
    changes: dict[str, Any], step: int, progress: float, scores: list[float], expected: float
) -> None:
    settings = OptimizerSettings.model_validate({"learning_rate": 8.0} | changes)
    found = learning_rate(settings, step=step, progress=progress, scores=scores)
    assert found == pytest.approx(expected)


def test_by_default_one_group_holds_all_parameters() -> None:
    model = train_state().model
    (group,) = parameter_groups(model, OptimizerSettings())
    assert {id(p) for p in group["params"]} == {id(p) for p in model.parameters()}
    assert len(group["params"]) == len(list(model.parameters()))


def test_the_trunk_learns_at_its_own_rate_and_vectors_do_not_decay() -> None:
    model = train_state("dann").model
    settings = OptimizerSettings(trunk_factor=0.1, weight_decay=0.5, learning_rate=2.0)
    optimizer = make_optimizer(model, settings, CPU)
    set_learning_rate(optimizer, 4.0)
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        rate = 0.4 if ".features." in name else 4.0
        decay = 0.5 if name.endswith("weight") else 0.0
        assert found[id(parameter)] == (pytest.approx(rate), decay), name


def test_a_step_decays_weights_apart_from_the_gradient() -> None:
    """AdamW's first step: w (1 - rate decay) - rate g / (|g| + epsilon)."""
    state = train_state()
    settings = {"learning_rate": 1e-3, "weight_decay": 0.1, "epsilon": 1e-3}
    optimizer = make_optimizer(state.model, OptimizerSettings.model_validate(settings), CPU)
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    trained = type(state)(state.model, state.wrapped, optimizer, state.progress)
    take_step(trained, JointLoss(), batches(1, 4))
    for name, parameter in state.model.named_parameters():
        assert parameter.grad is not None
        kept = 1 - 1e-3 * 0.1 if parameter.ndim > 1 else 1.0
        expected = before[name] * kept - 1e-3 * parameter.grad / (parameter.grad.abs() + 1e-3)
        torch.testing.assert_close(parameter.detach(), expected, rtol=1e-4, atol=1e-7)


def test_a_frozen_trunk_keeps_weights_and_running_statistics(
    shards: dict[str, str], tmp_path: Path
) -> None:
    optimizer = {"learning_rate": 1e-2, "batch_size": 16, "trunk_factor": 0}
    settings = tiny_settings(
        shards, tmp_path, model=RESNET, optimizer=optimizer, schedule__epochs=1
    )
    drawn = start(settings, FOUR, LocalContext(tmp_path / "fresh")).model.state_dict()
    run(settings, shards, tmp_path / "run")
    for name, tensor in weights(tmp_path / "run").items():
        assert torch.equal(tensor, drawn[name]) is (".fc." not in name), name


def test_a_frozen_trunk_is_in_eval_mode_and_its_head_is_not() -> None:
    model = train_state().model
    freeze_trunks(model)
    model.eval()
    set_train_mode(model)
    assert not any(module.training for module in model.fer.get_submodule("features").modules())
    head = model.fer.get_submodule("classifier")
    assert all(m.training for m in head.modules() if isinstance(m, nn.Dropout | nn.Linear))


def test_first_layers_keep_their_weights_and_the_last_block_is_trained(
    shards: dict[str, str], tmp_path: Path
) -> None:
    optimizer = {"learning_rate": 1e-2, "batch_size": 16, "frozen_layers": 10}
    settings = tiny_settings(shards, tmp_path, optimizer=optimizer, schedule__epochs=1)
    drawn = start(settings, FOUR, LocalContext(tmp_path / "fresh")).model.state_dict()
    run(settings, shards, tmp_path / "run")
    last_block = (".features.24.", ".features.26.", ".features.28.")
    kept = {
        name
        for name, tensor in weights(tmp_path / "run").items()
        if torch.equal(tensor, drawn[name])
    }
    assert kept == {n for n in drawn if ".features." in n and not any(b in n for b in last_block)}


@pytest.mark.parametrize(("model", "layers"), [({}, 13), (RESNET, 106)])
def test_more_frozen_layers_than_there_are_are_refused(
    model: dict[str, Any], layers: int, shards: dict[str, str], tmp_path: Path
) -> None:
    model = model or {"image_size": SIZE, "width": 0.02}
    settings = tiny_settings(shards, tmp_path, model=model, optimizer={"frozen_layers": layers})
    with pytest.raises(
        SettingsError, match=f"frozen_layers is {layers}, but the trunk has {layers}"
    ):
        start(settings, FOUR, LocalContext(tmp_path))


@pytest.mark.parametrize("mode", DISCREPANCIES)
def test_the_discrepancy_may_move_ier_alone(mode: str) -> None:
    """The gradient of a loss without cross-entropies: none in ``fer``, the same as ever in it."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    choices: tuple[DiscrepancyGradient, ...] = ("both", "ier")
    for gradient in choices:
        state = train_state(mode)
        loss = JointLoss(mode=mode, classification=0.0, gradient=gradient)
        take_step(state, loss, batches(1, 6), learning_rate=1e-9)
        found[gradient] = {
            name: p.grad.clone() for name, p in state.model.named_parameters() if p.grad is not None
        }
    assert found["both"].keys() == found["ier"].keys()
    moved = 0.0
    for name, expected in found["both"].items():
        if name.startswith("fer."):
            moved += float(expected.abs().sum())
            assert not found["ier"][name].any(), name
        else:
            torch.testing.assert_close(found["ier"][name], expected, msg=name)
    assert moved > 0


def test_label_smoothing_spreads_the_targets() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    labels = torch.tensor([0])
    state = train_state()
    outputs = state.model(*(batches(1, 1)[0][i] for i in (0, 2)))._replace(fer=logits, ier=logits)
    parts = JointLoss(balance=0, label_smoothing=0.2)(outputs, labels, labels, [logits])
    log_p = logits.log_softmax(1)[0]
    expected = -(0.8 * log_p[0] + 0.2 * log_p.mean())
    torch.testing.assert_close(parts.fer, expected)
    torch.testing.assert_close(parts.ier, expected)


def test_the_average_is_validated_and_saved_and_the_weights_are_kept_for_resuming(
    shards: dict[str, str], tmp_path: Path
) -> None:
    plain = {"learning_rate": 1e-3, "batch_size": 16}
    for name, ema in (("plain", None), ("averaged", 0.9)):
        settings = tiny_settings(
            shards, tmp_path, optimizer=plain | {"ema": ema}, schedule__epochs=1
        )
        run(settings, shards, tmp_path / name)
    trained, averaged = weights(tmp_path / "plain"), weights(tmp_path / "averaged")
    kept = load_trainer_state(str(tmp_path / "averaged/last"))["weights"]
    for name, tensor in trained.items():
        assert torch.equal(kept[name], tensor), name  # the average changes no training
    assert not torch.equal(averaged["ier.classifier.0.weight"], trained["ier.classifier.0.weight"])


def test_the_average_of_three_steps_by_hand() -> None:
    state = train_state()
    state = type(state)(
        state.model, state.wrapped, state.optimizer, state.progress, averaged_copy(state.model, 0.8)
    )
    seen = []
    for batch in batches(3, 2):
        take_step(state, JointLoss(), [batch])
        seen.append(state.model.fer.dense_weights()[0].detach().clone())
    expected = 0.8 * (0.8 * seen[0] + 0.2 * seen[1]) + 0.2 * seen[2]
    assert isinstance(state.evaluated, JointModel)
    torch.testing.assert_close(state.evaluated.fer.dense_weights()[0], expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "cosine", "warmup_steps": 10},
        {"schedule": "plateau", "plateau_patience": 1, "learning_rate": 1e-2},
        {"ema": 0.9, "weight_decay": 0.1, "trunk_factor": 0.1},
        {"ema": 0.9, "trunk_factor": 0, "clip_norm": 1.0},
    ],
)
def test_an_interrupted_run_continues_exactly(
    changes: dict[str, Any], shards: dict[str, str], tmp_path: Path
) -> None:
    optimizer = {"learning_rate": 1e-3, "batch_size": 16} | changes
    settings = tiny_settings(shards, tmp_path, optimizer=optimizer, schedule__epochs=3)
    whole = run(settings, shards, tmp_path / "whole")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(settings, local_streams(shards), FOUR, Interrupted(tmp_path / "stopped"))
    resumed = run(settings, shards, tmp_path / "stopped")
    for found, expected in zip(resumed, whole, strict=True):
        for name, value in expected.items():
            assert name in ("seconds", "images_per_s") or found[name] == value
    for name, tensor in weights(tmp_path / "whole").items():
        assert torch.equal(weights(tmp_path / "stopped")[name], tensor), name
