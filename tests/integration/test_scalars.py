"""Epochs as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ier_ray.cluster.trainer import TrainResult
from ier_ray.training.tracking import write_scalars


def read(directory: str) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(directory)
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_each_epoch_is_a_file_and_an_epoch_trained_again_replaces_its_own(tmp_path: Path) -> None:
    write_scalars(str(tmp_path), {"epoch": 1, "total": 3.0, "ier_accuracy": 0.25})
    write_scalars(str(tmp_path), {"epoch": 2, "total": 9.0, "ier_accuracy": 0.75})
    write_scalars(str(tmp_path), {"epoch": 2, "total": 2.0, "ier_accuracy": 0.5})
    assert len(list(tmp_path.iterdir())) == 2
    assert read(str(tmp_path)) == {
        "training/total": [(1, 3.0), (2, 2.0)],
        "validation/ier_accuracy": [(1, 0.25), (2, 0.5)],
    }


def test_a_run_is_in_tensorboard_as_in_its_history(trained: TrainResult) -> None:
    found = read(f"{trained.run}/tensorboard")
    for tag, name in (
        ("training/total", "total"),
        ("training/images_per_s", "images_per_s"),
        ("validation/ier_val_loss", "ier_val_loss"),
        ("validation/fer_accuracy", "fer_accuracy"),
    ):
        expected = [(r["epoch"], pytest.approx(r[name], rel=1e-6)) for r in trained.history]
        assert found[tag] == expected
