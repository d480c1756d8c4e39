"""The checkpoint directory: weights, manifest, and what a resumed run needs."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from pydantic import ValidationError

from ier_ray import __version__, storage
from ier_ray.config import Settings
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.transforms import Normalization
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import CheckpointError
from ier_ray.models.joint import JointModel
from ier_ray.models.registry import ModelSettings, build_joint_model
from ier_ray.models.weights import read_torch_file

FORMAT_VERSION = 1
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
TRAINER_STATE = "trainer_state.pt"


class CheckpointManifest(Settings):
    """What the weights are. Serving needs nothing else."""

    format_version: int = FORMAT_VERSION
    """Version of this layout."""
    package_version: str = __version__
    """Version of ier_ray that wrote it."""
    model: ModelSettings
    """Architecture and its settings."""
    scheme: str
    """Name of the label scheme."""
    classes: list[str]
    """Class names in the order of the outputs."""
    normalization: Normalization
    """How images are normalized."""
    epoch: int
    """Epochs finished."""
    step: int
    """Optimizer steps taken."""
    metrics: dict[str, float]
    """Validation metrics of the epoch."""
    data_hashes: dict[str, str]
    """Content hash of the shard sets, by domain."""
    weights_sha256: str = ""
    """Hash of model.safetensors."""

    @property
    def label_scheme(self) -> EmotionScheme:
        """The classes as a scheme."""
        return EmotionScheme(self.scheme, tuple(self.classes))

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become the networks' input."""
        return Preprocessing(self.model.image_size, self.normalization, self.model.reads_captions)


def save_checkpoint(
    directory: Path,
    model: JointModel,
    manifest: CheckpointManifest,
    trainer_state: dict[str, Any],
) -> None:
    """Write a checkpoint directory; the manifest, which makes it complete, comes last."""
    location = str(directory)
    tensors = {
        f"{domain}.{name}": tensor.contiguous()
        for domain, network in (("fer", model.fer), ("ier", model.ier))
        for name, tensor in network.state_dict().items()
    }
    weights = safetensors.torch.save(tensors)
    storage.write_bytes(storage.join(location, WEIGHTS), weights)
    state = io.BytesIO()
    torch.save(trainer_state, state)
    storage.write_bytes(storage.join(location, TRAINER_STATE), state.getvalue())
    complete = manifest.model_copy(update={"weights_sha256": hashlib.sha256(weights).hexdigest()})
    storage.write_json(storage.join(location, MANIFEST), complete.model_dump(mode="json"))


def read_manifest(location: str) -> CheckpointManifest:
    """The manifest of a checkpoint directory.

    Raises:
        CheckpointError: when there is none, or it is of another version.
    """
    path = storage.join(location, MANIFEST)
    if not storage.exists(path):
        raise CheckpointError(
            f"{location}: no checkpoint here ({MANIFEST} is missing); "
            f"jobs/train.py prints the directory of the checkpoint it made"
        )
    content = storage.read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {version}, this program reads {FORMAT_VERSION}"
        )
    try:
        return CheckpointManifest.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a checkpoint manifest: {error}") from error


def require_images(manifest: CheckpointManifest, location: str, *, use: str) -> None:
    """Raise :class:`CheckpointError` where a network that reads captions gets images.

    Args:
        use: what the images are wanted for, as in "cannot be ...".
    """
    if manifest.model.reads_captions:
        raise CheckpointError(
            f"{location}: {manifest.model.architecture} reads captions, not images: it can be "
            f"evaluated on captioned shard sets, but not {use}"
        )


def load_checkpoint(location: str) -> tuple[JointModel, CheckpointManifest]:
    """The joint model in eval mode on the CPU, and its manifest.

    Raises:
        CheckpointError: when the directory is incomplete, the weights' hash is not the
            manifest's, or names or shapes do not fit the architecture.
    """
    manifest = read_manifest(location)
    path = storage.join(location, WEIGHTS)
    weights = storage.read_bytes(path)
    found = hashlib.sha256(weights).hexdigest()
    if found != manifest.weights_sha256:
        raise CheckpointError(
            f"{path}: sha256 is {found}, the manifest says {manifest.weights_sha256}; "
            f"the file is damaged or not from this checkpoint"
        )
    model = build_joint_model(manifest.model, num_classes=len(manifest.classes))
    try:
        model.load_state_dict(safetensors.torch.load(weights))
    except (RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path}: does not fit its own manifest: {error}") from error
    return model.eval(), manifest


def load_trainer_state(location: str) -> dict[str, Any]:
    """Optimizer, epoch, step and history for resuming.

    Raises:
        CheckpointError: when the file is missing or damaged.
    """
    path = storage.join(location, TRAINER_STATE)
    if not storage.exists(path):
        raise CheckpointError(f"{path}: missing; a checkpoint exported for serving cannot resume")
    return read_torch_file(path)


def export_checkpoint(source: str, target: str) -> str:
    """Copy what serving needs from a run's checkpoint to ``target``; returns ``target``."""
    read_manifest(source)
    storage.copy_directory(source, target, skip=frozenset({TRAINER_STATE}))
    return target
