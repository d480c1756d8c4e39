from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from support.checkpoints import manifest_of

from ier_ray.data.provenance import SeenRows
from ier_ray.errors import CheckpointError
from ier_ray.models import ModelSettings, build_joint_model
from ier_ray.training.checkpoint import (
    export_checkpoint,
    load_checkpoint,
    load_trainer_state,
    restore_weights,
    save_checkpoint,
)

MODEL = ModelSettings(image_size=32, width=0.02)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    manifest = manifest_of(MODEL, epoch=3, step=30, metrics={"ier_accuracy": 0.5})
    torch.manual_seed(5)
    model = build_joint_model(MODEL, num_classes=4)
    save_checkpoint(
        directory, model, manifest, {"epoch": 3, "optimizer": {"x": torch.ones(2)}}, SeenRows.none()
    )
    return directory


def edit_manifest(directory: Path, **changes: object) -> None:
    file = directory / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_round_trip(checkpoint: Path) -> None:
    torch.manual_seed(5)
    expected = build_joint_model(MODEL, num_classes=4).state_dict()
    model, manifest = load_checkpoint(str(checkpoint))
    assert not model.training
    assert manifest.epoch == 3
    assert manifest.label_scheme.classes == ("happy", "sad", "hate", "anger")
    assert {name.split(".")[0] for name in model.state_dict()} == {"fer", "ier"}
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert load_trainer_state(str(checkpoint))["epoch"] == 3


def test_export_leaves_the_trainer_state_behind(checkpoint: Path, tmp_path: Path) -> None:
    exported = export_checkpoint(str(checkpoint), str(tmp_path / "best"))
    assert sorted(p.name for p in Path(exported).iterdir()) == [
        "manifest.json",
        "model.safetensors",
        "seen.parquet",
    ]
    load_checkpoint(exported)
    with pytest.raises(CheckpointError, match="exported for serving cannot resume"):
        load_trainer_state(exported)


def test_a_damaged_file_is_noticed(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: sha256 is .* damaged"):
        load_checkpoint(str(checkpoint))


def test_a_directory_without_manifest_is_no_checkpoint(checkpoint: Path) -> None:
    (checkpoint / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_checkpoint(str(checkpoint))


def test_another_version_is_refused(checkpoint: Path) -> None:
    edit_manifest(checkpoint, format_version=99)
    with pytest.raises(CheckpointError, match="version 99, this program reads 2; train again"):
        load_checkpoint(str(checkpoint))


def test_weights_of_another_shape_are_refused(checkpoint: Path) -> None:
    edit_manifest(checkpoint, classes=["happy", "sad"])
    with pytest.raises(
        CheckpointError, match=r"model\.safetensors: does not fit the network: fer\."
    ):
        load_checkpoint(str(checkpoint))


def test_a_strange_manifest_is_refused(checkpoint: Path) -> None:
    edit_manifest(checkpoint, epoch="many")
    with pytest.raises(CheckpointError, match="not a checkpoint manifest"):
        load_checkpoint(str(checkpoint))


def test_damaged_trainer_state_is_refused(checkpoint: Path) -> None:
    (checkpoint / "trainer_state.pt").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"trainer_state\.pt: sha256 is .* damaged"):
        load_trainer_state(str(checkpoint))
    nonsense = hashlib.sha256(b"nonsense").hexdigest()
    edit_manifest(checkpoint, trainer_state_sha256=nonsense)
    with pytest.raises(CheckpointError, match=r"trainer_state\.pt: not a file of tensors"):
        load_trainer_state(str(checkpoint))


def test_checkpoints_that_libraries_wrote_whole_are_read(checkpoint: Path) -> None:
    expected = load_checkpoint(str(checkpoint))[0].state_dict()
    weights = safetensors.torch.save(expected)
    (checkpoint / "model.safetensors").write_bytes(weights)
    torch.save({"epoch": 7}, checkpoint / "trainer_state.pt")
    file = checkpoint / "manifest.json"
    manifest = json.loads(file.read_text())
    state = (checkpoint / "trainer_state.pt").read_bytes()
    manifest["trainer_state_sha256"] = hashlib.sha256(state).hexdigest()
    manifest["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    file.write_text(json.dumps(manifest))
    for name, tensor in load_checkpoint(str(checkpoint))[0].state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)
    assert load_trainer_state(str(checkpoint)) == {"epoch": 7}


def test_weights_fill_live_networks_or_none(checkpoint: Path) -> None:
    location = str(checkpoint)
    saved, manifest = load_checkpoint(location)
    live = build_joint_model(MODEL, num_classes=4)
    before = copy.deepcopy(live.state_dict())
    restore_weights(location, manifest, {"fer": live.fer})
    for name, tensor in live.state_dict().items():
        expected = saved.state_dict() if name.startswith("fer.") else before
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)

    other = build_joint_model(MODEL, num_classes=5)
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(CheckpointError, match=r"has shape \(4,\), the network needs \(5,\)"):
        restore_weights(location, manifest, {"fer": other.fer, "ier": other.ier})
    damaged = manifest.model_copy(update={"weights_sha256": "0"})
    with pytest.raises(CheckpointError, match="the manifest says 0"):
        restore_weights(location, damaged, {"fer": live.fer})
    for name, tensor in other.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
