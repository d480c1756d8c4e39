"""Drawing a study's images: strata, seeds, faces, copies, and what the manifest says of them."""

from __future__ import annotations

import hashlib
import importlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.shards import Album, write_domains
from support.studies import small_study

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.sources import Loaded, SyntheticSource
from ier_ray.data.sources.base import Listed
from ier_ray.emotions import FOUR
from ier_ray.errors import DataError, SettingsError
from ier_ray.study.export import check_output, class_counts, rows_of_part
from ier_ray.study.faces import FaceDetector, FaceTable, NoScreen, face_screen
from ier_ray.study.sampling import draw_samples, even_quotas


@pytest.mark.parametrize(
    ("count", "available", "quotas"),
    [
        (8, [9, 9, 9, 9], [2, 2, 2, 2]),
        (10, [9, 9, 9, 9], [3, 3, 2, 2]),
        (10, [9, 1, 9, 9], [3, 1, 3, 3]),
        (10, [9, 1, 0, 9], [5, 1, 0, 4]),
        (99, [2, 1, 3], [2, 1, 3]),
    ],
)
def test_classes_get_equal_shares_of_what_there_is(
    count: int, available: Sequence[int], quotas: list[int]
) -> None:
    assert even_quotas(count, available) == quotas


def test_the_seed_and_the_ids_decide_alone(shards: dict[str, str]) -> None:
    first, again = (small_study(shards["ier"], images=10, seed=4) for _ in range(2))
    assert first == again
    assert class_counts(first.manifest.images) == {"anger": 2, "happy": 3, "hate": 2, "sad": 3}
    other = small_study(shards["ier"], images=10, seed=5)
    ids = [{image.sample_id for image in study.manifest.images} for study in (first, other)]
    assert len(ids[0]) == 10
    assert ids[0] != ids[1]
    larger = small_study(shards["ier"], images=20, seed=4)  # a smaller sample is a part of it
    assert ids[0] < {image.sample_id for image in larger.manifest.images}


def test_images_come_from_the_part_asked_for(shards: dict[str, str]) -> None:
    opened = ShardSet.open(shards["ier"])
    index, plan = opened.index(), SplitPlan(test_fold=2)
    assert len(rows_of_part(opened, "all", plan)) == len(index)
    test = rows_of_part(opened, "test", plan)
    assert set(test.fold.tolist()) == {2}
    assert len(test) == (index.fold == 2).sum()


def test_image_files_are_named_by_their_content_in_their_own_aspect(tmp_path: Path) -> None:
    study = small_study(wide_shards(tmp_path), images=4, largest_side=64)
    for image in study.manifest.images:
        jpeg = study.encoded[image.image_id]
        assert image.image_id == hashlib.sha256(jpeg).hexdigest()[:12]
        with Image.open(io.BytesIO(jpeg)) as opened:
            assert opened.size == (image.width, image.height) == (64, 32)
            assert opened.format == "JPEG"
            assert not opened.getexif()
    assert study.manifest.image_ids == sorted(study.encoded)


class Wide(SyntheticSource):
    """Scenes twice as wide as high."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        loaded = super().load(domain, sample)
        with Image.open(io.BytesIO(loaded.image)) as square:
            wide = square.resize((192, 96))
        buffer = io.BytesIO()
        wide.save(buffer, format="PNG")
        return Loaded(buffer.getvalue(), None)


def wide_shards(path: Path) -> str:
    source = Wide(samples=40, size=96, seed=2)
    return write_shard_set(
        source, "ier", str(path / "wide"), scheme=FOUR, layout=LayoutSettings()
    ).location


class Mixed(SyntheticSource):
    """Scenes, and drawn faces among them."""

    def load(self, domain: Domain, sample: Listed) -> Loaded:
        number = int(sample.sample_id.rsplit("-", 1)[1])
        return super().load("fer" if number % 3 == 0 else "ier", sample)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> str:
    source = Mixed(samples=60, size=96, seed=3)
    directory = tmp_path_factory.mktemp("mixed")
    return write_shard_set(
        source, "ier", str(directory / "ier"), scheme=FOUR, layout=LayoutSettings()
    ).location


def test_images_with_faces_are_left_out_and_recorded(mixed: str) -> None:
    detector = FaceDetector()
    study = small_study(mixed, images=16, screen=detector)
    screening = study.manifest.screening
    assert screening.method == "detect"
    assert screening.tool.startswith("OpenCV 4.")
    assert screening.parameters["neighbors"] == 5
    assert screening.counts["face"] == len(screening.left_out) >= 3
    assert screening.examined == 16 + len(screening.left_out)
    for jpeg in study.encoded.values():
        with Image.open(io.BytesIO(jpeg)) as image:
            assert not detector.has_face("", image.convert("RGB"))
    none = small_study(mixed, images=16)
    assert none.manifest.screening.method == "none"
    assert none.manifest.screening.examined == 16
    left_out = {left.sample_id for left in screening.left_out}
    assert left_out & {image.sample_id for image in none.manifest.images}
    assert class_counts(study.manifest.images) == dict.fromkeys(sorted(FOUR.classes), 4)


def test_a_table_of_faces_decides(mixed: str, tmp_path: Path) -> None:
    opened = ShardSet.open(mixed)
    ids = opened.described(opened.index())["sample_id"].to_pylist()
    faces = {sample: int(number % 2 == 0) for number, sample in enumerate(ids)}
    table = tmp_path / "faces.csv"
    lines = [f"{sample},x,{number}" for sample, number in faces.items()]
    table.write_text("\ufeff" + "\n".join(["sample_id,note,faces", *lines]), encoding="utf-8")
    study = small_study(mixed, images=12, screen=face_screen("file", str(table)))
    assert study.manifest.screening.tool == str(table)
    assert not any(faces[image.sample_id] for image in study.manifest.images)
    assert all(faces[left.sample_id] for left in study.manifest.screening.left_out)
    table.write_text("\n".join(["sample_id,note,faces", *lines[:3]]))
    with pytest.raises(DataError, match=r"faces.csv: does not list sample 'synthetic-ier-"):
        small_study(mixed, images=12, screen=face_screen("file", str(table)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a,b\n1,2\n", "must be CSV with the columns sample_id and faces"),
        (b"", "must be CSV with the columns sample_id and faces"),
        (b"sample_id,faces\na,1\na,0\n", "sample 'a' is listed twice"),
        (b"sample_id,faces\na,yes\n", "faces of sample 'a' must be their number.*'yes'"),
        (b"sample_id,faces\na\n", "faces of sample 'a' must be their number.*None"),
        ("sample_id,faces\né,1\n".encode("latin-1"), "is not in UTF-8"),
    ],
)
def test_a_wrong_table_of_faces_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "faces.csv").write_bytes(content)
    with pytest.raises(DataError, match=told):
        FaceTable.read(str(tmp_path / "faces.csv"))


def test_the_screen_and_its_table_belong_together() -> None:
    with pytest.raises(SettingsError, match="faces file needs faces_file"):
        face_screen("file", None)
    with pytest.raises(SettingsError, match="faces_file needs faces file"):
        face_screen("detect", "faces.csv")
    assert isinstance(face_screen("none", None), NoScreen)


def test_without_opencv_the_detector_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SettingsError, match=r"faces detect needs the cv2 .*'ier_ray\[study\]'"):
        face_screen("detect", None)


def test_too_few_images_are_refused_with_the_reason(mixed: str) -> None:
    with pytest.raises(DataError, match=r"too few images for a study of 61: 0 .* and 0 are copies"):
        small_study(mixed, images=61)
    opened = ShardSet.open(mixed)
    index = opened.index()
    with pytest.raises(DataError, match="of those drawn show faces and"):
        draw_samples(
            opened, index, 50, seed=0, has_face=lambda sample, image: sample[-1] in "02468"
        )


def test_copies_of_a_picture_are_drawn_once(tmp_path: Path) -> None:
    layout = LayoutSettings(max_bad=2, duplicates="keep")
    album = write_domains(Album(), tmp_path, layout)["ier"]
    with pytest.raises(DataError, match=r"a study of 2: 0 of those drawn show faces and .* copies"):
        small_study(album, images=2)


def test_another_study_is_not_written_over(shards: dict[str, str], tmp_path: Path) -> None:
    first, other = (small_study(shards["ier"], seed=seed) for seed in (1, 2))
    output = str(tmp_path / "study")
    check_output(output)
    places = first.write(output)
    first.write(output)
    for check in (lambda: other.write(output), lambda: check_output(output)):
        with pytest.raises(DataError, match=f"holds study {first.manifest.study_id} already"):
            check()
    assert {path.name for path in (tmp_path / "study").iterdir()} == {
        *("study.json", "study.html", "label-studio", "images")
    }
    assert len(list(Path(places["images"]).iterdir())) == len(first.encoded)


def test_images_that_become_the_same_are_refused(tmp_path: Path) -> None:
    class Dots(SyntheticSource):
        """White images that differ in one dark pixel of thousands."""

        def load(self, domain: Domain, sample: Listed) -> Loaded:
            pixels = np.full((900, 900, 3), 255, dtype=np.uint8)
            pixels[int(sample.sample_id.rsplit("-", 1)[1]), 0] = 254
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, format="PNG")
            return Loaded(buffer.getvalue(), None)

    location = write_shard_set(
        Dots(samples=8, size=32, seed=0),
        "ier",
        str(tmp_path / "dots"),
        scheme=FOUR,
        layout=LayoutSettings(duplicates="keep", folds=2),
    ).location
    with pytest.raises(DataError, match="are the same after they are reduced to 64 pixels"):
        small_study(location, images=4, largest_side=64)
