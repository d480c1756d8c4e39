"""All that is computed of a layer: both methods agree, and the notes say what must be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ier_ray.layerwise import analysis, embeddings
from ier_ray.layerwise.analysis import LayerScores, Scoring, analyze_layer
from ier_ray.layerwise.embeddings import EmbeddingFiles, bytes_of

CLASSES = ("angry", "happy", "sad", "neutral")
LABELS = np.repeat(np.arange(4), 15)


def files_of(directory: Path, **layers: NDArray[np.float64]) -> EmbeddingFiles:
    images = len(next(iter(layers.values())))
    files = EmbeddingFiles(
        directory, images, {name: rows.shape[1] for name, rows in layers.items()}
    )
    files.create()
    for name, rows in layers.items():
        files.write(name, np.arange(images), rows.astype(np.float16))
    return files


def analyzed(files: EmbeddingFiles, layer: str, labels: NDArray[np.int64] = LABELS) -> LayerScores:
    return analyze_layer(files, layer, labels, 4, Scoring(0, shuffles=100))


def apart(distance: float) -> NDArray[np.float64]:
    noise = np.random.default_rng(0).normal(size=(60, 200)) * np.linspace(2, 0.1, 200)
    return noise + distance * np.eye(4, 200)[LABELS]


def test_files_give_back_what_was_written_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(50.0).reshape(10, 5)
    files = EmbeddingFiles(tmp_path, 10, {"features.4": 5, "logits": 4})
    files.create()
    for positions in (np.array([7, 0, 9]), np.array([1, 2, 3, 4, 5, 6, 8])):
        files.write("features.4", positions, rows[positions].astype(np.float16))
    np.testing.assert_array_equal(files.rows("features.4"), rows)
    assert files.bytes == bytes_of(10, files.widths) == 180
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 180
    monkeypatch.setattr(embeddings, "BLOCK_BYTES", 4 * 5 * 3)
    blocks = list(files.blocks("features.4"))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), rows)


def test_both_methods_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = files_of(tmp_path, layer=apart(3))
    by_gram = analyzed(files, "layer")
    monkeypatch.setattr(analysis, "MOST_BY_GRAM", 59)
    streamed = analyzed(files, "layer")
    assert (by_gram.method, streamed.method) == ("gram", "streaming")
    np.testing.assert_allclose(streamed.intersections, by_gram.intersections, atol=1e-3)
    np.testing.assert_allclose(
        streamed.separation.separations, by_gram.separation.separations, rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        streamed.components.explained, by_gram.components.explained, rtol=1e-3
    )
    assert streamed.probe is not None
    assert by_gram.probe is not None
    assert streamed.probe.dimensions == analysis.STREAMED_DIMENSIONS
    assert by_gram.probe.dimensions == 59
    assert streamed.probe.accuracy == pytest.approx(by_gram.probe.accuracy, abs=0.15)


def test_classes_apart_are_below_chance_and_the_probe_reads_them(tmp_path: Path) -> None:
    files = files_of(tmp_path, near=apart(0), far=apart(12))
    near, far = (analyzed(files, layer) for layer in ("near", "far"))
    assert near.chance.mean_low <= near.mean <= near.chance.mean_high
    assert far.mean < far.chance.mean_low
    assert far.probe is not None
    assert near.probe is not None
    assert far.probe.accuracy > 0.95
    assert near.probe.accuracy < 0.5
    assert far.probe.low < far.probe.accuracy <= far.probe.high
    # Wilson's interval of 60 right of 60: the lower end is 60 / (60 + 1.96²).
    if far.probe.accuracy == 1:
        assert far.probe.low == pytest.approx(60 / (60 + 1.959964**2))
    assert far.separation.separations[0, 1] > near.separation.separations[0, 1]


def test_what_a_reader_must_know(tmp_path: Path) -> None:
    labels = np.array([0] * 6 + [1] + [3] * 5)
    square = np.array([[3.0, 0], [-3, 0], [0, 3], [0, -3]] * 3)
    files = files_of(tmp_path, constant=np.ones((12, 4)), plane=square)
    constant, plane = (analyzed(files, layer, labels) for layer in ("constant", "plane"))
    absent = [
        "one image of happy: its scores are left out of means",
        "no image of sad: it has no scores",
    ]
    assert constant.notes(CLASSES) == [
        "the layer is constant: all images have the same embedding",
        *absent,
    ]
    assert plane.notes(CLASSES) == [
        "components 1 and 2 have nearly the same variance: their axes are not determined",
        *absent,
    ]
    assert constant.mean == 1
    assert constant.probe is None  # a class of one image
    assert np.isnan(constant.intersections[2]).all()
