"""What a run starts from is checked before any worker starts, and as the workers would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.runs import run, tiny_settings

from ier_ray.emotions import FOUR, POLARITY
from ier_ray.errors import CheckpointError, SettingsError, StorageError
from ier_ray.models.registry import BUILDERS, ModelSettings, build_network
from ier_ray.training.checkpoint import check_weights, read_checkpoint_manifest
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import check_initial_weights

NOWHERE = {"fer": "fer", "ier": "ier"}


def settings_of(tmp_path: Path, **changes: object) -> TrainSettings:
    return tiny_settings(NOWHERE, tmp_path, **changes)


@pytest.fixture(scope="module")
def checkpoint(shards: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("run")
    schedule = {"epochs": 1, "warmup_epochs": 0}
    run(tiny_settings(shards, root, schedule=schedule), shards, root)
    return f"{root}/last"


@pytest.mark.parametrize("architecture", BUILDERS)
def test_every_architecture_can_start(architecture: str, tmp_path: Path) -> None:
    size = 64 if architecture == "alexnet" else 32
    model = {"architecture": architecture, "image_size": size, "width": 0.05}
    check_initial_weights(settings_of(tmp_path, model=model), FOUR)
    dann = {"discrepancy": "dann"}
    check_initial_weights(settings_of(tmp_path, model=model, loss=dann), FOUR)


def test_pretrained_weights_are_read_and_compared(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, schedule__pretrained=f"{tmp_path}/w.pth")
    with pytest.raises(StorageError, match=r"w\.pth: no such file"):
        check_initial_weights(settings, FOUR)
    state = build_network(settings.model, num_classes=4).state_dict()
    torch.save(state, tmp_path / "w.pth")
    check_initial_weights(settings, FOUR)
    wide = ModelSettings(image_size=32, width=0.05)
    torch.save(build_network(wide, num_classes=4).state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth: does not fit the network: .* has shape"):
        check_initial_weights(settings, FOUR)


def test_a_start_from_a_checkpoint_is_compared(checkpoint: str, tmp_path: Path) -> None:
    settings = settings_of(tmp_path, schedule__fer_checkpoint=checkpoint)
    check_initial_weights(settings, FOUR)
    both = settings_of(tmp_path, schedule__fer_checkpoint=checkpoint, schedule__ier_start="fer")
    check_initial_weights(both, FOUR)
    with pytest.raises(CheckpointError, match=r"trained on classes .*, the data has \['positive"):
        check_initial_weights(settings, POLARITY)
    wider = settings_of(tmp_path, schedule__fer_checkpoint=checkpoint, model__width=0.03)
    with pytest.raises(CheckpointError, match=r"fer_checkpoint .*: is of model .*width=0\.02"):
        check_initial_weights(wider, FOUR)


def test_there_must_be_layers_to_freeze_and_images_to_normalize(tmp_path: Path) -> None:
    for count in (13, 99):  # the trunk has thirteen, the network more
        match = f"frozen_layers is {count}, but the trunk has 13 layers"
        with pytest.raises(SettingsError, match=match):
            check_initial_weights(settings_of(tmp_path, optimizer__frozen_layers=count), FOUR)
    check_initial_weights(settings_of(tmp_path, optimizer__frozen_layers=12), FOUR)
    small = {"architecture": "resnet", "image_size": 32, "width": 0.05}
    alone = settings_of(tmp_path, model=small, optimizer__batch_size=1)
    with pytest.raises(SettingsError, match=r"batch_size 1 with model.image_size 32: Expected mo"):
        check_initial_weights(alone, FOUR)


def test_a_damaged_checkpoint_is_known_without_loading_it(checkpoint: str, tmp_path: Path) -> None:
    manifest = read_checkpoint_manifest(checkpoint)
    check_weights(checkpoint, manifest)
    weights = Path(checkpoint, "model.safetensors")
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CheckpointError, match="sha256 is"):
            check_weights(checkpoint, manifest)
        weights.unlink()
        with pytest.raises(StorageError, match=r"model\.safetensors: no such file"):
            check_weights(checkpoint, manifest)
    finally:
        weights.write_bytes(content)
    wide = manifest.model.model_copy(update={"width": 0.05})
    with pytest.raises(CheckpointError, match="does not fit the network"):
        check_weights(checkpoint, manifest.model_copy(update={"model": wide}))
