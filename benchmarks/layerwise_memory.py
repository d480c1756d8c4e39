"""Components of a wide layer: memory and time of ours beside scikit-learn's PCA.

The layer is B1 of the paper's network at 224, 802,816 numbers an image, of random weights on drawn
scenes. Its embeddings are in a file of half precision, as the job leaves them. Each row is a
process of its own: ``gram`` reads the file some columns at a time, ``in_memory`` does the same with
all rows in memory, ``streaming`` reads blocks of images, as the job does beyond some thousand
images; ``randomized`` is scikit-learn's PCA of all rows in memory, ``incremental`` its
IncrementalPCA of the file, block by block. Memory is the peak of what the process allocated: pages
of the file belong to the system. ``intersection`` is the mean over the classes, ``error`` its
distance to that of ``gram``. Seconds are of the components and the intersections; reading is
included, extraction is not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from subjects.memory import Peak, in_new_process

from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.layerwise.embeddings import EmbeddingFiles
from ier_ray.layerwise.intersections import class_ranges, intersections, mean_intersection
from ier_ray.layerwise.pca import (
    COMPONENTS,
    Floats,
    coordinates,
    gram_matrix,
    principal_components,
    streamed_coordinates,
)

LAYER = "features.4"
SIDE = 224
BATCH = 10
BLOCK = 50
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="60 images instead of 1,000")
    parser.add_argument("--images", type=int, help="another number of images")
    arguments = parser.parse_args()
    images = arguments.images or (60 if arguments.quick else 1000)
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        files, labels = extracted(images, Path(directory))
        print(json.dumps({"images": images, "bytes": files.bytes, "extract_s": since(started)}))
        rows: dict[str, dict[str, Any]] = {}
        for name, way in WAYS.items():
            row = rows[name] = in_new_process(measured, way, files, labels)
            row["error"] = abs(row["intersection"] - rows["gram"]["intersection"])
            row["memory_ratio"] = row["peak_mib"] / rows["gram"]["peak_mib"]
            row["seconds_ratio"] = row["seconds"] / rows["gram"]["seconds"]
            print(json.dumps({"way": name, **row}), flush=True)


def extracted(images: int, directory: Path) -> tuple[EmbeddingFiles, NDArray[np.int64]]:
    """The layer's embeddings of drawn scenes, and their class indices."""
    import torch  # noqa: PLC0415 (the ways need no torch, and its memory would count)

    from ier_ray.models.registry import ModelSettings, build_network  # noqa: PLC0415

    torch.manual_seed(0)
    network = build_network(ModelSettings(image_size=SIDE), num_classes=4).eval()
    block = torch.nn.Sequential(*list(network.get_submodule("features").children())[:5])
    preprocessing = Preprocessing(SIDE)
    source = SyntheticSource(samples=images, size=SIDE, seed=0)
    samples = list(source.list("ier"))
    with torch.inference_mode():
        width = block(torch.zeros(1, 3, SIDE, SIDE)).numel()
        files = EmbeddingFiles(directory, images, {LAYER: width})
        files.create()
        for start in range(0, images, BATCH):
            chosen = samples[start : start + BATCH]
            pixels = np.stack([preprocessing.decode(source.load("ier", s).image) for s in chosen])
            outputs = block(preprocessing.inputs(torch.from_numpy(pixels))).flatten(1)
            files.write(LAYER, np.arange(start, start + len(chosen)), outputs.half().numpy())
    return files, np.arange(images) % len(FOUR.classes)  # emotions alternate


def gram(files: EmbeddingFiles) -> Floats:
    return of_rows(files.rows(LAYER))


def in_memory(files: EmbeddingFiles) -> Floats:
    return of_rows(np.array(files.rows(LAYER), dtype=np.float32))


def of_rows(rows: NDArray[Any]) -> Floats:
    return principal_components(*coordinates(gram_matrix(rows))).scores


def streaming(files: EmbeddingFiles) -> Floats:
    scores, total = streamed_coordinates(partial(files.blocks, LAYER), seed=0)
    return principal_components(scores, total).scores


def randomized(files: EmbeddingFiles) -> Floats:
    from sklearn.decomposition import PCA  # noqa: PLC0415 (its memory is of this way only)

    found: Floats = PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit_transform(
        np.array(files.rows(LAYER), dtype=np.float32)
    )
    return found


def incremental(files: EmbeddingFiles) -> Floats:
    from sklearn.decomposition import IncrementalPCA  # noqa: PLC0415

    model, rows = IncrementalPCA(COMPONENTS), files.rows(LAYER)
    starts = range(0, files.images, BLOCK)
    for start in starts:
        model.partial_fit(rows[start : start + BLOCK].astype(np.float32))
    parts = [model.transform(rows[start : start + BLOCK].astype(np.float32)) for start in starts]
    return np.concatenate(parts)


Way = Callable[[EmbeddingFiles], Floats]
WAYS: dict[str, Way] = {
    "gram": gram,
    "in_memory": in_memory,
    "streaming": streaming,
    "randomized": randomized,
    "incremental": incremental,
}


def measured(way: Way, files: EmbeddingFiles, labels: NDArray[np.int64]) -> dict[str, Any]:
    """What a way takes, and what it finds."""
    with Peak(allocated, every=0.01) as peak:
        started = time.perf_counter()
        ranges = class_ranges(way(files), labels, 4)
        seconds = since(started)
    intersection = mean_intersection(intersections(ranges), ranges.counts)
    added = (peak.peak - peak.base) / MIB
    return {"peak_mib": added, "seconds": seconds, "intersection": intersection}


def allocated() -> int:
    """Resident bytes of this process that are no pages of files."""
    status = Path("/proc/self/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) * 1024


def since(started: float) -> float:
    return round(time.perf_counter() - started, 2)


if __name__ == "__main__":
    main()
