"""Epochs as TensorBoard reads them."""

from __future__ import annotations

from pathlib import Path

from support.tensorboard import read_scalars

from ier_ray.training.tracking import write_scalars


def test_each_epoch_is_a_file_and_an_epoch_trained_again_replaces_its_own(tmp_path: Path) -> None:
    write_scalars(str(tmp_path), {"epoch": 1, "total": 3.0, "ier_accuracy": 0.25})
    write_scalars(str(tmp_path), {"epoch": 2, "total": 9.0, "ier_accuracy": 0.75})
    write_scalars(str(tmp_path), {"epoch": 2, "total": 2.0, "ier_accuracy": 0.5})
    assert len(list(tmp_path.iterdir())) == 2
    assert read_scalars(str(tmp_path)) == {
        "training/total": [(1, 3.0), (2, 2.0)],
        "validation/ier_accuracy": [(1, 0.25), (2, 0.5)],
    }
