"""Checks on the joined cluster before anything is started: each finds in seconds what would
otherwise end a run after its first epoch, or let it wait for ever."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from ier_ray import storage
from ier_ray.cluster.nodes import ANSWER_S, Node, alive_nodes, on_nodes
from ier_ray.cluster.packing import Group
from ier_ray.cluster.reach import Answer, Reach
from ier_ray.cluster.runs import check_capacity, group_of
from ier_ray.data.schema import read_shard_manifest
from ier_ray.errors import ClusterError, StorageError
from ier_ray.models.weights import WEIGHT_FILES
from ier_ray.probe_files import probe_file
from ier_ray.training.checkpoint import MANIFEST
from ier_ray.training.footprint import (
    CheckpointSize,
    Footprint,
    checkpoint_size,
    gib,
    run_footprint,
    runs_footprint,
    sweep_footprint,
    with_export,
)
from ier_ray.training.settings import TrainSettings

logger = logging.getLogger(__name__)

PATIENCE_S = 50.0
"""Seconds longer that are waited for the answer of a first node."""


def footprint_of_run(settings: TrainSettings) -> Footprint:
    """What a run will write."""
    size, rows = sizes(settings)
    return run_footprint(settings, size, rows=rows)


def footprint_of_folds(settings: TrainSettings, count: int) -> Footprint:
    """What a cross-validation will write: one run after the other."""
    return runs_footprint(footprint_of_run(settings), count, at_once=1, what="folds")


def footprint_of_sweep(
    settings: TrainSettings, *, trials: int, folds: int, keep: int, at_once: int
) -> Footprint:
    """What a sweep will write, whose trials have these settings."""
    size, rows = sizes(settings)
    swept = sweep_footprint(settings, size, trials=trials, folds=folds, keep=keep, at_once=at_once)
    return with_export(swept, size, rows=rows)


def sizes(settings: TrainSettings) -> tuple[CheckpointSize, int]:
    """The size of a run's checkpoints, and the number of rows of its data."""
    manifests = [read_shard_manifest(settings.data.location(name)) for name in settings.domains]
    rows = sum(manifest.rows for manifest in manifests)
    return checkpoint_size(settings, num_classes=len(manifests[0].classes), rows=rows), rows


def check_cluster(
    settings: TrainSettings, directory: str, footprint: Footprint, *, driver_cpus: float = 0.0
) -> None:
    """Raise if runs of these settings cannot train on the cluster that this process has joined.

    Args:
        directory: of the run or runs.
        footprint: what they will write there.
        driver_cpus: CPUs of each run's driver.

    Raises:
        CapacityError: when the workers can never fit, each on one node.
        StorageError: when the storage is not the same on all nodes, or cannot be written or has too
            little room, or a node cannot read the data.
        ClusterError: when no node answers that could hold a worker.
    """
    check_capacity(settings, driver_cpus=driver_cpus)
    check_room(directory, footprint)
    with probe_file(directory) as (location, content):
        reach = Reach(
            storage=settings.storage,
            probe=location,
            content=content,
            shards=tuple(shards_of(settings)),
            files=tuple(files_of(settings)),
        )
        check_nodes(reach, group_of(settings), footprint.checkpoint)


def check_room(directory: str, footprint: Footprint) -> None:
    """Raise :class:`StorageError` if a local directory's disk has too few bytes for runs.

    What the runs have there already, from an earlier start, is theirs.
    """
    if storage.is_remote(directory):
        return
    path = Path(storage.parsed(directory)[1])
    disk = next(place for place in (path, *path.parents) if place.exists())
    free, there = shutil.disk_usage(disk).free, bytes_below(path)
    if footprint.peak > free + there:
        earlier = f" and {gib(there)} from an earlier start" if there else ""
        raise StorageError(
            f"{directory}: needs about {gib(footprint.peak)} ({footprint.what}), its disk has "
            f"{gib(free)} free{earlier}; free some, or give another storage"
        )


def bytes_below(directory: Path) -> int:
    """Bytes of all files below a directory; 0 if there is none."""
    if not directory.is_dir():
        return 0
    found = 0
    for place, _, names in os.walk(directory):
        found += sum(Path(place, name).lstat().st_size for name in names)
    return found


def check_nodes(reach: Reach, group: Group, checkpoint_bytes: int) -> None:
    """Ask every node that can hold a worker whether it reaches what it needs.

    A node that does not answer is named in a warning.
    """
    able = [node for node in alive_nodes() if group.fits_on(node.room)]
    answers, silent = on_nodes(reach.answer, able, patience=PATIENCE_S)
    if able and not answers:
        raise ClusterError(
            f"{_names(silent)}: no answer within {ANSWER_S + PATIENCE_S:g} s; each is cut off or "
            f"overloaded, or waits for the storage"
        )
    if silent:
        logger.warning("%s: no answer within %g s; not checked", _names(silent), ANSWER_S)
    problems: dict[str, list[Node]] = {}
    for node, answer in answers.items():
        for problem in [*answer.problems, *temporary_problems(answer, checkpoint_bytes)]:
            problems.setdefault(problem, []).append(node)
    if problems:
        told = "; ".join(f"{_names(nodes)}: {what}" for what, nodes in problems.items())
        raise StorageError(
            f"{told}. Give paths that all nodes share, or s3:// URIs that they may read and write"
        )


def temporary_problems(answer: Answer, checkpoint_bytes: int) -> list[str]:
    """What is wrong with the directory in which a node keeps a checkpoint while it is uploaded."""
    if answer.free >= checkpoint_bytes:
        return []
    return [
        f"{answer.temporary} has {gib(answer.free)} free, a checkpoint takes "
        f"{gib(checkpoint_bytes)} there before it is stored: free some, or start the node with "
        f"another TMPDIR"
    ]


def shards_of(settings: TrainSettings) -> list[tuple[str, str, str]]:
    """Setting, location and content hash of each shard set of a run."""
    located = {f"data.{domain}": settings.data.location(domain) for domain in settings.sources}
    return [
        (setting, location, read_shard_manifest(location).content_hash)
        for setting, location in located.items()
    ]


def files_of(settings: TrainSettings) -> list[tuple[str, str]]:
    """Setting and location of each file that a run's first weights come from."""
    schedule, found = settings.schedule, []
    if schedule.pretrained and Path(schedule.pretrained).suffix in WEIGHT_FILES:
        found.append(("schedule.pretrained", schedule.pretrained))
    if schedule.fer_checkpoint:
        manifest = storage.join(schedule.fer_checkpoint, MANIFEST)
        found.append(("schedule.fer_checkpoint", manifest))
    return found


def _names(nodes: list[Node]) -> str:
    return ", ".join(str(node) for node in nodes)
