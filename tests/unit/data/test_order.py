from __future__ import annotations

import numpy as np

from ier_ray.data.balancing import hash_ids
from ier_ray.data.order import EpochOrder, epoch_order, held_out_tasks, rank_tasks, steps_in
from ier_ray.data.shards import RowIndex

GROUP = 10


def make_index(rows: int, *, labels: int = 1) -> RowIndex:
    number = np.arange(rows)
    return RowIndex(
        file=(number // 40).astype(np.int32),
        row_group=(number % 40 // GROUP).astype(np.int32),
        row=(number % GROUP).astype(np.int32),
        label=number % labels,
        fold=np.zeros(rows, np.int8),
        hash=hash_ids([str(i) for i in number]),
        split=np.full(rows, -1, np.int8),
        group=hash_ids([str(i) for i in number]),
        pixels=number.astype(np.uint64),
    )


def row_numbers(tasks: list[dict[str, np.ndarray]]) -> np.ndarray:
    parts = [task["file"] * 40 + task["row_group"] * GROUP + task["row"] for task in tasks]
    return np.concatenate(parts) if parts else np.array([], int)


def order_of(index: RowIndex, epoch: int = 0, seed: int = 0, window: int = 3) -> EpochOrder:
    return epoch_order(index, seed=seed, epoch=epoch, balance=1.0, window=window)


def test_an_epoch_is_a_permutation_of_balanced_data() -> None:
    order = order_of(make_index(200, labels=4))
    assert sorted(order.rows) == list(range(200))


def test_order_depends_on_seed_and_epoch_alone() -> None:
    index = make_index(200)
    first = order_of(index)
    np.testing.assert_array_equal(first.rows, order_of(index).rows)
    assert not np.array_equal(first.rows, order_of(index, epoch=1).rows)
    assert not np.array_equal(first.rows, order_of(index, seed=1).rows)


def test_a_window_holds_at_most_its_row_groups() -> None:
    index = make_index(200)
    order = order_of(index, window=3)
    for window in set(order.window):
        rows = order.rows[order.window == window]
        assert len(set(rows // GROUP)) <= 3
    # within a window, rows of different groups are mixed
    first = order.rows[order.window == order.window[0]] // GROUP
    assert (np.diff(first) != 0).sum() > 5


def test_ranks_share_an_epoch_without_overlap_in_equal_steps() -> None:
    index = make_index(200)
    order = order_of(index)
    steps = steps_in(order, world_size=3, batch_size=7)
    assert steps == 10
    parts = [
        row_numbers(rank_tasks(index, order, rank=rank, world_size=3, batch_size=7, steps=steps))
        for rank in range(3)
    ]
    assert [len(part) for part in parts] == [70, 70, 70]
    everything = np.concatenate(parts)
    np.testing.assert_array_equal(everything[:200], order.rows)
    np.testing.assert_array_equal(everything[200:], order.rows[:10])  # the last step is filled up


def test_a_short_domain_is_repeated_and_a_long_one_truncated() -> None:
    index = make_index(30)
    order = order_of(index)
    longer = rank_tasks(index, order, rank=0, world_size=1, batch_size=10, steps=8)
    np.testing.assert_array_equal(row_numbers(longer), np.resize(order.rows, 80))
    shorter = rank_tasks(index, order, rank=0, world_size=1, batch_size=10, steps=2)
    np.testing.assert_array_equal(row_numbers(shorter), order.rows[:20])


def test_no_task_holds_more_than_a_window() -> None:
    index = make_index(200)
    order = order_of(index, window=3)
    tasks = rank_tasks(index, order, rank=0, world_size=2, batch_size=10, steps=30)
    assert max(len(task["row"]) for task in tasks) <= 30


def test_held_out_rows_come_once_each_over_all_ranks() -> None:
    index = make_index(95)
    parts = [
        row_numbers(held_out_tasks(index, rank=rank, world_size=4, window=2)) for rank in range(4)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(95))
    few = [held_out_tasks(make_index(2), rank=r, world_size=4, window=2) for r in range(4)]
    assert [len(row_numbers(tasks)) for tasks in few] == [1, 1, 0, 0]
