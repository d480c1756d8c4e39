"""Kept predictions: one row per prediction of an image by a run, in one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ier_ray import storage
from ier_ray.data.schema import DOMAINS, PARTS
from ier_ray.errors import DataError

UNKNOWN_PART = ""
"""Stands in :attr:`Predictions.parts` for a null of the file."""
UNKNOWN_FOLD = -1
"""Stands in :attr:`Predictions.folds` for a null of the file."""
SUM_TOLERANCE = 1e-5
"""Largest distance from 1 of a row's summed probabilities: those of a softmax in float32 fit."""

PREDICTION_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("group", pa.string()),
        ("dataset", pa.string()),
        ("domain", pa.string()),
        ("part", pa.string()),
        ("fold", pa.int8()),
        ("label", pa.string()),
        ("probabilities", pa.list_(pa.float64())),
        ("run", pa.string()),
        ("seed", pa.int64()),
        ("seen", pa.bool_()),
    ]
)
"""Columns of the file; ``part`` and ``fold`` may be null. Its metadata names the classes."""
NULLABLE = ("part", "fold")
CLASSES_KEY = b"classes"


@dataclass(frozen=True, eq=False)
class Predictions:
    """Predictions of N images (an image occurs once per run that predicted it), K classes.

    Attributes:
        sample_ids, groups, datasets, runs: ``(N,)`` strings.
        domains: ``(N,)`` strings, each ``fer`` or ``ier``.
        parts: ``(N,)`` strings: ``train``, ``val``, ``test`` or :data:`UNKNOWN_PART`.
        folds: ``(N,)`` int8; :data:`UNKNOWN_FOLD` where the image belongs to none.
        labels: ``(N,)`` int64, indices of the true classes.
        probabilities: ``(N, K)`` float64, rows sum to 1.
        seeds: ``(N,)`` int64, the seed of the run.
        seen: ``(N,)`` whether the image trained or selected the checkpoint that predicted it.
        classes: the K class names, in the order of ``probabilities``.

    Raises:
        DataError: when columns differ in length, or a value is not one of those above.
    """

    sample_ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    datasets: NDArray[np.str_]
    domains: NDArray[np.str_]
    parts: NDArray[np.str_]
    folds: NDArray[np.int8]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    runs: NDArray[np.str_]
    seeds: NDArray[np.int64]
    seen: NDArray[np.bool_]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        rows = len(self.sample_ids)
        for name, column in self.columns().items():
            expected = (rows, len(self.classes)) if name == "probabilities" else (rows,)
            if column.shape != expected:
                raise DataError(
                    f"predictions: {name} has shape {column.shape}, expected {expected}: one entry "
                    f"per prediction, one probability for each of {list(self.classes)}"
                )
        _require("domain", self.domains, np.isin(self.domains, DOMAINS), "fer or ier")
        known = np.isin(self.parts, (*PARTS, UNKNOWN_PART))
        _require("part", self.parts, known, f"{', '.join(PARTS)} or null")
        inside = (self.labels >= 0) & (self.labels < len(self.classes))
        _require("label", self.labels, inside, f"an index of {list(self.classes)}")
        sums = self.probabilities.sum(1)
        proper = (self.probabilities >= 0).all(1) & (np.abs(sums - 1) <= SUM_TOLERANCE)
        _require("probabilities", sums, proper, "finite and not negative, with sum 1")

    def __len__(self) -> int:
        return len(self.sample_ids)

    def columns(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names; all but ``classes``."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "classes"}

    def select(self, mask: NDArray[Any]) -> Predictions:
        """The predictions where ``mask`` is true, or those at its positions, in their order."""
        chosen = {name: column[mask] for name, column in self.columns().items()}
        return Predictions(**chosen, classes=self.classes)

    @classmethod
    def concatenated(cls, parts: Sequence[Predictions]) -> Predictions:
        """The predictions of all parts (at least one).

        Raises:
            DataError: when their classes or the order of these differ.
        """
        classes = parts[0].classes
        for part in parts[1:]:
            if part.classes != classes:
                raise DataError(
                    f"predictions of classes {list(part.classes)} cannot be joined to those of "
                    f"{list(classes)}; evaluate them apart"
                )
        joined = {
            name: np.concatenate([part.columns()[name] for part in parts])
            for name in parts[0].columns()
        }
        return cls(**joined, classes=classes)

    def write(self, location: str) -> None:
        """Write the file, a local path or ``s3://`` URI, completely or not at all."""
        names = np.asarray(self.classes)
        columns = [
            pa.array(self.sample_ids.tolist(), pa.string()),
            pa.array(self.groups.tolist(), pa.string()),
            pa.array(self.datasets.tolist(), pa.string()),
            pa.array(self.domains.tolist(), pa.string()),
            pa.array([part or None for part in self.parts.tolist()], pa.string()),
            pa.array(self.folds, pa.int8(), mask=self.folds == UNKNOWN_FOLD),
            pa.array(names[self.labels].tolist(), pa.string()),
            pa.array(self.probabilities.tolist(), pa.list_(pa.float64())),
            pa.array(self.runs.tolist(), pa.string()),
            pa.array(self.seeds, pa.int64()),
            pa.array(self.seen, pa.bool_()),
        ]
        schema = PREDICTION_SCHEMA.with_metadata({CLASSES_KEY: json.dumps(self.classes).encode()})
        with storage.writing(location) as stream:
            pq.write_table(pa.table(columns, schema=schema), stream)

    @classmethod
    def read(cls, location: str) -> Predictions:
        """Read the file.

        Raises:
            StorageError: when it is missing.
            DataError: when it is not a Parquet file of predictions; the message names the column
                and the number of its bad values.
        """
        try:
            table = pq.read_table(pa.BufferReader(storage.read_bytes(location)))
        except pa.ArrowInvalid as error:
            raise DataError(f"{location}: cannot be read as Parquet: {error}") from error
        try:
            return _from_table(table)
        except DataError as error:
            raise DataError(f"{location}: {error}") from error


def _from_table(table: pa.Table) -> Predictions:
    classes = _classes_of(table)
    table = _with_columns(table)
    class_of = {name: index for index, name in enumerate(classes)}
    labels = np.asarray(table["label"].to_pylist(), dtype=str)
    _require("label", labels, np.isin(labels, classes), f"one of {list(classes)}")
    lengths = table["probabilities"].combine_chunks().value_lengths().to_numpy()
    _require("probabilities", lengths, lengths == len(classes), f"lists of {len(classes)} numbers")
    probabilities = table["probabilities"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Predictions(
        sample_ids=_strings(table, "sample_id"),
        groups=_strings(table, "group"),
        datasets=_strings(table, "dataset"),
        domains=_strings(table, "domain"),
        parts=np.asarray([part or UNKNOWN_PART for part in table["part"].to_pylist()], dtype=str),
        folds=table["fold"].fill_null(UNKNOWN_FOLD).to_numpy(),
        labels=np.asarray([class_of[name] for name in labels.tolist()], dtype=np.int64),
        probabilities=probabilities.reshape(len(table), len(classes)),
        runs=_strings(table, "run"),
        seeds=table["seed"].to_numpy(),
        seen=table["seen"].to_numpy(),
        classes=classes,
    )


def _classes_of(table: pa.Table) -> tuple[str, ...]:
    metadata = table.schema.metadata or {}
    if CLASSES_KEY not in metadata:
        raise DataError(
            "the file's metadata names no classes; write predictions with Predictions.write"
        )
    return tuple(json.loads(metadata[CLASSES_KEY]))


def _with_columns(table: pa.Table) -> pa.Table:
    """The table with the columns of the schema, each of its type and without forbidden nulls."""
    missing = [name for name in PREDICTION_SCHEMA.names if name not in table.column_names]
    if missing:
        raise DataError(f"{len(missing)} columns are missing: {', '.join(missing)}")
    try:
        table = table.select(PREDICTION_SCHEMA.names).cast(PREDICTION_SCHEMA)
    except pa.ArrowInvalid as error:
        raise DataError(f"a column is not of its type in {PREDICTION_SCHEMA}: {error}") from error
    for name in PREDICTION_SCHEMA.names:
        if name not in NULLABLE and table[name].null_count:
            raise DataError(f"column {name} is null in {table[name].null_count} rows")
    return table


def _strings(table: pa.Table, name: str) -> NDArray[np.str_]:
    return np.asarray(table[name].to_pylist(), dtype=str)


def _require(name: str, values: NDArray[Any], good: NDArray[np.bool_], expected: str) -> None:
    """Raise :class:`DataError` naming the column, how many values are bad, and one of them."""
    bad = np.flatnonzero(~good)
    if len(bad):
        raise DataError(
            f"column {name}: {len(bad)} of {len(good)} values are not {expected}; "
            f"the first is {values[bad[0]].item()!r} in row {bad[0]}"
        )
