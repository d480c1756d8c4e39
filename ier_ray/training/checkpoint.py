"""The checkpoint directory: weights, manifest, and what a resumed run needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ier_ray import __version__, storage
from ier_ray.config import Settings, in_one_line
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.provenance import DomainData, SeenRows
from ier_ray.data.schema import Domain
from ier_ray.data.transforms import Normalization
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import CheckpointError
from ier_ray.models.joint import JointModel
from ier_ray.models.registry import ModelSettings, build_joint_model
from ier_ray.models.tensor_files import (
    fill_from_safetensors,
    load_torch_file,
    write_safetensors,
)

FORMAT_VERSION = 2
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
SEEN = "seen.parquet"
TRAINER_STATE = "trainer_state.pt"


class CheckpointManifest(Settings):
    """Description of the weights: all that serving needs besides them."""

    format_version: int = FORMAT_VERSION
    """Version of the checkpoint layout."""
    package_version: str = __version__
    """Version of ier_ray that wrote it."""
    model: ModelSettings
    """Architecture and its settings."""
    networks: tuple[Domain, ...] = ("fer", "ier")
    """The networks that the checkpoint holds."""
    scheme: str
    """Name of the label scheme."""
    classes: list[str]
    """Class names in the order of the outputs."""
    normalization: Normalization
    """Normalization of the images."""
    epoch: int
    """Epochs finished."""
    step: int
    """Optimizer steps taken."""
    metrics: dict[str, float]
    """Validation metrics of the epoch."""
    seed: int
    """Seed of the run."""
    criterion: str
    """By what this epoch was selected (schedule.criterion)."""
    score: float
    """The criterion's value; higher is better."""
    data: dict[Domain, DomainData]
    """Each domain's shard set, and how its rows were divided into training, validation, test."""
    weights_sha256: str = ""
    """Hash of model.safetensors."""
    seen_sha256: str = ""
    """Hash of seen.parquet: the rows that trained or selected the weights."""
    trainer_state_sha256: str = ""
    """Hash of trainer_state.pt."""

    @property
    def label_scheme(self) -> EmotionScheme:
        """The classes as a scheme."""
        return EmotionScheme(self.scheme, tuple(self.classes))

    def priors(self, domain: Domain) -> tuple[dict[str, float], dict[str, float]]:
        """Class frequencies that a network was trained with, and those of the validation part.

        Raises:
            CheckpointError: when the validation labels were not to be read.
        """
        data = self.data[domain]
        if data.val_prior is None:
            raise CheckpointError(
                f"adjusting to the prior needs the class frequencies of the validation part, which "
                f"this checkpoint does not have for {domain}: its run could read no {domain} label"
            )
        trained, target = (
            dict(zip(self.classes, prior, strict=True))
            for prior in (data.train_prior, data.val_prior)
        )
        return trained, target

    @property
    def preprocessing(self) -> Preprocessing:
        """How images become the networks' input."""
        return Preprocessing(self.model.image_size, self.normalization, self.model.reads_captions)


def save_checkpoint(
    directory: Path,
    model: JointModel,
    manifest: CheckpointManifest,
    trainer_state: dict[str, Any],
    seen: SeenRows,
) -> None:
    """Write a checkpoint directory; the manifest, which makes it complete, comes last.

    Files are hashed while they are written; neither file is ever held in memory.
    """
    location = str(directory)
    with storage.writing(storage.join(location, WEIGHTS)) as stream:
        weights = storage.HashedStream(stream)
        write_safetensors(weights, named_tensors(model.networks))
    with storage.writing(storage.join(location, TRAINER_STATE)) as stream:
        state = storage.HashedStream(stream)
        torch.save(trainer_state, state)
    with storage.writing(storage.join(location, SEEN)) as stream:
        rows = storage.HashedStream(stream)
        seen.write(rows)
    hashes = {
        "seen_sha256": rows.sha256.hexdigest(),
        "weights_sha256": weights.sha256.hexdigest(),
        "trainer_state_sha256": state.sha256.hexdigest(),
    }
    complete = manifest.model_copy(update=hashes)
    storage.write_json(storage.join(location, MANIFEST), complete.model_dump(mode="json"))


def named_tensors(networks: Mapping[Domain, nn.Module]) -> dict[str, Tensor]:
    """The networks' own tensors (no copies), by their names in a checkpoint."""
    return {
        f"{domain}.{name}": tensor
        for domain, network in networks.items()
        for name, tensor in network.state_dict().items()
    }


def read_checkpoint_manifest(location: str) -> CheckpointManifest:
    """The manifest of a checkpoint directory.

    Raises:
        CheckpointError: when there is none, it is invalid, or it has another format version.
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
            f"{path}: format version {version}, this program reads {FORMAT_VERSION}; train again "
            f"(version 1 did not record which rows trained and selected the checkpoint)"
        )
    try:
        return CheckpointManifest.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a checkpoint manifest: {in_one_line(error)}") from error


def require_images(manifest: CheckpointManifest, location: str, *, use: str) -> None:
    """Raise :class:`CheckpointError` if the network reads captions: it cannot be given images.

    Args:
        use: what the images are wanted for, as in "cannot be ...".
    """
    if manifest.model.reads_captions:
        raise CheckpointError(
            f"{location}: {manifest.model.architecture} reads captions, not images: it can be "
            f"evaluated on captioned shard sets, but not {use}"
        )


def require_network(manifest: CheckpointManifest, location: str, domain: Domain) -> None:
    """Raise :class:`CheckpointError` if a checkpoint has no network for a domain."""
    if domain not in manifest.networks:
        raise CheckpointError(
            f"{location}: holds the {' and '.join(manifest.networks)} network alone "
            f"(schedule.networks), there is no {domain} network in it"
        )


def load_checkpoint(location: str) -> tuple[JointModel, CheckpointManifest]:
    """The joint model in eval mode on the CPU, and its manifest.

    Raises:
        CheckpointError: when the directory is incomplete, the weights' hash is not the
            manifest's, or names or shapes do not fit the architecture.
    """
    manifest = read_checkpoint_manifest(location)
    model = build_joint_model(
        manifest.model, num_classes=len(manifest.classes), networks=manifest.networks
    )
    restore_weights(location, manifest, model.networks)
    return model.eval(), manifest


def check_weights(location: str, manifest: CheckpointManifest) -> None:
    """Raise if a checkpoint cannot be loaded, without holding its weights in memory.

    Raises:
        CheckpointError: as :func:`load_checkpoint`.
    """
    with torch.device("meta"):
        model = build_joint_model(
            manifest.model, num_classes=len(manifest.classes), networks=manifest.networks
        )
    restore_weights(location, manifest, model.networks)


def restore_weights(
    location: str, manifest: CheckpointManifest, networks: Mapping[Domain, nn.Module]
) -> None:
    """Copy a checkpoint's weights into networks; an error leaves all of them unchanged.

    Raises:
        CheckpointError: when the file is missing, its hash is not the manifest's, it holds no
            such network, or names or shapes are not the networks'.
    """
    for domain in networks:
        require_network(manifest, location, domain)
    path = storage.join(location, WEIGHTS)
    with storage.local_file(path) as file:
        require_hash(file, manifest.weights_sha256, path)
        prefixes = tuple(f"{domain}." for domain in networks)
        fill_from_safetensors(file, named_tensors(networks), prefixes=prefixes, source=path)


def require_hash(file: Path, expected: str, location: str) -> None:
    """Raise :class:`CheckpointError` if a file's SHA-256 is not the expected one."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise CheckpointError(
            f"{location}: sha256 is {found}, the manifest says {expected}; "
            f"the file is damaged or not from this checkpoint"
        )


def read_seen_rows(location: str) -> SeenRows:
    """The rows that trained or selected a checkpoint.

    Raises:
        CheckpointError: when the file is missing or damaged.
    """
    manifest = read_checkpoint_manifest(location)
    path = storage.join(location, SEEN)
    if not storage.exists(path):
        raise CheckpointError(
            f"{path}: missing; without it nobody can tell which images the checkpoint has seen"
        )
    with storage.local_file(path) as file:
        require_hash(file, manifest.seen_sha256, path)
        with file.open("rb") as stream:
            return SeenRows.read(stream)


def load_trainer_state(location: str) -> dict[str, Any]:
    """Optimizer, epoch, step and history for resuming.

    Raises:
        CheckpointError: when the file is missing or damaged.
    """
    manifest = read_checkpoint_manifest(location)
    path = storage.join(location, TRAINER_STATE)
    if not storage.exists(path):
        raise CheckpointError(f"{path}: missing; a checkpoint exported for serving cannot resume")
    with storage.local_file(path) as file:
        require_hash(file, manifest.trainer_state_sha256, path)
        return load_torch_file(file, source=path)


def export_checkpoint(source: str, target: str) -> str:
    """Copy what serving needs from a run's checkpoint to ``target``; returns ``target``.

    The manifest comes last, without the hash of the trainer state, which stays behind.
    """
    manifest = read_checkpoint_manifest(source).model_copy(update={"trainer_state_sha256": ""})
    storage.copy_directory(source, target, skip=frozenset({TRAINER_STATE, MANIFEST}))
    storage.write_json(storage.join(target, MANIFEST), manifest.model_dump(mode="json"))
    return target
