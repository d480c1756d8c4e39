"""Reading shard sets: an index of all rows, and rows by number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.balancing import hash_ids
from ier_ray.data.images import Pixels, decode_square
from ier_ray.data.schema import Manifest, read_manifest
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError, ImageError


@dataclass(frozen=True)
class RowIndex:
    """Where each row of a shard set is and what is needed to order and balance rows.

    All arrays have one entry a row, in the order of the files.
    """

    file: NDArray[np.int32]
    row_group: NDArray[np.int32]
    row: NDArray[np.int32]
    """Position within the row group."""
    label: NDArray[np.int64]
    fold: NDArray[np.int8]
    hash: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.file)

    def select(self, mask: NDArray[np.bool_]) -> RowIndex:
        """The rows where ``mask`` is true."""
        return RowIndex(**{name: column[mask] for name, column in vars(self).items()})


@dataclass(frozen=True)
class ShardSet:
    """An ingested domain, opened for reading."""

    location: str
    manifest: Manifest
    scheme: EmotionScheme

    @classmethod
    def open(cls, location: str) -> ShardSet:
        """Open by location.

        Raises:
            DataError: when the shard set is missing or incomplete.
        """
        manifest = read_manifest(location)
        return cls(location, manifest, EmotionScheme(manifest.scheme, tuple(manifest.classes)))

    def index(self) -> RowIndex:
        """Read the small columns of every file."""
        parts = [self._index_file(number) for number in range(len(self.manifest.shards))]
        columns = {
            name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])
        }
        return RowIndex(**columns)

    def _index_file(self, number: int) -> RowIndex:
        with self.parquet(number) as file:
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            table = file.read(columns=["label", "fold", "sample_id"])
        rows = len(table)
        if rows != self.manifest.shards[number].rows:
            raise DataError(
                f"{self.location}/{self.manifest.shards[number].file}: has {rows} rows, the "
                f"manifest says {self.manifest.shards[number].rows}; ingest the data again"
            )
        class_of = {name: index for index, name in enumerate(self.manifest.classes)}
        labels = [class_of[name] for name in table["label"].to_pylist()]
        return RowIndex(
            file=np.full(rows, number, dtype=np.int32),
            row_group=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            row=np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]),
            label=np.asarray(labels, dtype=np.int64),
            fold=table["fold"].to_numpy().astype(np.int8),
            hash=hash_ids(table["sample_id"].to_pylist()),
        )

    def parquet(self, number: int) -> pq.ParquetFile:
        """Open one file.

        Raises:
            DataError: when it is missing or cut short.
        """
        return open_parquet(storage.join(self.location, self.manifest.shards[number].file))


def open_parquet(location: str) -> pq.ParquetFile:
    """A Parquet file, to be closed by the caller.

    Raises:
        DataError: when it is missing or none.
    """
    fs, path = storage.filesystem(location)
    try:
        return pq.ParquetFile(fs.open_input_file(path))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{location}: cannot be read as Parquet: {error}") from error


@dataclass(frozen=True)
class RowReader:
    """Reads rows of a shard set by number into arrays: small enough to travel to any worker."""

    shards: ShardSet
    image_size: int

    def read(self, columns: dict[str, NDArray[np.int32]]) -> dict[str, Pixels | NDArray[np.int64]]:
        """Rows in the order asked for, repeats included.

        Args:
            columns: ``file``, ``row_group`` and ``row`` of each wanted row.

        Returns:
            ``image`` ``(N, S, S, 3)`` uint8 and ``label`` ``(N,)``, ``sample_id`` ``(N,)``.
        """
        table = self.table(columns, ["image", "label", "sample_id"])
        class_of = {name: index for index, name in enumerate(self.shards.manifest.classes)}
        names = table["sample_id"].to_pylist()
        images = [
            self._decode(encoded.as_buffer(), name)
            for encoded, name in zip(table["image"], names, strict=True)
        ]
        return {
            "image": np.stack(images),
            "label": np.asarray([class_of[name] for name in table["label"].to_pylist()]),
            "sample_id": np.asarray(names),
        }

    def table(self, columns: dict[str, NDArray[np.int32]], names: list[str]) -> pa.Table:
        """The wanted rows as stored, each row group read once."""
        keys = np.stack([columns["file"], columns["row_group"]], axis=1)
        groups, membership = np.unique(keys, axis=0, return_inverse=True)
        parts, starts, total = [], [], 0
        for file, row_group in groups:
            with self.shards.parquet(int(file)) as parquet:
                parts.append(parquet.read_row_group(int(row_group), columns=names))
            starts.append(total)
            total += len(parts[-1])
        wanted = np.asarray(starts)[membership.reshape(-1)] + columns["row"]
        return pa.concat_tables(parts).take(pa.array(wanted))

    def _decode(self, encoded: pa.Buffer, sample_id: str) -> Pixels:
        try:
            return decode_square(bytes(encoded), self.image_size)
        except ImageError as error:
            raise DataError(
                f"{self.shards.location}: image {sample_id!r} passed ingest but is unreadable now "
                f"({error}); ingest the data again"
            ) from error
