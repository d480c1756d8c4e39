"""Pretrained trunk weights, by torchvision's name or from a local or S3 file."""

from __future__ import annotations

import io
import pickle  # for the error that torch.load raises
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models import get_weight

from ier_ray import storage
from ier_ray.errors import CheckpointError

TRUNK_PREFIX = "features."
WEIGHT_FILES = (".pth", ".pt", ".safetensors")


def load_trunk(network: nn.Module, source: str) -> None:
    """Copy convolution weights into ``network.features``.

    Args:
        source: a torchvision weight name such as ``VGG16_Weights.IMAGENET1K_V1`` (downloaded and
            cached by torch), or a ``.pth`` / ``.safetensors`` file, local or ``s3://``. Keys are
            those of torchvision's VGG16; keys outside ``features.`` are not used.

    Raises:
        CheckpointError: when keys are missing or shapes differ, naming them.
    """
    state = read_state_dict(source)
    trunk = {
        name.removeprefix(TRUNK_PREFIX): tensor
        for name, tensor in state.items()
        if name.startswith(TRUNK_PREFIX)
    }
    wanted = network.features.state_dict()  # type: ignore[union-attr]
    problems = [f"{TRUNK_PREFIX}{name} is missing" for name in wanted if name not in trunk]
    problems += [f"{TRUNK_PREFIX}{name} is unexpected" for name in trunk if name not in wanted]
    problems += [
        f"{TRUNK_PREFIX}{name} has shape {tuple(trunk[name].shape)}, "
        f"the network needs {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in trunk and trunk[name].shape != tensor.shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")
        raise CheckpointError(
            f"{source}: does not fit the trunk: {shown}. Pretrained VGG16 weights fit "
            f"model.architecture emotion_net at model.width 1"
        )
    network.features.load_state_dict(trunk)  # type: ignore[union-attr]


def read_state_dict(source: str) -> dict[str, Tensor]:
    """Tensors of a torchvision weight name, a ``.pth`` or a ``.safetensors`` file."""
    if source.endswith(".safetensors"):
        try:
            return dict(safetensors.torch.load(storage.read_bytes(source)))
        except safetensors.SafetensorError as error:
            raise CheckpointError(f"{source}: not a safetensors file: {error}") from error
    if source.endswith((".pth", ".pt")):
        return read_torch_file(source)
    try:
        weights = get_weight(source)
    except ValueError as error:
        raise CheckpointError(
            f"{source!r} is neither a torchvision weight name nor a .pth or .safetensors file"
        ) from error
    return dict(weights.get_state_dict(progress=False, check_hash=True))


def read_torch_file(source: str) -> dict[str, Any]:
    """A mapping of tensors and plain values that ``torch.save`` wrote.

    Raises:
        CheckpointError: when the file is damaged or holds anything that is not data.
    """
    content = io.BytesIO(storage.read_bytes(source))
    try:
        return dict(torch.load(content, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{source}: not a file of tensors: {error}") from error
