"""Pretrained weights, by torchvision's name or from a local or S3 file."""

from __future__ import annotations

import io
import pickle  # for the error that torch.load raises
from collections.abc import Iterable
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ier_ray import storage
from ier_ray.errors import CheckpointError
from ier_ray.models.classifier import EmotionClassifier

WEIGHT_FILES = (".pth", ".pt", ".safetensors")


def load_pretrained(networks: Iterable[EmotionClassifier], source: str) -> None:
    """Copy pretrained weights into the backbone of each network; heads stay as they are.

    Args:
        source: a torchvision weight name such as ``VGG16_Weights.IMAGENET1K_V1`` (downloaded and
            cached by torch), or a ``.pth`` / ``.safetensors`` file, local or ``s3://``, of the
            same names. emotion_net takes the convolutions of VGG16 (names that begin with
            ``features.``); a baseline all of its own architecture but the layer of the classes.

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
    problems = [f"{name} is missing" for name in wanted if name not in given]
    problems += [f"{name} is unexpected" for name in given if name not in wanted]
    problems += [
        f"{name} has shape {tuple(given[name].shape)}, the network needs {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")
        raise CheckpointError(
            f"{source}: does not fit the network: {shown}. Published weights fit at model.width 1 "
            f"and their own model.architecture (emotion_net takes VGG16's), those of vit only at "
            f"the model.image_size they were trained with"
        )
    for name, tensor in wanted.items():
        tensor.copy_(given[name])


def read_state_dict(source: str) -> dict[str, Tensor]:
    """Tensors of a torchvision weight name, a ``.pth`` or a ``.safetensors`` file."""
    if source.endswith(".safetensors"):
        try:
            return dict(safetensors.torch.load(storage.read_bytes(source)))
        except safetensors.SafetensorError as error:
            raise CheckpointError(f"{source}: not a safetensors file: {error}") from error
    if source.endswith((".pth", ".pt")):
        return only_tensors(read_torch_file(source), source)
    from torchvision.models import get_weight  # noqa: PLC0415 (takes a second)

    try:
        weights = get_weight(source)
    except ValueError as error:
        raise CheckpointError(
            f"{source!r} is neither a torchvision weight name nor a .pth or .safetensors file"
        ) from error
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # no network; a download that was cut short
        raise CheckpointError(
            f"{source}: cannot be downloaded from {weights.url}: {error}; "
            f"bring the file by other means and give its path instead"
        ) from error


def only_tensors(content: dict[str, Any], source: str) -> dict[str, Tensor]:
    """The content, where it is a network's state dict.

    Raises:
        CheckpointError: naming what is something else.
    """
    for name, value in content.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(
                f"{source}: {name!r} is a {type(value).__name__}, not a tensor; "
                f"save the network's state_dict() alone"
            )
    return content


def read_torch_file(source: str) -> dict[str, Any]:
    """A mapping of tensors and plain values that ``torch.save`` wrote.

    Raises:
        CheckpointError: when the file is damaged or holds anything that is not data.
    """
    content = io.BytesIO(storage.read_bytes(source))
    try:
        return dict(torch.load(content, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{source}: not a file of tensors: {error}") from error
