"""Embeddings of N images in each layer, in files of half precision: a layer may have a million
numbers an image, and all layers together rarely fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Halves = NDArray[np.float16]
BLOCK_BYTES = 32 * 2**20


@dataclass(frozen=True)
class EmbeddingFiles:
    """One file a layer, in a directory of this machine.

    Attributes:
        images: N.
        widths: numbers of an image in each layer.
    """

    directory: Path
    images: int
    widths: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """What all files take."""
        return bytes_of(self.images, self.widths)

    def create(self) -> None:
        """Empty files for all layers."""
        for layer in self.widths:
            self._open(layer, "w+")

    def write(self, layer: str, positions: NDArray[np.int64], rows: Halves) -> None:
        """The embeddings ``(n, D)`` of the images at some positions."""
        self._open(layer, "r+")[positions] = rows

    def rows(self, layer: str) -> Halves:
        """All embeddings ``(N, D)`` of a layer, read as they are used."""
        return self._open(layer, "r")

    def blocks(self, layer: str) -> Iterator[NDArray[np.float32]]:
        """All embeddings of a layer, some images at a time."""
        rows = self.rows(layer)
        step = max(1, BLOCK_BYTES // (4 * self.widths[layer]))
        for start in range(0, self.images, step):
            yield rows[start : start + step].astype(np.float32)

    def _open(self, layer: str, mode: Any) -> Halves:
        place = self.directory / f"{layer}.f16"
        return np.memmap(place, np.float16, mode, shape=(self.images, self.widths[layer]))


def bytes_of(images: int, widths: Mapping[str, int]) -> int:
    """What the embeddings of some images take."""
    return 2 * images * sum(widths.values())
