"""A batch is divided fairly among explanations; places and known scores are kept for the latest."""

from __future__ import annotations

import numpy as np
import pytest

from ier_ray.explain.engine.fairness import fair_rows
from ier_ray.explain.engine.memo import Memo
from ier_ray.explain.engine.places import Places


@pytest.mark.parametrize(
    ("costs", "quantum", "expected"),
    [
        ([[1, 1, 1, 1]], 3, [3]),
        ([[5, 5]], 3, [1]),  # one row at least
        ([[1] * 9, [1] * 9], 6, [3, 3]),
        ([[1] * 9, [1]], 16, [1, 1]),  # the small one is not held up by the large one
        ([[1] * 99, [1]], 64, [4, 1]),  # but a batch has a least size
        ([[2, 2, 2], [3, 3]], 20, [3, 2]),
        ([[4, 4], [4, 4], [4, 4]], 9, [1, 1, 0]),  # the quantum suffices for two
        ([[1, 1], [9]], 5, [2, 0]),
    ],
)
def test_rows_are_divided_by_cost(
    costs: list[list[float]], quantum: float, expected: list[int]
) -> None:
    assert fair_rows([np.array(each, dtype=float) for each in costs], quantum) == expected


def test_random_batches_keep_to_the_quantum_and_favor_nobody() -> None:
    generator = np.random.default_rng(0)
    for _ in range(300):
        costs = [generator.uniform(0.1, 2, generator.integers(1, 20)) for _ in range(5)]
        quantum = generator.uniform(1, 30)
        counts = fair_rows(costs, quantum)
        spent = [float(each[:count].sum()) for each, count in zip(costs, counts, strict=True)]
        served = [each for each, count in zip(costs, counts, strict=True) if count]
        assert sum(spent) <= max(quantum, *(2.0 * len(served),)) + 1e-9
        part = max(spent)
        for mine, count, each in zip(spent, counts, served, strict=False):
            if 0 < count < len(each):  # it wants more, so nobody got much more than it
                assert mine + each[count] > min(part, quantum / len(served)) - 2


def test_an_image_keeps_its_place_until_another_needs_it() -> None:
    places = Places(2)
    assert places.take("a") == (0, True)
    assert places.take("b") == (1, True)
    assert places.take("a") == (0, False)
    assert places.take("c") is None
    places.leave("b")
    assert places.take("c") == (1, True)
    places.leave("a")
    assert places.take("b") is None  # a is used once more
    places.leave("a")
    assert places.take("a") == (0, False)
    places.leave("a")
    assert places.take("b") == (0, True)


def test_of_images_nobody_uses_the_latest_stay() -> None:
    places = Places(2)
    for image in "aba":
        places.take(image)
        places.leave(image)
    assert places.take("c") == (1, True)
    assert places.take("a") == (0, False)


def test_a_forgotten_image_leaves_its_place_free() -> None:
    places = Places(1)
    places.take("a")
    places.forget("a")
    assert places.take("b") == (0, True)


def test_scores_of_the_latest_images_are_kept() -> None:
    memo = Memo(most_rows=3)
    memo.add("a", "ann", [b"1", b"2"], np.array([[1.0], [2.0]]))
    found = np.zeros((3, 1))
    assert memo.fill("a", "ann", [b"2", b"3", b"1"], found)[0].tolist() == [1]
    assert found.tolist() == [[2.0], [0.0], [1.0]]
    memo.add("b", "ann", [b"1", b"2"], np.array([[3.0], [4.0]]))
    assert memo.fill("a", "ann", [b"1"], found[:1])[0].tolist() == [0]
    assert memo.fill("b", "ann", [b"1"], found[:1])[0].tolist() == []
    assert found[0, 0] == 3.0


def test_an_image_that_fills_the_memo_alone_gets_no_more() -> None:
    memo, found = Memo(most_rows=3), np.zeros((5, 1))
    keys = [bytes([row]) for row in range(5)]
    for key in keys:
        memo.add("a", "ann", [key], np.ones((1, 1)))
    assert memo.fill("a", "ann", keys, found)[0].tolist() == [3, 4]


def test_the_memo_says_how_many_scores_are_of_others() -> None:
    memo, found = Memo(), np.zeros((3, 1))
    memo.add("a", ("ann", 1), [b"1", b"2"], np.array([[1.0], [2.0]]))
    memo.add("a", ("bob", 1), [b"3"], np.array([[3.0]]))
    keys = [b"1", b"2", b"3"]
    assert [memo.fill("a", (name, 1), keys, found)[1] for name in ("ann", "bob", "eve")] == [
        1,
        2,
        3,
    ]
