"""Pretrained weights, by torchvision's name or from a local or S3 file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ier_ray import storage
from ier_ray.errors import CheckpointError
from ier_ray.models.classifier import EmotionClassifier
from ier_ray.models.tensor_files import load_safetensors, load_torch_file, misfits

WEIGHT_FILES = (".pth", ".pt", ".safetensors")


def load_pretrained(networks: Iterable[EmotionClassifier], source: str) -> None:
    """Copy pretrained weights into the backbone of each network; heads stay as they are.

    Args:
        source: a torchvision weight name such as ``VGG16_Weights.IMAGENET1K_V1`` (downloaded and
            cached by torch), or a ``.pth`` / ``.safetensors`` file, local or ``s3://``, with
            the same names. emotion_net takes the convolutions of VGG16 (names that begin with
            ``features.``), a baseline all layers of its own architecture but the output layer.

    Raises:
        CheckpointError: when names are missing or unexpected or shapes differ, naming them.
    """
    state = read_state_dict(source)
    for network in networks:
        fill_backbone(network, state, source)


@torch.no_grad()
def fill_backbone(network: EmotionClassifier, state: dict[str, Tensor], source: str) -> None:
    """Copy tensors of ``state`` into the backbone of a network, all or none."""
    wanted, unused = network.backbone(), network.new_layers
    given = {name: tensor for name, tensor in state.items() if not name.startswith(unused)}
    problems = misfits(wanted, {name: tensor.shape for name, tensor in given.items()})
    if problems:
        raise CheckpointError(
            f"{source}: does not fit the network: {problems}. Published weights fit at "
            f"model.width 1 and their own model.architecture (emotion_net takes VGG16's), those of "
            f"vit only at the model.image_size they were trained with"
        )
    for name, tensor in wanted.items():
        tensor.copy_(given[name])


def read_state_dict(source: str) -> dict[str, Tensor]:
    """Tensors of a torchvision weight name, a ``.pth`` or a ``.safetensors`` file."""
    if source.endswith(".safetensors"):
        with storage.local_file(source) as file:
            return load_safetensors(file, source=source)
    if source.endswith((".pth", ".pt")):
        with storage.local_file(source) as file:
            return only_tensors(load_torch_file(file, source=source), source)
    from torchvision.models import get_weight  # noqa: PLC0415 (takes a second to import)

    try:
        weights = get_weight(source)
    except ValueError as error:
        raise CheckpointError(
            f"{source!r} is neither a torchvision weight name nor a .pth or .safetensors file"
        ) from error
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # no network, or an incomplete download
        raise CheckpointError(
            f"{source}: cannot be downloaded from {weights.url}: {error}; "
            f"obtain the file by other means and give its path instead"
        ) from error


def only_tensors(content: dict[str, Any], source: str) -> dict[str, Tensor]:
    """The content, checked to be a state dict: tensors only.

    Raises:
        CheckpointError: naming the first value that is not a tensor.
    """
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{source}: {name!r} is a {type(value).__name__}, not a tensor; "
                f"save the network's state_dict() alone"
            )
    return content
