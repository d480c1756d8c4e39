"""Copies of shard sets whose labels are permuted: a network trained on them must be at chance."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.schema import MANIFEST, ShardFile
from ier_ray.data.shards import ShardSet

DESCRIPTION = "labels permuted within folds"


def write_permuted(source: str, location: str, *, seed: int) -> str:
    """Copy a shard set with the labels of each fold permuted among its rows, once.

    Counts of classes and folds stay as they are, and so do the groups of the images.

    Returns:
        ``location``.
    """
    if storage.exists(storage.join(location, MANIFEST)):
        return location
    shards = ShardSet.open(source)
    index = shards.index()
    labels = permuted(index.label, index.fold, index.hash, seed=seed)
    names = np.asarray(shards.scheme.classes)[labels]
    files, start = [], 0
    for number, file in enumerate(shards.manifest.shards):
        with shards.parquet(number) as parquet:
            groups = [parquet.read_row_group(group) for group in range(parquet.num_row_groups)]
            target = storage.join(location, file.file)
            with storage.writing(target) as stream:
                hashed = storage.HashedStream(stream)
                with pq.ParquetWriter(hashed, parquet.schema_arrow, compression="none") as writer:
                    for table in groups:
                        own = pa.array(names[start : start + len(table)].tolist())
                        place = table.column_names.index("label")
                        writer.write_table(table.set_column(place, "label", own))
                        start += len(table)
        files.append(ShardFile(file=file.file, rows=file.rows, sha256=hashed.sha256.hexdigest()))
    content = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    request = hashlib.sha256(f"{shards.manifest.request_hash} {DESCRIPTION} {seed}".encode())
    changes = {"shards": files, "content_hash": content, "request_hash": request.hexdigest()}
    manifest = shards.manifest.model_copy(update=changes)
    storage.write_json(storage.join(location, MANIFEST), manifest.model_dump(mode="json"))
    return location


def permuted(
    labels: NDArray[np.int64],
    folds: NDArray[np.int8],
    hashes: NDArray[np.uint64],
    *,
    seed: int,
) -> NDArray[np.int64]:
    """The labels of each fold in a random order, a function of the seed and the sample ids."""
    found = labels.copy()
    for fold in np.unique(folds):
        rows = np.flatnonzero(folds == fold)
        rows = rows[np.argsort(hashes[rows], kind="stable")]
        found[rows] = np.random.default_rng((seed, int(fold))).permutation(labels[rows])
    return found
