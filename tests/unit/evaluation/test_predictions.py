from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.predictions import CLASSES, random_predictions

from ier_ray.errors import DataError, StorageError
from ier_ray.evaluation.predictions import (
    CLASSES_KEY,
    PREDICTION_SCHEMA,
    UNKNOWN_FOLD,
    Predictions,
)


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    written = random_predictions(seed=1)
    parts, folds, seen = written.parts.copy(), written.folds.copy(), written.seen.copy()
    parts[:3], folds[2:5], seen[7] = "", UNKNOWN_FOLD, True
    written = replace(written, parts=parts, folds=folds, seen=seen)
    written.write(f"{tmp_path}/predictions.parquet")
    read = Predictions.read(f"{tmp_path}/predictions.parquet")
    assert read.classes == CLASSES
    for name, column in written.columns().items():
        np.testing.assert_array_equal(read.columns()[name], column, err_msg=name)
        assert read.columns()[name].dtype.kind == column.dtype.kind


def test_the_file_is_readable_by_any_program(tmp_path: Path) -> None:
    written = random_predictions(2, parts=np.array(["", "val"]), folds=np.array([-1, 3]))
    written.write(f"{tmp_path}/p.parquet")
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.schema.equals(PREDICTION_SCHEMA)
    first, second = table.to_pylist()
    assert (first["part"], first["fold"], second["part"], second["fold"]) == (None, None, "val", 3)
    assert second["label"] == CLASSES[written.labels[1]]
    assert second["probabilities"] == written.probabilities[1].tolist()


def test_no_predictions_are_a_file_too(tmp_path: Path) -> None:
    none = random_predictions().select(np.zeros(60, dtype=bool))
    none.write(f"{tmp_path}/p.parquet")
    assert len(Predictions.read(f"{tmp_path}/p.parquet")) == 0


def test_selecting_and_concatenating_are_inverse() -> None:
    whole = random_predictions()
    mask = np.arange(len(whole)) < 25
    again = Predictions.concatenated([whole.select(mask), whole.select(~mask)])
    for name, column in whole.columns().items():
        np.testing.assert_array_equal(again.columns()[name], column)


def test_other_classes_are_not_concatenated() -> None:
    whole = random_predictions()
    other = replace(whole, classes=tuple(reversed(CLASSES)))
    with pytest.raises(DataError, match=r"\['anger'.*cannot be joined to those of \['happy'"):
        Predictions.concatenated([whole, other])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("probabilities", np.nan, r"probabilities: 1 of 60 values are not finite.*nan in row 4"),
        ("probabilities", 0.5, r"probabilities: 1 of 60 values are not .* with sum 1"),
        ("labels", 4, r"label: 1 of 60 values are not an index of .* is 4 in row 4"),
        ("domains", "xyz", r"domain: 1 of 60 values are not fer or ier; the first is 'xyz'"),
        ("parts", "dev", r"part: 1 of 60 values are not train, val, test or null"),
    ],
)
def test_bad_values_are_refused(column: str, value: Any, message: str) -> None:
    values = random_predictions().columns()[column].copy()
    values[4] = value
    columns: dict[str, Any] = {column: values}
    with pytest.raises(DataError, match=message):
        random_predictions(**columns)


def test_a_negative_probability_is_refused_though_the_sum_is_one() -> None:
    probabilities = random_predictions().probabilities.copy()
    probabilities[[1, 2]] = [1.5, -0.5, 0.0, 0.0]
    with pytest.raises(DataError, match="probabilities: 2 of 60 values are not finite and not neg"):
        random_predictions(probabilities=probabilities)


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"seeds has shape \(3,\), expected \(60,\)"):
        random_predictions(seeds=np.zeros(3, dtype=np.int64))
    with pytest.raises(DataError, match=r"probabilities has shape \(60, 3\), expected \(60, 4\)"):
        random_predictions(probabilities=np.full((60, 3), 1 / 3))


def rewritten(
    path: Path, table: pa.Table, classes: bytes = b'["happy","sad","hate","anger"]'
) -> str:
    pq.write_table(table.replace_schema_metadata({CLASSES_KEY: classes}), path)
    return str(path)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    random_predictions().write(str(path))
    good = pq.read_table(path)
    for table, message in (
        (good.drop_columns(["run", "seed"]), r"p\.parquet: 2 columns are missing: run, seed"),
        (good.set_column(6, "label", [["joy"] * 60]), r"label: 60 of 60 .*one of.*'joy' in row 0"),
        (good.set_column(0, "sample_id", [[None] * 60]), r"sample_id is null in 60 rows"),
        (good.set_column(9, "seed", [["a"] * 60]), r"a column is not of its type"),
    ):
        with pytest.raises(DataError, match=message):
            Predictions.read(rewritten(path, table))
    with pytest.raises(DataError, match=r"probabilities: 60 of 60 .*lists of 2 numbers"):
        Predictions.read(rewritten(path, good.set_column(6, "label", [["a"] * 60]), b'["a","b"]'))
    pq.write_table(good.replace_schema_metadata(None), path)
    with pytest.raises(DataError, match="names no classes"):
        Predictions.read(str(path))
    path.write_bytes(b"text")
    with pytest.raises(DataError, match=r"p\.parquet: cannot be read as Parquet"):
        Predictions.read(str(path))
    with pytest.raises(StorageError, match="no such file"):
        Predictions.read(f"{tmp_path}/none.parquet")
