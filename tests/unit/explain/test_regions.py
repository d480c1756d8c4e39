from __future__ import annotations

import numpy as np
import pytest

from ier_ray.explain import RegionTree
from ier_ray.explain.regions import areas


def test_first_halvings_by_hand() -> None:
    tree = RegionTree.halving(4, 8, depth=2)
    assert tree.rectangles.tolist() == [
        [0, 4, 0, 8],
        [0, 4, 0, 4],  # left
        [0, 4, 4, 8],  # right
        [0, 2, 0, 4],  # left, top
        [2, 4, 0, 4],
        [0, 2, 4, 8],
        [2, 4, 4, 8],
    ]
    assert tree.parent.tolist() == [-1, 0, 0, 1, 1, 2, 2]
    assert tree.leaves.tolist() == [3, 4, 5, 6]
    other = RegionTree.halving(4, 8, depth=1, first_axis="y")
    assert other.rectangles[1:].tolist() == [[0, 2, 0, 8], [2, 4, 0, 8]]


@pytest.mark.parametrize(
    ("height", "width", "depth"),
    [(1, 1, 3), (1, 7, 4), (5, 7, 9), (8, 8, 6), (3, 4, 0), (13, 2, 20), (16, 16, 5)],
)
def test_halves_partition_their_parent_and_leaves_the_image(
    height: int, width: int, depth: int
) -> None:
    tree = RegionTree.halving(height, width, depth=depth)
    for first in tree.first_halves:
        pair, parent = tree.rectangles[first : first + 2], tree.rectangles[tree.parent[first]]
        assert tree.parent[first] == tree.parent[first + 1]
        assert areas(pair).min() > 0
        assert areas(pair).sum() == areas(parent[None])[0]
        assert (pair[:, ::2].min(0) == parent[::2]).all()
        assert (pair[:, 1::2].max(0) == parent[1::2]).all()
        assert abs(np.diff(areas(pair))[0]) <= max(height, width)
    cover = np.zeros((height, width), int)
    for top, bottom, left, right in tree.rectangles[tree.leaves]:
        cover[top:bottom, left:right] += 1
    assert (cover == 1).all()
    assert len(tree.leaves) == min(2**depth, height * width) or len(tree.leaves) < 2**depth


def test_deep_trees_end_at_single_pixels() -> None:
    tree = RegionTree.halving(5, 7, depth=12)
    assert len(tree.leaves) == 35
    assert (areas(tree.rectangles[tree.leaves]) == 1).all()


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one pixel, got 0x3"):
        RegionTree.halving(0, 3, depth=1)
    with pytest.raises(ValueError, match="depth must be >= 0, got -1"):
        RegionTree.halving(3, 3, depth=-1)


def test_paint_puts_values_in_rectangles() -> None:
    tree = RegionTree.halving(2, 2, depth=2)
    np.testing.assert_array_equal(
        tree.paint(tree.leaves, np.array([1.0, 2.0, 3.0, 4.0])), [[1, 3], [2, 4]]
    )


@pytest.mark.parametrize("shape", [(5, 7), (8, 8), (1, 3), (16, 2)])
def test_every_level_partitions_the_image(shape: tuple[int, int]) -> None:
    tree = RegionTree.halving(*shape, depth=6)
    for level in range(tree.depth + 1):
        nodes = tree.at(level)
        assert (tree.level[nodes] <= level).all()
        assert areas(tree.rectangles[nodes]).sum() == shape[0] * shape[1]
        assert (tree.paint(nodes, np.ones(len(nodes))) == 1).all()
    assert tree.at(0).tolist() == [0]
