"""Tensors written to and read from files one at a time: no whole file is ever held in memory."""

from __future__ import annotations

import json
import pickle  # for the error that torch.load raises
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ier_ray.errors import CheckpointError

SAFETENSORS_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_safetensors(stream: BinaryIO, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file to a stream; only tensors on a device or not contiguous are copied.

    The format: the header's length (8 bytes, little-endian), the header (JSON: each tensor's type,
    shape and byte offsets after the header), the bytes of the tensors.

    Source: https://huggingface.co/docs/safetensors/index#format
    """
    # Widest types first, so that each tensor's offset is a multiple of its element size.
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header, start = {}, 0
    for name, tensor in ordered:
        end = start + tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": SAFETENSORS_DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        start = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    stream.write(len(encoded).to_bytes(8, "little") + encoded)
    for _, tensor in ordered:
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        stream.write(flat.view(torch.uint8).numpy().data)


@torch.no_grad()
def fill_from_safetensors(
    file: Path, wanted: Mapping[str, Tensor], *, prefixes: tuple[str, ...], source: str
) -> None:
    """Copy a file's tensors into those of the same names, all or none; the file is memory-mapped.

    Args:
        prefixes: prefixes of the file's names that are used; other tensors are not read.
        source: name of the file in error messages.

    Raises:
        CheckpointError: when the file is damaged, names are missing or unexpected, or shapes
            differ.
    """
    try:
        with safetensors.safe_open(file, framework="pt") as given:
            names = [name for name in given.keys() if name.startswith(prefixes)]  # noqa: SIM118
            shapes = {name: given.get_slice(name).get_shape() for name in names}
            problems = misfits(wanted, shapes)
            if problems:
                raise CheckpointError(f"{source}: does not fit the network: {problems}")
            for name, tensor in wanted.items():
                tensor.copy_(given.get_tensor(name))
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{source}: not a safetensors file: {error}") from error


def misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Sequence[int]]) -> str:
    """Why tensors of the shapes ``given`` do not fit those of the same names; empty if they do.

    Names the first five problems.
    """
    problems = [f"{name} is missing" for name in wanted if name not in given]
    problems += [f"{name} is unexpected" for name in given if name not in wanted]
    problems += [
        f"{name} has shape {tuple(given[name])}, the network needs {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and tuple(given[name]) != tuple(tensor.shape)
    ]
    return "; ".join(problems[:5]) + ("; …" if len(problems) > 5 else "")


def load_safetensors(file: Path, *, source: str) -> dict[str, Tensor]:
    """Tensors of a safetensors file, memory-mapped.

    Args:
        source: name of the file in error messages.

    Raises:
        CheckpointError: when it is not a safetensors file.
    """
    try:
        return dict(safetensors.torch.load_file(file))
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{source}: not a safetensors file: {error}") from error


def load_torch_file(file: Path, *, source: str) -> dict[str, Any]:
    """A mapping of tensors and plain values that ``torch.save`` wrote, on the CPU.

    Each tensor is read into its own memory, not mapped, so that it may outlive the file.

    Args:
        source: name of the file in error messages.

    Raises:
        CheckpointError: when the file is damaged or holds anything that is not data.
    """
    try:
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{source}: not a file of tensors: {error}") from error
