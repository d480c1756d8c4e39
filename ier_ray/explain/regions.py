"""The region tree: an image divided again and again, alternately along x and y.

Regions are cut in their middles, or, by :class:`Jitter`, at random places near them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Axis = Literal["x", "y"]
Rectangles = NDArray[np.int64]


@dataclass(frozen=True)
class Jitter:
    """Where the regions of one tree are cut: at random, each on its own.

    Attributes:
        share: a cut lies at most this share of half the side away from the middle, in (0, 1]; with
            0.5, between a quarter and three quarters of the side.
        seed, number: the tree's cuts are those of this number among those of this seed.
    """

    share: float
    seed: int
    number: int

    def fractions(self, level: int, count: int) -> NDArray[np.float64]:
        """``(count,)``: where the regions of a level are cut, as fractions of their sides.

        Those of a level do not depend on what is below it.
        """
        random = np.random.default_rng((self.seed, self.number, level)).random(count)
        fractions: NDArray[np.float64] = 0.5 + self.share * (random - 0.5)
        return fractions


@dataclass(frozen=True)
class RegionTree:
    """Rectangles of a recursive halving, breadth first: node 0 is the image.

    The two halves of a node are adjacent in the order. When a side of odd length is halved, its
    first half has one pixel less. A node one pixel long on the axis to be halved is halved on the
    other; a single pixel stays a leaf. With :class:`Jitter`, "half" stands for the part on either
    side of a cut, of one pixel at least.

    Attributes:
        rectangles: ``(N, 4)`` as top, bottom, left, right; bottom and right exclusive.
        parent: ``(N,)``; -1 for the root.
        level: ``(N,)``; number of halvings, 0 for the root.
    """

    rectangles: Rectangles
    parent: NDArray[np.int64]
    level: NDArray[np.int64]

    @classmethod
    def halving(
        cls,
        height: int,
        width: int,
        *,
        depth: int,
        first_axis: Axis = "x",
        jitter: Jitter | None = None,
    ) -> RegionTree:
        """Halve an image ``depth`` times: up to ``2**depth`` leaves."""
        if height < 1 or width < 1:
            raise ValueError(f"the image must have at least one pixel, got {height}x{width}")
        if depth < 0:
            raise ValueError(f"depth must be >= 0, got {depth}")
        tree = cls(np.array([[0, height, 0, width]]), np.array([-1]), np.array([0]))
        while tree.depth < depth and len(tree.deepest):
            tree = tree.divided(tree.deepest, first_axis=first_axis, jitter=jitter)
        return tree

    def divided(
        self, nodes: NDArray[np.int64], *, first_axis: Axis, jitter: Jitter | None = None
    ) -> RegionTree:
        """The tree with some of its deepest nodes halved.

        Args:
            nodes: among :attr:`deepest`, in their order.
            first_axis: the axis along which the image itself was halved.
            jitter: where they are cut; by default in the middle.
        """
        second_axis: Axis = "y" if first_axis == "x" else "x"
        axis = first_axis if self.depth % 2 == 0 else second_axis
        at = None if jitter is None else jitter.fractions(self.depth, len(nodes))
        halves = halve(self.rectangles[nodes], axis, at)
        return RegionTree(
            rectangles=np.concatenate([self.rectangles, halves]),
            parent=np.concatenate([self.parent, np.repeat(nodes, 2)]),
            level=np.concatenate([self.level, np.full(len(halves), self.depth + 1)]),
        )

    def down_to(self, level: int) -> RegionTree:
        """The tree without the nodes below a level."""
        nodes = int((self.level <= level).sum())
        return RegionTree(self.rectangles[:nodes], self.parent[:nodes], self.level[:nodes])

    def __len__(self) -> int:
        return len(self.parent)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image."""
        return int(self.rectangles[0, 1]), int(self.rectangles[0, 3])

    @property
    def depth(self) -> int:
        """Number of levels below the root's."""
        return int(self.level[-1])

    @cached_property
    def deepest(self) -> NDArray[np.int64]:
        """Nodes of the last level that can be halved: those of more than one pixel."""
        return np.flatnonzero((self.level == self.depth) & (areas(self.rectangles) > 1))

    @cached_property
    def first_halves(self) -> NDArray[np.int64]:
        """Every node that is the first half of its parent; the second is the next node."""
        return np.arange(1, len(self), 2)

    @cached_property
    def leaves(self) -> NDArray[np.int64]:
        """Nodes without halves."""
        inner = np.zeros(len(self), dtype=bool)
        inner[self.parent[1:]] = True
        return np.flatnonzero(~inner)

    def at(self, level: int) -> NDArray[np.int64]:
        """Nodes that partition the image at a level: those of that level, and leaves above it."""
        here = np.flatnonzero(self.level == level)
        above = self.leaves[self.level[self.leaves] < level]
        return np.concatenate([above, here])

    def paint(self, nodes: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """A ``(height, width)`` map with ``values`` in the rectangles of ``nodes``, 0 elsewhere."""
        canvas = np.zeros(self.shape)
        for (top, bottom, left, right), value in zip(self.rectangles[nodes], values, strict=True):
            canvas[top:bottom, left:right] = value
        return canvas


def areas(rectangles: Rectangles) -> NDArray[np.int64]:
    """Pixels in each rectangle."""
    return (rectangles[:, 1] - rectangles[:, 0]) * (rectangles[:, 3] - rectangles[:, 2])


def halve(rectangles: Rectangles, axis: Axis, at: NDArray[np.float64] | None = None) -> Rectangles:
    """Both halves of each rectangle, one after the other: ``(2N, 4)``.

    Args:
        at: ``(N,)``; where each is cut, as a fraction of its side; by default in the middle.
    """
    top, bottom, left, right = rectangles.T
    along_x = right - left > 1 if axis == "x" else bottom - top == 1
    middle_x = np.where(along_x, _cut(left, right, at), right)
    middle_y = np.where(along_x, bottom, _cut(top, bottom, at))
    first = np.stack([top, middle_y, left, middle_x], axis=1)
    second = np.stack(
        [np.where(along_x, top, middle_y), bottom, np.where(along_x, middle_x, left), right],
        axis=1,
    )
    return np.stack([first, second], axis=1).reshape(-1, 4)


def _cut(
    start: NDArray[np.int64], stop: NDArray[np.int64], at: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Where sides are cut; those of more than one pixel leave one at least on either side."""
    if at is None:
        return (start + stop) // 2
    cut = np.rint(start + at * (stop - start)).astype(np.int64)
    return np.maximum(np.minimum(cut, stop - 1), start + 1)
