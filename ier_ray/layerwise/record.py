"""The scores of several networks' layers, as JSON, Parquet and text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.layerwise.analysis import LayerScores


@dataclass(frozen=True, eq=False)
class Layerwise:
    """What was computed, of the same N images in each network.

    Attributes:
        classes: the K class names.
        labels: ``(N,)`` class indices.
        sample_ids: ``(N,)``.
        networks: the layers of each network, by its name, in the order of the forward pass.
        random: name of the randomly initialized network among them.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    sample_ids: tuple[str, ...]
    networks: Mapping[str, Sequence[LayerScores]]
    random: str

    def as_json(self) -> dict[str, Any]:
        """Everything but the scores of single images; null where a figure is not defined."""
        return {
            "classes": list(self.classes),
            "images": len(self.labels),
            "random": self.random,
            "networks": {
                name: [layer_json(layer, self.classes) for layer in layers]
                for name, layers in self.networks.items()
            },
        }

    def write_parquet(self, location: str) -> None:
        """One row per network, layer and pair of different classes."""
        with storage.writing(location) as file:
            pq.write_table(pa.Table.from_pylist(list(self._rows())), file)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for network, layers in self.networks.items():
            for depth, layer in enumerate(layers):
                for first, second in pairs(len(self.classes)):
                    yield {
                        "network": network,
                        "random": network == self.random,
                        "depth": depth,
                        "layer": layer.layer,
                        "class": self.classes[first],
                        "other_class": self.classes[second],
                        "images": int(layer.counts[first]),
                        "other_images": int(layer.counts[second]),
                    } | {
                        name: defined(values[first, second])
                        for name, values in (
                            ("intersection", layer.intersections),
                            ("chance_low", layer.chance.low),
                            ("chance_high", layer.chance.high),
                            ("distance", layer.separation.distances),
                            ("separation", layer.separation.separations),
                        )
                    }


def pairs(classes: int) -> Iterator[tuple[int, int]]:
    """Pairs of different classes."""
    first, second = np.triu_indices(classes, 1)
    yield from zip(first.tolist(), second.tolist(), strict=True)


def layer_json(layer: LayerScores, classes: tuple[str, ...]) -> dict[str, Any]:
    """A layer's figures."""
    found = {
        "layer": layer.layer,
        "width": layer.width,
        "method": layer.method,
        "images": dict(zip(classes, layer.counts.tolist(), strict=True)),
        "explained": layer.components.explained,
        "gaps": layer.components.gaps,
        "intersection": layer.mean,
        "chance": {
            "mean": layer.chance.mean,
            "low": layer.chance.mean_low,
            "high": layer.chance.mean_high,
        },
        "intersections": layer.intersections,
        "intersections_by_component": np.moveaxis(layer.by_component, 2, 0),
        "chance_low": layer.chance.low,
        "chance_high": layer.chance.high,
        "distances": layer.separation.distances,
        "variances": layer.separation.variances,
        "separations": layer.separation.separations,
        "separation": mean_separation(layer),
        "probe": layer.probe and asdict(layer.probe),
        "notes": layer.notes(classes),
    }
    return {name: plain(value) for name, value in found.items()}


def mean_separation(layer: LayerScores) -> float:
    """The mean over pairs of different classes with two images or more; NaN without such a pair."""
    several = np.flatnonzero(layer.counts > 1)
    found = layer.separation.separations[np.ix_(several, several)]
    return float(found[np.triu_indices(len(several), 1)].mean()) if len(several) > 1 else math.nan


def plain(value: Any) -> Any:
    """A value as JSON has it, None for what is not finite."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return defined(value) if isinstance(value, float) else value


def defined(value: float) -> float | None:
    """A number, or None for what is not finite."""
    return float(value) if math.isfinite(value) else None


def as_text(result: Layerwise) -> str:
    """A table of the layers of each network."""
    lines = []
    for network, layers in result.networks.items():
        lines += [
            network,
            f"  {'layer':<32}{'I':>7}{'by chance':>16}{'separation':>12}{'probe':>8}",
        ]
        for layer in layers:
            chance = f"{layer.chance.mean_low:.2f} to {layer.chance.mean_high:.2f}"
            probe = "–" if layer.probe is None else f"{layer.probe.accuracy:.3f}"
            lines.append(
                f"  {layer.layer:<32}{layer.mean:>7.3f}{chance:>16}"
                f"{mean_separation(layer):>12.3f}{probe:>8}"
            )
    return "\n".join(lines)
