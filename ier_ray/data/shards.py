"""Reading shard sets: an index of all rows, and any rows by their position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.balancing import hash_ids
from ier_ray.data.images import Pixels, decode_square
from ier_ray.data.schema import PARTS, Manifest, read_shard_manifest
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError, ImageError, StorageError

CHUNK_BYTES = 16 * 2**20
"""Bytes of decoded images that a reader yields at a time: a whole window may be large, and the
first batch should not wait for it."""

POSITION = ("file", "row_group", "row")
"""The columns that say where a row is."""

NAMED = 3
"""Samples that a message names."""

INDEX_THREADS = 8
"""Files whose small columns are read concurrently: on S3 each takes a few round trips."""


@dataclass(frozen=True)
class RowIndex:
    """The position of each row of a shard set, and what is needed to order and balance rows.

    All arrays have one entry per row, in the order of the files.
    """

    file: NDArray[np.int32]
    row_group: NDArray[np.int32]
    row: NDArray[np.int32]
    """Position within the row group."""
    label: NDArray[np.int64]
    fold: NDArray[np.int8]
    hash: NDArray[np.uint64]
    """Hash of the sample's id."""
    split: NDArray[np.int8]
    """The dataset's own part: its position in ``PARTS``; -1 where it has none."""
    group: NDArray[np.uint64]
    """Hash of the group's name."""
    pixels: NDArray[np.uint64]
    """Hash of the decoded image."""

    def __len__(self) -> int:
        return len(self.file)

    def select(self, mask: NDArray[np.bool_]) -> RowIndex:
        """The rows where ``mask`` is true."""
        return RowIndex(**{name: column[mask] for name, column in vars(self).items()})

    def first(self, count: int) -> RowIndex:
        """The first ``count`` rows."""
        return RowIndex(**{name: column[:count] for name, column in vars(self).items()})

    @property
    def positions(self) -> dict[str, NDArray[np.int32]]:
        """Where the rows are: the columns that a :class:`RowReader` takes."""
        return {name: getattr(self, name) for name in POSITION}

    @classmethod
    def concatenated(cls, parts: Sequence[RowIndex]) -> RowIndex:
        """The rows of all parts, whose ``file`` columns number the same list of files."""
        return cls(
            **{
                name: np.concatenate([vars(part)[name] for part in parts])
                for name in vars(parts[0])
            }
        )


@dataclass(frozen=True)
class ShardSet:
    """The shard set of one domain, opened for reading."""

    location: str
    manifest: Manifest
    scheme: EmotionScheme

    @classmethod
    def open(cls, location: str) -> ShardSet:
        """Open the shard set at a location.

        Raises:
            DataError: when the shard set is missing or incomplete.
        """
        manifest = read_shard_manifest(location)
        return cls(location, manifest, EmotionScheme(manifest.scheme, tuple(manifest.classes)))

    def require_all_classes(self) -> None:
        """Raise :class:`DataError` naming the classes without a row, if there are any."""
        counts = {name: sum(folds) for name, folds in self.manifest.counts.items()}
        if self.manifest.empty_classes:
            raise DataError(
                f"{self.location}: no row of class {', '.join(self.manifest.empty_classes)} of "
                f"scheme {self.manifest.scheme!r} (rows per class: {counts}; dropped labels: "
                f"{self.manifest.dropped or 'none'}). Ingest with a scheme that merges the "
                f"data's labels into it or leaves it out, add data, or train all the same with "
                f"data.allow_empty_classes"
            )

    def index(self) -> RowIndex:
        """Read the small columns of every file."""
        with ThreadPoolExecutor(INDEX_THREADS) as threads:
            parts = threads.map(self._index_file, range(len(self.files)))
            return RowIndex.concatenated(list(parts))

    def described(self, rows: RowIndex) -> pa.Table:
        """``sample_id``, ``group`` and ``dataset`` of some rows of this set, in their order."""
        names = ["sample_id", "group", "dataset"]
        return RowReader.of(self, image_size=1).table(rows.positions, names)

    def named(self, rows: RowIndex) -> str:
        """The ids of the first of some rows, for a message."""
        ids = self.described(rows.first(NAMED))["sample_id"].to_pylist()
        return ", ".join(ids) + (", …" if len(rows) > NAMED else "")

    @property
    def files(self) -> tuple[str, ...]:
        """Locations of the Parquet files, in order."""
        return tuple(storage.join(self.location, shard.file) for shard in self.manifest.shards)

    def _index_file(self, number: int) -> RowIndex:
        with self.parquet(number) as file, reading(self.files[number]):
            sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            table = file.read(
                columns=["label", "fold", "sample_id", "split", "group", "pixel_hash"]
            )
        rows = len(table)
        if rows != self.manifest.shards[number].rows:
            raise DataError(
                f"{self.files[number]}: has {rows} rows, but the "
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
            split=_split_codes(table["split"]),
            group=hash_ids(table["group"].to_pylist()),
            pixels=table["pixel_hash"].to_numpy(),
        )

    def parquet(self, number: int) -> pq.ParquetFile:
        """Open one file; the caller closes it.

        Raises:
            DataError: when it is missing or truncated.
        """
        return open_parquet(self.files[number])


def _split_codes(splits: pa.ChunkedArray) -> NDArray[np.int8]:
    codes = pc.fill_null(pc.index_in(splits, value_set=pa.array(PARTS)), -1)
    return np.asarray(codes.to_numpy(), dtype=np.int8)


def open_parquet(location: str) -> pq.ParquetFile:
    """Open a Parquet file; the caller closes it.

    Raises:
        DataError: when it is missing or not a Parquet file.
        StorageError: when its storage fails.
    """
    fs, path = storage.filesystem(location)
    with reading(location):
        return pq.ParquetFile(fs.open_input_file(path))


@contextmanager
def reading(location: str) -> Iterator[None]:
    """Name the file in errors that pyarrow raises while it is read.

    Raises:
        DataError: when it is missing or damaged.
        StorageError: when its storage fails, which may pass.
    """
    try:
        yield
    except (FileNotFoundError, pa.ArrowException) as error:
        raise DataError(f"{location}: cannot be read as Parquet: {error}") from error
    except OSError as error:
        # Pages that do not decode are an OSError, too, but none of the system or of S3.
        if error.errno is None and "AWS Error" not in str(error):
            what = " ".join(str(error).split())
            raise DataError(f"{location}: is damaged: {what}; ingest the data again") from error
        raise StorageError(f"{location}: cannot be read: {error}") from error


@contextmanager
def decoding(sample_id: str) -> Iterator[None]:
    """Name the sample whose stored image cannot be decoded.

    Raises:
        DataError: in place of an :class:`ImageError`.
    """
    try:
        yield
    except ImageError as error:
        raise DataError(
            f"image {sample_id!r} passed ingest but is unreadable now ({error}); "
            f"ingest the data again"
        ) from error


@dataclass(frozen=True)
class RowReader:
    """Reads rows by position into arrays; small enough to be sent to any worker.

    Attributes:
        files: locations of the Parquet files, which the column ``file`` of the rows numbers.
        classes: label names in the network's order.
        image_size: side S that images are resized to.
    """

    files: tuple[str, ...]
    classes: tuple[str, ...]
    image_size: int

    @classmethod
    def of(cls, shards: ShardSet, image_size: int) -> RowReader:
        """A reader of one shard set."""
        return cls(shards.files, shards.scheme.classes, image_size)

    @property
    def row_bytes(self) -> int:
        """Bytes per decoded image."""
        return 3 * self.image_size**2

    @property
    def chunk_rows(self) -> int:
        """Rows per chunk."""
        return max(1, CHUNK_BYTES // self.row_bytes)

    def read(self, columns: dict[str, NDArray[np.int32]]) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows in the requested order, with repeats, in chunks of about :data:`CHUNK_BYTES`.

        Args:
            columns: ``file``, ``row_group`` and ``row`` of each requested row. Further columns are
                passed on.

        Yields:
            ``image`` ``(N, S, S, 3)`` uint8 and ``label`` ``(N,)``, ``sample_id`` ``(N,)``.
        """
        table = self.table(columns, ["image", "label", "sample_id"])
        for start in range(0, len(table), self.chunk_rows):
            rows = slice(start, start + self.chunk_rows)
            passed = {name: columns[name][rows] for name in columns if name not in POSITION}
            yield {**self._arrays(table.slice(start, self.chunk_rows)), **passed}

    def table(self, columns: dict[str, NDArray[np.int32]], names: list[str]) -> pa.Table:
        """The requested rows as stored; each row group is read once."""
        keys = np.stack([columns["file"], columns["row_group"]], axis=1)
        groups, membership = np.unique(keys, axis=0, return_inverse=True)
        parts, starts, total = [], [], 0
        for file, row_group in groups:
            location = self.files[file]
            with open_parquet(location) as parquet, reading(location):
                parts.append(parquet.read_row_group(int(row_group), columns=names))
            starts.append(total)
            total += len(parts[-1])
        wanted = np.asarray(starts)[membership.reshape(-1)] + columns["row"]
        return pa.concat_tables(parts).take(pa.array(wanted))

    def _arrays(self, table: pa.Table) -> dict[str, Pixels | NDArray[np.int64]]:
        others = self.labels_and_ids(table)
        ids = others["sample_id"].tolist()
        images = np.empty((len(table), self.image_size, self.image_size, 3), dtype=np.uint8)
        for row, (encoded, sample_id) in enumerate(zip(table["image"], ids, strict=True)):
            images[row] = self._decode(encoded.as_buffer(), sample_id)
        return {"image": images, **others}

    def labels_and_ids(self, table: pa.Table) -> dict[str, NDArray[Any]]:
        """The columns beside the images: ``label`` ``(N,)`` int64 and ``sample_id`` ``(N,)``."""
        class_of = {name: index for index, name in enumerate(self.classes)}
        return {
            "label": np.asarray([class_of[name] for name in table["label"].to_pylist()]),
            "sample_id": np.asarray(table["sample_id"].to_pylist()),
        }

    def _decode(self, encoded: pa.Buffer, sample_id: str) -> Pixels:
        with decoding(sample_id):
            return decode_square(bytes(encoded), self.image_size)
