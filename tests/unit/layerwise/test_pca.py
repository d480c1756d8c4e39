"""Components: Gram matrix, streaming and scipy's singular vectors agree; signs and gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import scipy.linalg

from ier_ray.layerwise import pca
from ier_ray.layerwise.intersections import class_ranges, intersections
from ier_ray.layerwise.pca import (
    Blocks,
    Components,
    Floats,
    Rows,
    coordinates,
    gram_matrix,
    principal_components,
    streamed_coordinates,
)

IMAGES, WIDTH, CLASSES = 96, 1500, 4
LABELS = np.arange(IMAGES) % CLASSES


def layer(seed: int, dtype: type = np.float32) -> Rows:
    """Activations like a ReLU's: classes apart along some directions, a large common part."""
    chance = np.random.default_rng(seed)
    centers = chance.normal(0, 0.4, (CLASSES, WIDTH))
    shared = chance.normal(0, 1, (IMAGES, 12)) @ chance.normal(0, 0.5, (12, WIDTH))
    rows = centers[LABELS] + shared + chance.normal(0, 0.3, (IMAGES, WIDTH))
    return np.maximum(rows + 0.5, 0).astype(dtype)


def blocks_of(rows: Rows, size: int = 20) -> Blocks:
    def blocks() -> Iterator[Rows]:
        yield from (rows[start : start + size] for start in range(0, len(rows), size))

    return blocks


def by_svd(rows: Rows, count: int = 3) -> Floats:
    """Component scores by singular vectors in double precision."""
    centered = rows.astype(np.float64) - rows.mean(0, dtype=np.float64)
    left, values, _ = scipy.linalg.svd(centered, full_matrices=False)
    scores = (left * values)[:, :count]
    largest = np.abs(scores).argmax(0)
    return scores * np.sign(scores[largest, range(count)])


def exact(rows: Rows) -> Components:
    return principal_components(*coordinates(gram_matrix(rows)))


def streamed(rows: Rows, seed: int = 0) -> Components:
    blocks = blocks_of(rows, min(20, len(rows) // 2))
    return principal_components(*streamed_coordinates(blocks, seed=seed, passes=20))


def score(scores: Floats) -> Floats:
    return intersections(class_ranges(scores, LABELS, CLASSES))


@pytest.mark.parametrize("seed", range(5))
def test_gram_and_singular_vectors_agree(seed: int) -> None:
    rows = layer(seed)
    found = exact(rows)
    expected = by_svd(rows)
    assert np.abs(found.scores - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(score(found.scores) - score(expected)).max() < 1e-6
    assert found.eigenvalues == pytest.approx(np.square(expected).mean(0), rel=1e-5)
    total = rows.astype(np.float64).var(0).sum()
    assert found.explained == pytest.approx(found.eigenvalues / total, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_streaming_and_singular_vectors_agree(seed: int) -> None:
    rows = layer(seed)
    found = streamed(rows, seed=seed)
    reference = exact(rows)
    assert np.abs(score(found.scores) - score(by_svd(rows))).max() < 1e-3
    assert found.eigenvalues == pytest.approx(reference.eigenvalues, rel=1e-3)
    assert found.explained == pytest.approx(reference.explained, rel=1e-3)
    assert found.gaps == pytest.approx(reference.gaps, abs=0.02)


def test_half_precision_on_disk_changes_next_to_nothing() -> None:
    rows = layer(0)
    half = exact(rows.astype(np.float16))
    assert np.abs(score(half.scores) - score(by_svd(rows))).max() < 1e-3


def test_the_size_of_a_chunk_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = layer(0, np.float64)
    whole = gram_matrix(rows)
    monkeypatch.setattr(pca, "CHUNK_BYTES", 8 * IMAGES * 7)  # seven columns; 1500 is no multiple
    np.testing.assert_allclose(gram_matrix(rows), whole, rtol=1e-10, atol=1e-9)


def test_a_common_shift_and_a_rotation_change_nothing() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 6)) * [5, 4, 3, 2, 1, 0.5]
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))[0]
    found = exact(rows)
    moved = exact(rows @ rotation + 1000.0)
    np.testing.assert_allclose(found.scores, moved.scores, atol=1e-8)


def test_all_coordinates_keep_all_distances() -> None:
    rows = np.random.default_rng(0).normal(size=(12, 40))
    found, total = coordinates(gram_matrix(rows))
    assert total == pytest.approx(rows.var(0).sum())
    assert found.shape == (12, 11)  # about their mean, 12 points span 11 dimensions
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found, axis=2),
        np.linalg.norm(rows[:, None] - rows, axis=2),
        atol=1e-9,
    )


@pytest.mark.parametrize("found", [exact, streamed])
def test_there_are_as_many_components_as_there_can_be(found: Callable[[Rows], Components]) -> None:
    line = np.outer([0.0, 1.0, 2.0, 5.0], [3.0, 4.0])
    one = found(line)
    np.testing.assert_allclose(one.scores[:, 0], [-10, -5, 0, 15], atol=1e-9)
    assert one.eigenvalues == pytest.approx([87.5])
    assert one.explained == pytest.approx([1.0])
    assert one.gaps == pytest.approx([1.0])
    constant = found(np.full((4, 2), 7.0))
    assert constant.scores.shape == (4, 0)
    assert constant.undetermined == []


def test_equal_eigenvalues_do_not_determine_axes() -> None:
    square = np.array([[1, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0], [0, 0, 3], [0, 0, -3.0]])
    found = exact(square)
    assert found.eigenvalues == pytest.approx([3, 2 / 3, 2 / 3])
    assert found.undetermined == [1]


def test_the_entry_of_largest_magnitude_is_positive() -> None:
    for rows in (layer(3), -layer(3)):
        scores = exact(rows).scores
        assert (scores.max(0) == np.abs(scores).max(0)).all()


def test_there_must_be_embeddings() -> None:
    with pytest.raises(ValueError, match="no embeddings"):
        streamed_coordinates(lambda: iter(()), seed=0)
