"""Streams as training workers see them: balance, repeatability, mixing, and how far they read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import ray.train
from ray.data._internal.stats import get_or_create_stats_actor
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer
from ray.util import placement_group, remove_placement_group
from support.processes import wait_for
from support.runs import SIZE, tiny_settings
from support.streams import names_of_epoch

from ier_ray.cluster import read_ahead, streams
from ier_ray.cluster.batch_inference import tasks_of
from ier_ray.cluster.read_ahead import ReadAhead
from ier_ray.cluster.streams import (
    load_of_cluster,
    open_streams,
    read_beside_others,
    read_on_cluster,
)
from ier_ray.data.balancing import class_weights
from ier_ray.data.parts import SplitPlan
from ier_ray.data.shards import RowReader, ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import JointStreams
from ier_ray.emotions import FOUR
from ier_ray.training.settings import TrainSettings


def sample_ids(streams: JointStreams) -> list[dict[str, list[str]]]:
    """The samples of every step of an epoch."""
    names = names_of_epoch(streams, 0)
    return [dict(zip(names, step, strict=True)) for step in zip(*names.values(), strict=True)]


def note_what_is_read(config: dict[str, Any]) -> None:
    """A training worker that writes down the samples of every step, for each seed."""
    context = ray.train.get_context()
    rank = context.get_world_rank()
    for seed, values in config["settings"].items():
        settings = TrainSettings.model_validate(values)
        streams = open_streams(settings, rank=rank, world_size=context.get_world_size())
        notes = Path(config["notes"], f"{seed}-{rank}.json")
        notes.write_text(json.dumps(sample_ids(streams)))


@pytest.fixture(scope="module")
def read_by_two_workers(
    unbalanced: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, list[list[dict[str, list[str]]]]]:
    """What each of two training workers read in an epoch, step by step, for two seeds."""
    directory = tmp_path_factory.mktemp("notes")
    settings = {
        str(seed): tiny_settings(unbalanced, directory, seed=seed).model_dump(mode="json")
        for seed in (1, 2)
    }
    TorchTrainer(
        note_what_is_read,
        train_loop_config={"settings": settings, "notes": str(directory)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(name="notes", storage_path=str(directory / "ray")),
    ).fit()
    return {
        seed: [json.loads((directory / f"{seed}-{rank}.json").read_text()) for rank in range(2)]
        for seed in (1, 2)
    }


@pytest.mark.timeout(400)
def test_two_train_workers_read_in_an_order_that_the_seed_decides(
    unbalanced: dict[str, str],
    read_by_two_workers: dict[int, list[list[dict[str, list[str]]]]],
    tmp_path: Path,
) -> None:
    first, other = read_by_two_workers[1], read_by_two_workers[2]
    settings = tiny_settings(unbalanced, tmp_path, seed=1)
    again = [sample_ids(open_streams(settings, rank=rank, world_size=2)) for rank in range(2)]
    assert first == again  # in another process
    assert first != other
    assert len(first[0]) == len(first[1])  # equal steps


def test_two_train_workers_read_balanced_classes(
    unbalanced: dict[str, str],
    read_by_two_workers: dict[int, list[list[dict[str, list[str]]]]],
) -> None:
    for domain in ("fer", "ier"):
        split = SplitIndex.read(ShardSet.open(unbalanced[domain]), SplitPlan())
        assert_balanced(
            [name for steps in read_by_two_workers[1] for step in steps for name in step[domain]],
            split,
            exact=domain == "ier",
        )


def assert_balanced(read: list[str], split: SplitIndex, *, exact: bool) -> None:
    """Samples of each class within three standard deviations of what the weights ask for."""
    counts = np.bincount(split.train.label, minlength=4)
    weights = class_weights(counts, 1.0)
    expected = counts * weights
    spread = np.sqrt(counts * (weights % 1) * (1 - weights % 1))
    class_of = {name: FOUR.index(label) for name, label in labels_of(split).items()}
    found = np.bincount([class_of[name] for name in read], minlength=4)
    # The last step is filled from the epoch's start; FER is cut or continued to IER's length.
    filled = len(read) / expected.sum()
    slack = 0 if exact and filled == 1 else 3 * np.sqrt(abs(filled - 1) * expected) + 16
    assert (np.abs(found - expected * filled) <= 3 * spread + slack).all(), (found, expected)
    assert found.min() > 2 * counts.min()  # a rare class is read more often than it is there


def labels_of(split: SplitIndex) -> dict[str, str]:
    tables = [split.shards.parquet(number) for number in range(len(split.shards.manifest.shards))]
    return {
        row["sample_id"]: row["label"]
        for file in tables
        for row in file.read(columns=["sample_id", "label"]).to_pylist()
    }


def test_the_setting_mixes_into_what_workers_read(
    unbalanced: dict[str, str], tmp_path: Path
) -> None:
    plain, mixed = (
        open_streams(
            tiny_settings(unbalanced, tmp_path, data__mix=fraction), rank=0, world_size=1
        ).splits
        for fraction in (0.0, 1.0)
    )
    assert set(mixed["fer"].train.hash) == set(plain["fer"].train.hash) | set(
        plain["ier"].train.hash
    )
    np.testing.assert_array_equal(mixed["ier"].train.hash, plain["ier"].train.hash)


@dataclass(frozen=True)
class CountedReader(RowReader):
    """Leaves a file for each task that was begun."""

    notes: str = ""

    def read(self, columns: dict[str, Any]) -> Iterator[dict[str, Any]]:
        Path(self.notes, f"{columns['row'][0]}-{time.time_ns()}").touch()
        yield from super().read(columns)


def test_reading_stays_a_bounded_way_ahead_of_a_slow_consumer_and_rests(
    unbalanced: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: list[None] = []

    class Counted(ReadAhead):
        def can_add_input(self, op: Any) -> bool:
            turns.append(None)
            return super().can_add_input(op)

    monkeypatch.setattr(read_ahead, "ReadAhead", Counted)
    shards = ShardSet.open(unbalanced["ier"])
    index = shards.index()
    tasks = [
        {name: getattr(index, name)[start : start + 10] for name in ("file", "row_group", "row")}
        for start in range(0, len(index), 10)
    ]
    reader = CountedReader(shards.files, FOUR.classes, SIZE, notes=str(tmp_path))
    stream = read_on_cluster(reader, tasks, 10, ahead=3)
    batches = [next(stream)]
    time.sleep(3)
    before = len(turns)
    time.sleep(1)
    # The scheduling loop does not turn as fast as it can while only the consumer can make room.
    assert 0 < len(turns) - before < 100
    begun = len(list(tmp_path.iterdir()))
    # Three at once, the two batches that wait to be handed over, and the one that was.
    assert 3 <= begun <= 8 < len(tasks)
    batches += stream
    assert len(list(tmp_path.iterdir())) == len(tasks)
    assert sum(len(batch["label"]) for batch in batches) == len(index)


def test_a_process_keeps_few_time_series_however_many_streams_it_reads(
    unbalanced: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node's agent keeps those of every dataset's id for ever."""
    monkeypatch.setattr(streams, "_names", cycle(range(100, 103)))
    shards = ShardSet.open(unbalanced["ier"])
    reader, tasks = RowReader.of(shards, SIZE), tasks_of(shards.index())

    def ids() -> set[str]:
        return set(ray.get(get_or_create_stats_actor().get_datasets.remote()))

    before = ids()
    first = read_on_cluster(reader, tasks, 50, ahead=2)
    rows = [next(first)]
    for _ in range(4):  # the last has the first one's id while that still runs
        assert sum(len(batch["label"]) for batch in read_on_cluster(reader, tasks, 50, ahead=2))
    rows += first
    assert sum(len(batch["label"]) for batch in rows) == len(shards.index())
    assert len(ids() - before) == 3


@contextmanager
def held(*cpus: float) -> Iterator[None]:
    """CPUs of the session's cluster in a placement group, as training workers hold them."""
    group = placement_group([{"CPU": amount} for amount in cpus])
    assert group.wait(30)
    try:
        yield
    finally:
        remove_placement_group(group)
        wait_for(lambda: load_of_cluster().workers == 0)


def test_the_load_is_what_placement_groups_hold(cluster: None) -> None:
    assert load_of_cluster().free_cpus == 5
    with held(1.5, 2.0, 0.01):
        wait_for(lambda: load_of_cluster().workers == 2)  # the driver's part is no worker
        load = load_of_cluster()
        assert (load.cpus, load.can_read) == (5, True)
        assert load.free_cpus == pytest.approx(1.49)
        assert load.store_bytes == 512 * 2**20
    assert load_of_cluster().free_cpus == 5


@pytest.mark.timeout(60)
def test_a_worker_reads_itself_where_workers_hold_all_cpus(
    unbalanced: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    shards = ShardSet.open(unbalanced["ier"])
    reader = RowReader.of(shards, SIZE)
    tasks = tasks_of(shards.index())
    read = partial(read_beside_others, reader, tasks, 50, own=2, workers=2)
    expected = list(read())
    assert not caplog.records
    with held(2.5, 2.0):
        wait_for(lambda: load_of_cluster().workers == 2)
        found = list(read())
    assert "training workers hold all CPUs" in caplog.text
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        for name, column in batch.items():
            np.testing.assert_array_equal(column, other[name])
