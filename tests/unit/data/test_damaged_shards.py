"""Shards that were damaged after ingest: the error names the file or the sample."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pyarrow as pa
import pytest
from support.damage import with_damaged_images, with_damaged_pages

from ier_ray.data.shards import RowReader, ShardSet, reading
from ier_ray.errors import DataError, IerRayError, StorageError


def read_all(location: Path) -> None:
    shards = ShardSet.open(str(location))
    for _ in RowReader.of(shards, 32).read(shards.index().positions):
        pass


def test_a_damaged_image_is_named(shards: dict[str, str], tmp_path: Path) -> None:
    ids = with_damaged_images(shards["ier"], tmp_path / "ier")
    with pytest.raises(DataError, match="passed ingest but is unreadable now") as found:
        read_all(tmp_path / "ier")
    assert any(repr(name) in str(found.value) for name in ids)


def test_a_damaged_file_is_named_in_one_line(shards: dict[str, str], tmp_path: Path) -> None:
    files = with_damaged_pages(shards["ier"], tmp_path / "ier")
    with pytest.raises(DataError, match=r"part-\d+.parquet: is damaged: .*; ingest") as found:
        read_all(tmp_path / "ier")
    assert any(str(found.value).startswith(name) for name in files)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (OSError("Couldn't deserialize thrift"), DataError),
        (pa.ArrowInvalid("no magic bytes"), DataError),
        (FileNotFoundError(errno.ENOENT, "No such file"), DataError),
        (OSError(errno.EIO, "Input/output error"), StorageError),
        (OSError("AWS Error NETWORK_CONNECTION during GetObject"), StorageError),
    ],
)
def test_damage_lasts_and_failures_of_storage_may_pass(
    raised: Exception, expected: type[IerRayError]
) -> None:
    with (
        pytest.raises(expected, match=f"^x.parquet: .*{re.escape(str(raised))}"),
        reading("x.parquet"),
    ):
        raise raised
