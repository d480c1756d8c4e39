from __future__ import annotations

import io
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from ier_ray.errors import CheckpointError
from ier_ray.models.tensor_files import (
    SAFETENSORS_DTYPES,
    fill_from_safetensors,
    load_safetensors,
    write_safetensors,
)


def some_tensors() -> dict[str, Tensor]:
    """One of each type, empty and scalar ones, and some that do not lie in rows."""
    generator = torch.Generator().manual_seed(3)
    found = {
        f"net.{dtype}": torch.randint(0, 2, (3, 5), generator=generator).to(dtype)
        for dtype in SAFETENSORS_DTYPES
    }
    images = torch.randn(2, 3, 4, 4, generator=generator)
    return found | {
        "net.channels_last": images.to(memory_format=torch.channels_last),
        "net.transposed": torch.randn(7, 5, generator=generator).t(),
        "net.count": torch.tensor(41),
        "net.empty": torch.empty(0, 3),
        "net.naïve": torch.tensor([float("nan"), float("inf")]),
        "net.parameter": torch.nn.Parameter(torch.ones(3)),
    }


def same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=0, equal_nan=True)


def test_files_are_what_the_library_reads(tmp_path: Path) -> None:
    tensors = some_tensors()
    stream = io.BytesIO()
    write_safetensors(stream, tensors)
    read = safetensors.torch.load(stream.getvalue())
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        same(read[name], tensor)
    (tmp_path / "file").write_bytes(stream.getvalue())
    assert load_safetensors(tmp_path / "file", source="file").keys() == tensors.keys()


def test_live_tensors_are_filled_in_their_own_layout(tmp_path: Path) -> None:
    tensors = some_tensors()
    file = tmp_path / "file"
    file.write_bytes(safetensors.torch.save({n: t.contiguous() for n, t in tensors.items()}))
    live = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    places = {name: (tensor.data_ptr(), tensor.stride()) for name, tensor in live.items()}
    fill_from_safetensors(file, live, prefixes=("net.",), source="file")
    for name, tensor in tensors.items():
        same(live[name].detach(), tensor)
        assert (live[name].data_ptr(), live[name].stride()) == places[name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "file: does not fit the network: b is missing"),
        ({"c": torch.ones(1)}, "c is unexpected"),
        ({"b": torch.ones(3)}, r"b has shape \(3,\), the network needs \(2,\)"),
    ],
)
def test_what_does_not_fit_fills_nothing(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    given = {"a": torch.ones(2), "b": torch.ones(2)} | change
    file = tmp_path / "file"
    file.write_bytes(safetensors.torch.save({n: t for n, t in given.items() if t is not None}))
    live = {"a": torch.zeros(2), "b": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=message):
        fill_from_safetensors(file, live, prefixes=("a", "b", "c"), source="file")
    assert not any(tensor.any() for tensor in live.values())


def test_names_that_are_not_asked_for_are_not_read(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(safetensors.torch.save({"fer.a": torch.ones(2), "ier.a": torch.ones(9)}))
    live = {"fer.a": torch.zeros(2)}
    fill_from_safetensors(file, live, prefixes=("fer.",), source="file")
    same(live["fer.a"], torch.ones(2))


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match=r"s3://b/file: not a safetensors file"):
        load_safetensors(tmp_path / "file", source="s3://b/file")
    with pytest.raises(CheckpointError, match=r"s3://b/file: not a safetensors file"):
        fill_from_safetensors(tmp_path / "file", {}, prefixes=("a",), source="s3://b/file")
