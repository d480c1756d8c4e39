"""Label Studio: the project that is exported, and exports of its annotations."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from support.studies import CLASSES, box, encode_brush, small_study, some_manifest

from ier_ray.errors import DataError
from ier_ray.study.annotations import collect
from ier_ray.study.cues import GRID, on_grid
from ier_ray.study.label_studio import labeling_config, labeling_tasks, read_label_studio

MANIFEST = some_manifest(4)
"""Its images have 40 by 20 pixels."""
SIZE = {"original_width": 40, "original_height": 20, "image_rotation": 0}


def choice(label: str) -> dict[str, Any]:
    return {
        "value": {"choices": [label]},
        "id": "k1Xy",
        "from_name": "emotion",
        "to_name": "image",
        "type": "choices",
        "origin": "manual",
    }


def rectangle(**changes: Any) -> dict[str, Any]:
    box = {"x": 25.0, "y": 50.0, "width": 50.0, "height": 25.0, "rotation": 0}
    return {
        **SIZE,
        "value": {**box, "rectanglelabels": ["cue"], **changes},
        "id": "Dx_aB91ISN",
        "from_name": "rectangle",
        "to_name": "image",
        "type": "rectanglelabels",
        "origin": "manual",
    }


def brush(mask: Any) -> dict[str, Any]:
    return {
        **SIZE,
        "value": {"format": "rle", "rle": encode_brush(mask), "brushlabels": ["cue"]},
        "id": "aB3",
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "origin": "manual",
    }


def annotation(user: Any, *regions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "id": 12,
        "completed_by": user,
        "result": list(regions),
        "was_cancelled": False,
        "ground_truth": False,
        "created_at": "2026-03-09T22:16:08.728353Z",
        "lead_time": 4.288,
        "prediction": {},
        "result_count": 0,
        **changes,
    }


def export(*, annotators: int = 2) -> list[dict[str, Any]]:
    """An export as Label Studio writes it, of all four images."""
    return [
        {
            "id": 100 + number,
            "annotations": [
                annotation(user, choice(CLASSES[number]), rectangle())
                for user in range(1, annotators + 1)
            ],
            "file_upload": "tasks.json",
            "drafts": [],
            "predictions": [],
            "data": {
                "image": "data:image/jpeg;base64,/9j/",
                "image_id": image,
                "study_id": MANIFEST.study_id,
            },
            "meta": {},
            "project": 3,
        }
        for number, image in enumerate(MANIFEST.image_ids)
    ]


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def with_regions(*regions: dict[str, Any]) -> list[dict[str, Any]]:
    content = export()
    content[1]["annotations"][1]["result"] = list(regions)
    return content


def test_rectangles_in_percent_and_brushes_become_masks(tmp_path: Path) -> None:
    mask = np.zeros((20, 40), dtype=bool)
    mask[2:7, 30:37] = True
    content = with_regions(choice("sad"), brush(mask), rectangle(x=0, y=0, width=10, height=10))
    found = read_label_studio(write(tmp_path / "export.json", content), MANIFEST)
    assert [one.annotator for one in found[:2]] == ["Label Studio user 1", "Label Studio user 2"]
    assert [one.label for one in found[::2]] == CLASSES
    quarter = GRID // 4
    assert np.array_equal(found[0].cues, box(2 * quarter, 3 * quarter, quarter, 3 * quarter))
    mask[:2, :4] = True
    assert np.array_equal(found[3].cues, on_grid(mask))
    assert collect(MANIFEST, found).labels.tolist() == [[n, n] for n in range(4)]


def test_a_turned_rectangle(tmp_path: Path) -> None:
    turned = rectangle(x=50, y=25, width=25, height=25, rotation=90)
    content = with_regions(choice("sad"), turned)
    found = read_label_studio(write(tmp_path / "export.json", content), MANIFEST)
    mask = np.zeros((20, 40), dtype=bool)
    mask[5:15, 15:20] = True  # 10 pixels across now run down from (20, 5); 5 down, to the left
    assert np.array_equal(found[3].cues, on_grid(mask))


def test_annotators_have_their_address_where_it_is_exported(tmp_path: Path) -> None:
    content = export(annotators=1)
    for task in content:
        task["annotations"][0]["completed_by"] = {"id": 7, "email": "ann@example.org"}
    found = read_label_studio(write(tmp_path / "export.json", content), MANIFEST)
    assert {one.annotator for one in found} == {"ann@example.org"}


def test_a_skipped_task_is_a_missing_annotation(tmp_path: Path) -> None:
    content = export()
    content[2]["annotations"][0] = annotation(1, was_cancelled=True)
    found = read_label_studio(write(tmp_path / "export.json", content), MANIFEST)
    image = MANIFEST.image_ids[2]
    with pytest.raises(DataError, match=f"annotator 'Label Studio user 1': 1 .*{image}.* missing"):
        collect(MANIFEST, found)


def test_two_annotations_of_one_user_are_refused(tmp_path: Path) -> None:
    content = export()
    content[2]["annotations"].append(annotation(1, choice("sad")))
    found = read_label_studio(write(tmp_path / "export.json", content), MANIFEST)
    with pytest.raises(DataError, match=r"annotator 'Label Studio user 1': 1 .* given twice"):
        collect(MANIFEST, found)


def changed(**data: Any) -> list[dict[str, Any]]:
    content = export()
    content[1]["data"] |= data
    return content


def cut_brush() -> dict[str, Any]:
    region = brush(np.ones((20, 40), dtype=bool))
    region["value"]["rle"] = region["value"]["rle"][:-1]
    return region


WHERE = f"image {MANIFEST.image_ids[1]}, annotator 'Label Studio user 2': "
EXPORTS: dict[str, tuple[Callable[[], Any], str]] = {
    "no list": (lambda: {"a": 1}, "not a JSON export of Label Studio"),
    "min format": (lambda: [{"image": "x", "choice": "sad"}], "not a JSON export of Label Studio"),
    "other tasks": (lambda: [{"data": {"image": "x"}, "annotations": []}], "tasks.0.data.image_id"),
    "other study": (lambda: changed(study_id="0123"), "is of study 0123, but this is study"),
    "foreign image": (lambda: changed(image_id="feed"), "image feed is no image of this study"),
    "no class": (lambda: with_regions(rectangle()), f"{WHERE}must have one class .* but has none"),
    "two classes": (lambda: with_regions(choice("sad"), choice("hate")), f"{WHERE}must have one"),
    "unknown class": (lambda: with_regions(choice("joy")), WHERE + r"must have .* has \['joy'\]"),
    "cut brush": (lambda: with_regions(choice("sad"), cut_brush()), f"{WHERE}the brush mask ends"),
    "other size": (
        lambda: with_regions(choice("sad"), rectangle() | {"original_width": 41}),
        f"{WHERE}a region is of an image of 41x20 pixels, but the image has 40x20",
    ),
    "polygon": (
        lambda: with_regions(choice("sad"), rectangle() | {"type": "polygonlabels"}),
        f"{WHERE}a region is of type 'polygonlabels'",
    ),
    "far outside": (lambda: with_regions(choice("sad"), rectangle(x=400)), "result.1.value.x"),
    "NaN": (lambda: with_regions(choice("sad"), rectangle(y=float("nan"))), "result.1.value.y"),
}


@pytest.mark.parametrize("what", EXPORTS)
def test_a_wrong_export_is_refused(what: str, tmp_path: Path) -> None:
    content, told = EXPORTS[what]
    location = write(tmp_path / "export.json", content())
    with pytest.raises(DataError, match=told) as caught:
        read_label_studio(location, MANIFEST)
    assert str(caught.value).startswith(location)


def test_the_project_has_all_that_annotators_need(shards: dict[str, str]) -> None:
    study = small_study(shards["ier"], images=5)
    config = ET.fromstring(labeling_config(study.manifest))  # noqa: S314 (our own)
    names = {part.get("name") for part in config if part.get("name")}
    assert names == {"image", "emotion", "rectangle", "brush"}
    assert [part.get("value") for part in config.iter("Choice")] == study.manifest.classes
    assert {part.get("toName") for part in config} <= {None, "image"}
    tasks = labeling_tasks(study.manifest, study.encoded)
    by_id = {image.image_id: image for image in study.manifest.images}
    assert [task["data"]["image_id"] for task in tasks] == sorted(by_id)
    for task in tasks:
        kind, _, encoded = task["data"]["image"].partition(",")
        assert kind == "data:image/jpeg;base64"
        image = by_id[task["data"]["image_id"]]
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as opened:
            assert opened.size == (image.width, image.height)
        assert set(task["data"]) == {"image", "image_id", "study_id"}


def test_names_of_classes_are_escaped() -> None:
    manifest = some_manifest(4, classes=["<b>", '"&'], question="<script>")
    config = ET.fromstring(labeling_config(manifest))  # noqa: S314 (our own)
    assert [part.get("value") for part in config.iter("Choice")] == ["<b>", '"&']
    assert config[0].get("value") == "<script>"
