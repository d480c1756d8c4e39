"""What a run starts from, what its epochs minimize, and when it ends."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import safetensors
import torch
from support.runs import SIZE, local_streams, run, tiny_settings

from ier_ray.data.order import Columns
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.streams import read_locally
from ier_ray.emotions import FOUR, EmotionScheme
from ier_ray.errors import CheckpointError, DeviceMemoryError, TrainingError
from ier_ray.losses import DiscrepancyMode
from ier_ray.models import EmotionNet
from ier_ray.training.checkpoint import load_checkpoint, load_trainer_state
from ier_ray.training.context import LocalContext
from ier_ray.training.loop import train
from ier_ray.training.state import RunProgress, start

FIRST = "features.0.weight"
"""A weight that differs between networks drawn apart."""

MODES: tuple[DiscrepancyMode, ...] = get_args(DiscrepancyMode)
Weights = dict[str, torch.Tensor]


def weights(directory: Path) -> Weights:
    return load_checkpoint(str(directory / "last"))[0].state_dict()


def assert_equal(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0, msg=name)


def without_times(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in record.items() if k not in ("seconds", "images_per_s")}
        for record in history
    ]


@torch.no_grad()
def held_out_discrepancy(directory: Path, shards: dict[str, str]) -> float:
    """Mean |p − q| of a run's two networks on the held-out generic images."""
    model = load_checkpoint(str(directory / "last"))[0]
    images = torch.cat([batch.images for batch in local_streams(shards).validation("ier")])
    pixels = Preprocessing(SIZE).inputs(images)
    return float((model.fer(pixels).softmax(1) - model.ier(pixels).softmax(1)).abs().mean())


def test_aligning_after_each_epoch_pulls_the_networks_together(
    shards: dict[str, str], tmp_path: Path
) -> None:
    ends, histories = {}, {}
    for balance in (0.0, 5.0):
        settings = tiny_settings(
            shards,
            tmp_path,
            loss={"balance": balance},
            schedule={"epochs": 4, "warmup_epochs": 1, "alignment": "per_epoch"},
            optimizer={"learning_rate": 3e-3, "batch_size": 16},
        )
        directory = tmp_path / str(balance)
        histories[balance] = run(settings, shards, directory)
        ends[balance] = held_out_discrepancy(directory, shards)
    assert ends[5.0] < 0.5 * ends[0.0]
    # Six steps of cross-entropy an epoch, and from the second on six of alignment.
    assert [record["step"] for record in histories[0.0]] == [6, 12, 18, 24]
    assert [record["step"] for record in histories[5.0]] == [6, 18, 30, 42]
    assert [record["discrepancy"] > 0 for record in histories[5.0]] == [False, True, True, True]
    last = histories[5.0][-1]
    assert last["total"] == pytest.approx(last["fer"] + last["ier"] + 5 * last["discrepancy"])


def test_accumulated_batches_are_fewer_steps(shards: dict[str, str], tmp_path: Path) -> None:
    settings = tiny_settings(
        shards, tmp_path, optimizer={"learning_rate": 1e-3, "batch_size": 16, "accumulate": 4}
    )
    history = run(settings, shards, tmp_path)
    assert [record["step"] for record in history] == [2, 4]  # six batches: 4 and 2


@pytest.mark.parametrize("mode", MODES)
def test_every_discrepancy_trains_and_resumes_exactly(
    mode: DiscrepancyMode, shards: dict[str, str], tmp_path: Path
) -> None:
    whole = tiny_settings(shards, tmp_path, loss={"discrepancy": mode}, schedule__epochs=3)
    half = tiny_settings(shards, tmp_path, loss={"discrepancy": mode}, schedule__epochs=2)
    undisturbed = run(whole, shards, tmp_path / "whole")
    run(half, shards, tmp_path / "stopped")
    resumed = run(whole, shards, tmp_path / "stopped")
    assert without_times(resumed) == without_times(undisturbed)
    assert undisturbed[-1]["discrepancy"] > 0
    assert_equal(weights(tmp_path / "stopped"), weights(tmp_path / "whole"))


def test_a_discriminator_is_kept_apart_from_what_is_served(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(shards, tmp_path, loss={"discrepancy": "dann"})
    run(settings, shards, tmp_path)
    with safetensors.safe_open(tmp_path / "last/model.safetensors", "pt") as file:
        assert {name.split(".")[0] for name in file.keys()} == {"fer", "ier"}  # noqa: SIM118
    kept = load_trainer_state(str(tmp_path / "last"))["discriminator"]
    fresh = start(settings, FOUR, LocalContext(tmp_path / "elsewhere"))
    resumed = start(settings, FOUR, LocalContext(tmp_path))
    assert fresh.model.discriminator is not None
    assert resumed.model.discriminator is not None
    assert_equal(resumed.model.discriminator.state_dict(), kept)
    assert not torch.equal(fresh.model.discriminator.state_dict()["0.weight"], kept["0.weight"])


def test_without_ier_supervision_ier_labels_change_nothing(
    shards: dict[str, str], tmp_path: Path
) -> None:
    def mislabeled(
        reader: RowReader, tasks: list[Columns], batch_size: int
    ) -> Iterator[dict[str, Any]]:
        for rows in read_locally(reader, tasks, batch_size):
            wrong = (rows["label"] + 1) % 4
            domain = "ier" if reader.files == ShardSet.open(shards["ier"]).files else "fer"
            yield rows | ({"label": wrong} if domain == "ier" else {})

    ends = {}
    for supervision in ("fer", "both"):
        settings = tiny_settings(shards, tmp_path, loss={"supervision": supervision})
        streams = local_streams(shards, batch_size=8)
        for name, execute in (("right", read_locally), ("wrong", mislabeled)):
            directory = tmp_path / supervision / name
            train(settings, replace(streams, execute=execute), FOUR, LocalContext(directory))
            ends[supervision, name] = weights(directory)
    assert_equal(ends["fer", "wrong"], ends["fer", "right"])
    name = "ier.features.0.weight"
    assert not torch.equal(ends["both", "wrong"][name], ends["both", "right"][name])


def test_half_precision_runs_and_ends_near_single(shards: dict[str, str], tmp_path: Path) -> None:
    ends = {}
    for precision in ("float32", "bfloat16"):
        optimizer = {"learning_rate": 1e-3, "batch_size": 16, "precision": precision}
        settings = tiny_settings(shards, tmp_path, optimizer=optimizer)
        ends[precision] = run(settings, shards, tmp_path / precision)[-1]
    for name in ("fer", "ier", "fer_val_loss", "ier_val_loss"):
        assert ends["bfloat16"][name] == pytest.approx(ends["float32"][name], rel=0.1)
        assert ends["bfloat16"][name] != ends["float32"][name]


@pytest.mark.parametrize(
    ("scores", "patience", "stalled"),
    [
        ([], 1, False),
        ([3.0], 1, False),
        ([3.0, 4.0], 1, False),
        ([3.0, 3.0], 1, True),
        ([3.0, 2.0, 2.5], 2, True),
        ([3.0, 2.0, 4.0, 3.5], 2, False),
        ([3.0, 2.0, 1.0, 0.0], None, False),
    ],
)
def test_patience_counts_epochs_since_the_best_score(
    scores: list[float], patience: int | None, stalled: bool
) -> None:
    history = [{"score": score} for score in scores]
    assert RunProgress(0, 0, history).has_stalled(patience) is stalled


def test_early_stopping_ends_at_the_epoch_the_losses_say_also_when_resumed(
    shards: dict[str, str], tmp_path: Path
) -> None:
    fast = {"learning_rate": 1e-2, "batch_size": 16}
    patience = 2

    def fitted(directory: str, **schedule: object) -> list[dict[str, Any]]:
        schedule = {"warmup_epochs": 1, "criterion": "ier_loss"} | schedule
        settings = tiny_settings(shards, tmp_path, optimizer=fast, schedule=schedule)
        return run(settings, shards, tmp_path / directory)

    losses = [record["ier_val_loss"] for record in fitted("whole", epochs=16)]
    lowest, expected = losses[0], 0
    for epoch, loss in enumerate(losses):
        lowest, expected = (loss, epoch) if loss < lowest else (lowest, expected)
        if epoch - expected == patience:
            break
    stop = epoch + 1
    assert stop < 16
    stopped = fitted("stopped", epochs=16, patience=patience)
    assert [record["ier_val_loss"] for record in stopped] == losses[:stop]
    fitted("resumed", epochs=stop - 1, patience=patience)
    resumed = fitted("resumed", epochs=16, patience=patience)
    assert without_times(resumed) == without_times(stopped)
    assert fitted("resumed", epochs=16, patience=patience) == resumed  # it stays stopped


def test_ier_may_start_as_a_copy_of_fer(shards: dict[str, str], tmp_path: Path) -> None:
    own = start(tiny_settings(shards, tmp_path), FOUR, LocalContext(tmp_path))
    copied = start(
        tiny_settings(shards, tmp_path, schedule={"ier_start": "fer"}), FOUR, LocalContext(tmp_path)
    )
    assert_equal(copied.model.fer.state_dict(), own.model.fer.state_dict())
    assert_equal(copied.model.ier.state_dict(), own.model.fer.state_dict())
    assert not torch.equal(own.model.ier.get_parameter(FIRST), own.model.fer.get_parameter(FIRST))


def test_transfer_starts_from_a_trained_fer_network(shards: dict[str, str], tmp_path: Path) -> None:
    run(tiny_settings(shards, tmp_path), shards, tmp_path / "source")
    trained = load_checkpoint(f"{tmp_path}/source/last")[0]
    source = {"fer_checkpoint": f"{tmp_path}/source/last"}
    both = tiny_settings(shards, tmp_path, schedule=source | {"ier_start": "fer"})
    transferred = start(both, FOUR, LocalContext(tmp_path / "run"))
    assert transferred.progress.epoch == 0
    assert_equal(transferred.model.fer.state_dict(), trained.fer.state_dict())
    assert_equal(transferred.model.ier.state_dict(), trained.fer.state_dict())
    one = start(
        tiny_settings(shards, tmp_path, schedule=source), FOUR, LocalContext(tmp_path / "run")
    )
    assert_equal(one.model.fer.state_dict(), trained.fer.state_dict())
    assert not torch.equal(one.model.ier.get_parameter(FIRST), trained.fer.get_parameter(FIRST))

    two = both.model_copy(update={"schedule": both.schedule.model_copy(update={"epochs": 2})})
    run(two, shards, tmp_path / "run")
    shutil.rmtree(tmp_path / "source")  # a run under way needs it no more
    resumed = start(two, FOUR, LocalContext(tmp_path / "run"))
    assert_equal(resumed.model.state_dict(), weights(tmp_path / "run"))


def test_transfer_from_what_does_not_fit_is_refused(shards: dict[str, str], tmp_path: Path) -> None:
    run(tiny_settings(shards, tmp_path, schedule__epochs=1), shards, tmp_path / "source")
    schedule = {"fer_checkpoint": f"{tmp_path}/source/last"}
    wider = tiny_settings(
        shards, tmp_path, schedule=schedule, model={"image_size": SIZE, "width": 0.03}
    )
    fresh = LocalContext(tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"fer_checkpoint .*width=0\.02.*width=0\.03"):
        start(wider, FOUR, fresh)
    renamed = EmotionScheme("mine", ("joy", "grief", "hate", "anger"))
    with pytest.raises(CheckpointError, match=r"trained on classes \['happy'.*'joy'"):
        start(tiny_settings(shards, tmp_path, schedule=schedule), renamed, fresh)


def test_compiled_networks_keep_their_names(shards: dict[str, str], tmp_path: Path) -> None:
    """Compiling itself happens at the first step and takes too long for a test."""
    optimizer = {"batch_size": 16, "compile": True}
    context = LocalContext(tmp_path)
    compiled = start(tiny_settings(shards, tmp_path, optimizer=optimizer), FOUR, context)
    plain = start(tiny_settings(shards, tmp_path), FOUR, context)
    assert_equal(compiled.model.state_dict(), plain.model.state_dict())
    assert compiled.model.fer._compiled_call_impl is not None
    assert compiled.model.ier._compiled_call_impl is not None
    assert plain.model.fer._compiled_call_impl is None


def test_a_loss_that_overflows_names_step_parts_and_last_checkpoint(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(
        shards,
        tmp_path,
        loss={"balance": 1e39},
        optimizer={"learning_rate": 1e-3, "batch_size": 16},
    )
    with pytest.raises(TrainingError) as caught:
        run(settings, shards, tmp_path)
    message = str(caught.value)
    assert message.startswith("epoch 2: the loss is not finite at step 7 (total inf, fer 1.")
    assert message.endswith(f"resume from the last checkpoint, {tmp_path}/last")


def test_weights_that_break_in_the_last_step_are_not_kept(
    shards: dict[str, str], tmp_path: Path
) -> None:
    settings = tiny_settings(
        shards,
        tmp_path,
        optimizer={"learning_rate": 1e30, "batch_size": 16, "accumulate": 8},
        schedule={"epochs": 1},
    )
    with pytest.raises(TrainingError, match=r"after step 1 the validation loss is not finite"):
        run(settings, shards, tmp_path)
    assert not (tmp_path / "last").exists()


def test_too_little_memory_names_the_batch_size_and_the_remedy(
    shards: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(EmotionNet, "forward", exhausted)
    with pytest.raises(DeviceMemoryError) as caught:
        run(tiny_settings(shards, tmp_path), shards, tmp_path)
    message = str(caught.value)
    assert "epoch 1: the device is out of memory with optimizer.batch_size 8; lower it" in message
    assert "raise optimizer.accumulate (now 1) by the same factor" in message
