"""Files and the page: what is not defined is null, and every figure is where it belongs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ier_ray.layerwise.analysis import LayerScores, Scoring, analyze_layer
from ier_ray.layerwise.embeddings import EmbeddingFiles
from ier_ray.layerwise.page import cloud, clouds, labels, render_page
from ier_ray.layerwise.record import Layerwise, as_text, mean_separation

CLASSES = ("angry", "<happy>", "sad")
LABELS = np.array([0] * 8 + [2] * 8)


def scores_of(directory: Path, distance: float) -> list[LayerScores]:
    chance = np.random.default_rng(1)
    files = EmbeddingFiles(directory, 16, {"features.4": 30, "logits": 2})
    files.create()
    for layer, width in files.widths.items():
        rows = chance.normal(size=(16, width))
        rows[LABELS == 2, 0] += distance
        files.write(layer, np.arange(16), rows.astype(np.float16))
    return [
        analyze_layer(files, layer, LABELS, 3, Scoring(0, shuffles=50)) for layer in files.widths
    ]


@pytest.fixture
def result(tmp_path: Path) -> Layerwise:
    networks = {}
    for name, distance in (("run/epoch-1", 1.0), ("run/epoch-2", 6.0), ("random", 0.0)):
        directory = tmp_path / name.replace("/", "-")
        directory.mkdir()
        networks[name] = scores_of(directory, distance)
    ids = tuple(f"image-{number}" for number in range(16))
    return Layerwise(CLASSES, LABELS, ids, networks, "random")


def test_json_has_null_for_what_is_not_defined(result: Layerwise) -> None:
    record = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert record["classes"] == list(CLASSES)
    assert list(record["networks"]) == list(result.networks)
    layer, scores = record["networks"]["run/epoch-2"][0], result.networks["run/epoch-2"][0]
    assert (layer["layer"], layer["width"], layer["method"]) == ("features.4", 30, "gram")
    assert layer["images"] == {"angry": 8, "<happy>": 0, "sad": 8}
    assert layer["intersections"][1] == [None, None, None]
    assert layer["intersections"][0][2] == layer["intersection"] == scores.mean
    assert layer["chance"]["low"] == scores.chance.mean_low
    assert len(layer["intersections_by_component"]) == len(layer["explained"]) == 3
    assert layer["separation"] == mean_separation(scores) == layer["separations"][0][2]
    assert layer["notes"] == ["no image of <happy>: it has no scores"]


def test_without_a_pair_there_is_no_mean(tmp_path: Path) -> None:
    files = EmbeddingFiles(tmp_path, 4, {"layer": 3})
    files.create()
    files.write("layer", np.arange(4), np.random.default_rng(0).normal(size=(4, 3)).astype("f2"))
    alone = analyze_layer(files, "layer", np.zeros(4, np.int64), 2, Scoring(0, shuffles=20))
    assert math.isnan(alone.mean)
    assert math.isnan(mean_separation(alone))
    assert alone.probe is None


def test_parquet_has_a_row_per_network_layer_and_pair(result: Layerwise, tmp_path: Path) -> None:
    result.write_parquet(f"{tmp_path}/layerwise.parquet")
    rows = pq.read_table(tmp_path / "layerwise.parquet").to_pylist()
    assert len(rows) == 3 * 2 * 3
    (row,) = [
        row
        for row in rows
        if (row["network"], row["layer"], row["class"], row["other_class"])
        == ("run/epoch-2", "logits", "angry", "sad")
    ]
    scores = result.networks["run/epoch-2"][1]
    assert (row["depth"], row["random"], row["images"]) == (1, False, 8)
    assert row["intersection"] == scores.intersections[0, 2]
    assert (row["chance_low"], row["chance_high"]) == (
        scores.chance.low[0, 2],
        scores.chance.high[0, 2],
    )
    assert row["distance"] == scores.separation.distances[0, 2]
    assert row["separation"] == scores.separation.separations[0, 2]
    absent = [row for row in rows if "<happy>" in (row["class"], row["other_class"])]
    assert {row["intersection"] for row in absent} == {None}


def test_the_cloud_of_each_layer_has_the_same_unit_and_three_axes(result: Layerwise) -> None:
    for layer in result.networks["run/epoch-2"]:
        points = np.array(cloud(layer)["points"])
        assert points.shape == (16, 3)
        assert points[:, 0].std() == pytest.approx(1, abs=1e-3)
    assert (points[:, 2] == 0).all()  # the logits have two dimensions
    assert clouds(result)["labels"] == LABELS.tolist()


def test_points_beyond_the_axes_are_at_their_ends(tmp_path: Path) -> None:
    rows = np.zeros((40, 1))
    rows[0] = 1.0  # 6.2 standard deviations from the mean
    files = EmbeddingFiles(tmp_path, 40, {"layer": 1})
    files.create()
    files.write("layer", np.arange(40), rows.astype(np.float16))
    layer = analyze_layer(files, "layer", np.arange(40) % 2, 2, Scoring(0, shuffles=20))
    points = np.array(cloud(layer)["points"])
    assert points[0].tolist() == [4, 0, 0]
    assert points[1, 0] == pytest.approx(-1 / np.sqrt(39), abs=1e-3)


def test_networks_are_named_by_the_ends_of_their_locations(result: Layerwise) -> None:
    named: dict[str, list[LayerScores]] = {
        "/runs/a/epoch-1": [],
        "s3://b/runs/a/epoch-2/": [],
        "random": [],
    }
    found = labels(replace(result, networks=named))
    assert list(found.values()) == ["a/epoch-1", "a/epoch-2", "random"]
    alike: dict[str, list[LayerScores]] = {"/runs/a/best": [], "/other/a/best": [], "random": []}
    assert labels(replace(result, networks=alike)) == {name: name for name in alike}


def test_the_page_loads_nothing_and_names_cannot_break_it(result: Layerwise) -> None:
    page = render_page(result, title="runs/<demo>")
    for loading in ("src=", "@import", "<link", "url("):
        assert loading not in page.split("</script>", 1)[1]
    assert "runs/&lt;demo&gt;" in page
    assert "<happy>" not in page
    start = page.index('id="data">') + len('id="data">')
    data = json.loads(page[start : page.index("</script>", start)])
    assert data["classes"][1]["name"] == "<happy>"
    assert set(data["networks"]) == set(result.networks)
    assert "no image of &lt;happy&gt;: it has no scores." in page


def test_the_table_has_a_line_per_layer(result: Layerwise) -> None:
    lines = as_text(result).splitlines()
    assert len(lines) == 3 * (1 + 1 + 2)
    scores = result.networks["random"][0]
    assert f"{scores.mean:.3f}" in lines[-2]
