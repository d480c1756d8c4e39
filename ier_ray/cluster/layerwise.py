"""Layer-wise scores of networks: embeddings from the cluster, figures computed here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from tqdm import tqdm

from ier_ray.cluster.embeddings import embed, layer_widths, require_space
from ier_ray.cluster.evaluation import Rows
from ier_ray.cluster.features import NetworkSource
from ier_ray.errors import DataError, SettingsError
from ier_ray.layerwise.analysis import LayerScores, Scoring, analyze_layer
from ier_ray.layerwise.embeddings import EmbeddingFiles
from ier_ray.layerwise.record import Layerwise
from ier_ray.layerwise.sample import balanced_sample


def layerwise_scores(
    networks: Mapping[str, NetworkSource],
    rows: Rows,
    *,
    random: str,
    layers: Sequence[str],
    per_class: int,
    scoring: Scoring,
    scratch: str | None = None,
    workers: int = 1,
) -> Layerwise:
    """The scores of each layer of each network, on the same images.

    Args:
        networks: of one architecture, size and preprocessing, by their names.
        rows: to draw the images from, the same number of each class.
        random: name of the randomly initialized network among them.
        layers: see :func:`ier_ray.models.layers.layer_outputs`.
        per_class: most images of each class.
        scoring: see :func:`analyze_layer`; its seed also draws the images.
        scratch: directory of this machine for the embeddings, which are deleted when a network's
            scores are computed; by default that for temporary files.
        workers: copies of the network.

    Raises:
        SettingsError: when a layer or ``scratch`` does not exist, or networks differ.
        CheckpointError: when weights are missing, damaged, or do not fit.
        DataError: when there are fewer than two images, or a layer's numbers are beyond half
            precision.
        StorageError: when the embeddings do not fit on the disk.
        CapacityError: when the workers can never fit on the cluster.
    """
    if scratch is not None and not Path(scratch).is_dir():
        raise SettingsError(f"scratch {scratch}: no directory of this machine; make it first")
    first = next(iter(networks.values()))
    for name, source in networks.items():
        if (source.model, source.preprocessing) != (first.model, first.preprocessing):
            raise SettingsError(f"{name} is a network of other settings; give one run's epochs")
        widths = layer_widths(source, layers)
    chosen = np.zeros(len(rows.index), dtype=bool)
    chosen[balanced_sample(rows.index.label, most=per_class, seed=scoring.seed)] = True
    index = rows.index.select(chosen)
    if len(index) < 2:
        raise DataError(f"{rows.shards.location}: {len(index)} images; components need two")
    classes = rows.shards.scheme.classes
    reader = first.preprocessing.reader(rows.shards.files, classes)
    found: dict[str, list[LayerScores]] = {}
    for name, source in networks.items():
        with TemporaryDirectory(prefix="ier_ray-layers-", dir=scratch) as directory:
            files = EmbeddingFiles(Path(directory), len(index), widths)
            require_space(files)
            embed(source, reader, index, files, label=f"embed {name}", workers=workers)
            found[name] = [
                analyze_layer(files, layer, index.label, len(classes), scoring)
                for layer in tqdm(layers, unit="layer", desc=f"score {name}", disable=None)
            ]
    ids = tuple(rows.shards.described(index)["sample_id"].to_pylist())
    return Layerwise(classes, index.label, ids, found, random)
