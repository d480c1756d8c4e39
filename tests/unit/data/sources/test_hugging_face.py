"""Parquet as Hugging Face's datasets have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.sources import color_of, colors, encoded, listing, paint, sample_of, samples_of

from ier_ray.data.images import decode_rgb
from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.sources import open_source
from ier_ray.emotions import FOUR, EmotionScheme
from ier_ray.errors import DataError, ImageError

CASES = Path(__file__).parents[3] / "data"
NAMES = ["angry", "disgust", "happy"]


def features(names: Any = NAMES, label: str = "label") -> dict[bytes, bytes]:
    described = {
        "image": {"_type": "Image"},
        label: {"names": names, "_type": "ClassLabel"},
    }
    return {b"huggingface": json.dumps({"info": {"features": described}}).encode()}


def write(path: Path, numbers: range, *, label: str = "label", names: Any = NAMES) -> None:
    images = [{"bytes": encoded(color_of(n)), "path": f"{n}.png"} for n in numbers]
    table = pa.table({"image": images, label: [n % 3 for n in numbers]})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(features(names, label)), path, row_group_size=2)


def test_shards_of_parts_with_named_classes(tmp_path: Path) -> None:
    write(tmp_path / "data/test-00000-of-00001-0a1b2c3d4e5f.parquet", range(4, 6))
    write(tmp_path / "data/train-00000-of-00002.parquet", range(3))
    write(tmp_path / "data/train-00001-of-00002.parquet", range(3, 4))
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---")
    source = open_source("auto", str(tmp_path), domain="fer")
    assert (source.name, source.domains) == ("hugging_face", ("fer",))
    test, train = (
        "data/test-00000-of-00001-0a1b2c3d4e5f.parquet",
        "data/train-0000{}-of-00002.parquet",
    )
    expected = {
        f"{test}:0": ("disgust", "test", 4),
        f"{test}:1": ("happy", "test", 5),
        **{f"{train.format(0)}:{n}": (NAMES[n], "train", n) for n in range(3)},
        f"{train.format(1)}:0": ("angry", "train", 3),
    }
    ids = {s.sample_id.removeprefix("hugging_face/"): s for s in samples_of(source)}
    assert {i: (s.source_label, s.split) for i, s in ids.items()} == {
        i: (label, split) for i, (label, split, _) in expected.items()
    }
    assert colors(source) == {i: color_of(number) for i, (_, _, number) in expected.items()}


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("default/train/0000.parquet",), "train"),
        (("validation.parquet", "other.parquet"), "val"),
        (("train.parquet",), "train"),
    ],
)
def test_other_names_of_files(tmp_path: Path, names: tuple[str, ...], split: str) -> None:
    for name in names:
        write(tmp_path / name, range(1))
    source = open_source("hugging_face", str(tmp_path), domain="ier")
    assert split in {sample.split for sample in samples_of(source)}
    assert open_source("auto", str(tmp_path), domain="ier") == source
    one = open_source("auto", f"{tmp_path}/{names[0]}", domain="ier")  # the file itself
    assert [entry.split for entry in samples_of(one)] == [split if "/" not in names[0] else None]
    assert list(colors(one).values()) == [color_of(0)]


def test_one_file_is_a_table_with_columns_in_any_case(tmp_path: Path) -> None:
    table = {
        "IMAGE": [{"bytes": encoded(color_of(7)), "path": None}, {"bytes": None, "path": "b.png"}],
        " Label": [2, 0],
        "Split": ["validation", None],
    }
    described = features(label=" Label")
    pq.write_table(pa.table(table).replace_schema_metadata(described), tmp_path / "t.parquet")
    painted = paint(tmp_path, "b.png")
    source = open_source("auto", f"{tmp_path}/t.parquet", domain="ier")
    assert [(s.source_label, s.split) for s in samples_of(source)] == [
        ("happy", "val"),
        ("angry", None),
    ]
    assert colors(source) == {"0:0": color_of(7), "0:1": painted["b.png"]}
    (tmp_path / "b.png").unlink()
    with pytest.raises(ImageError, match=r"b\.png: listed, but there is no such file"):
        source.load("ier", sample_of(source, "0:1"))


def test_the_case_without_names_is_read_by_a_scheme_that_names_the_numbers(tmp_path: Path) -> None:
    source = open_source("auto", str(CASES / "hugging_face.parquet"), domain="fer")
    assert {label for _, label, _ in listing(source)} == {"3", "4"}
    layout = LayoutSettings(duplicates="keep", folds=2)
    with pytest.raises(DataError, match=r"labels of the data: 6 3 dropped, 6 4 dropped"):
        write_shard_set(source, "fer", str(tmp_path), scheme=FOUR, layout=layout)
    scheme = EmotionScheme("mine", ("happy", "sad"), (("3", "happy"), ("4", "sad")))
    report = write_shard_set(source, "fer", str(tmp_path), scheme=scheme, layout=layout)
    assert {name: sum(n) for name, n in report.manifest.counts.items()} == {"happy": 6, "sad": 6}
    image = decode_rgb(source.load("fer", sample_of(source, ":3")).image)
    assert min(image.size) > 1


def test_columns_of_a_wrong_type_are_refused_in_one_line(tmp_path: Path) -> None:
    source = open_source("auto", str(CASES / "bytes_as_text.parquet"), domain="fer")
    with pytest.raises(DataError) as raised:
        samples_of(source)
    message = str(raised.value)
    assert "\n" not in message
    assert "bytes_as_text.parquet: column 'bytes' is of type string, but must be" in message
    wrong: dict[str, tuple[Any, Any]] = {
        "image": ([["x"]], ["sad"]),
        "img": ([{"path": "x"}], ["sad"]),
        "path": ([5], ["sad"]),
        "label": ([b""], [["sad"]]),
    }
    for column, (images, labels) in wrong.items():
        name = "bytes" if column == "label" else column
        pq.write_table(pa.table({name: images, "label": labels}), tmp_path / "t.parquet")
        with pytest.raises(DataError, match=rf"t\.parquet: column '{column}' is of type"):
            samples_of(open_source("table", f"{tmp_path}/t.parquet", domain="ier"))


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary_view(), pa.binary(size := 60)])
def test_bytes_of_any_binary_type(tmp_path: Path, kind: pa.DataType) -> None:
    content = encoded(color_of(3))
    image = content if kind != pa.binary(60) else content[:60]
    labels = pa.array(["sad"]).dictionary_encode()
    pq.write_table(
        pa.table({"bytes": pa.array([image], kind), "label": labels}), tmp_path / "t.parquet"
    )
    (sample,) = samples_of(open_source("table", f"{tmp_path}/t.parquet", domain="ier"))
    assert sample.source_label == "sad"
    assert (
        open_source("table", f"{tmp_path}/t.parquet", domain="ier").load("ier", sample).image
        == image
    )


@pytest.mark.parametrize(
    ("names", "label"), [({"0": "angry", "2": "happy"}, "angry"), (None, "0"), ([], "0")]
)
def test_names_of_classes_in_other_forms(tmp_path: Path, names: Any, label: str) -> None:
    write(tmp_path / "t.parquet", range(1), names=names)
    source = open_source("table", f"{tmp_path}/t.parquet", domain="ier")
    assert [entry.source_label for entry in samples_of(source)] == [label]


def test_metadata_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    table = pa.table({"bytes": [b""], "label": [0]})
    for written in (b"{", b"[]", b'{"info": {}}'):
        described = table.replace_schema_metadata({b"huggingface": written})
        pq.write_table(described, tmp_path / "t.parquet")
        with pytest.raises(DataError, match=r"names of column 'label' .* cannot be read"):
            samples_of(open_source("table", f"{tmp_path}/t.parquet", domain="ier"))
