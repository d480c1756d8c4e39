"""A training in one process: the loop of every other training, without a nested Ray Train run."""

from __future__ import annotations

import logging
import math
import shutil
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ier_ray.cluster.runs import check_data
from ier_ray.cluster.streams import joint_streams, open_splits
from ier_ray.data.order import held_out_tasks
from ier_ray.data.parts import TEST
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.streams import ExecuteReads
from ier_ray.evaluation.predictions import Predictions
from ier_ray.inference import Recognizer
from ier_ray.records import predictions_of_rows
from ier_ray.training.context import LocalContext, ProgressBar
from ier_ray.training.loop import epoch_logger, train
from ier_ray.training.settings import TrainSettings
from ier_ray.training.state import RunProgress

AT_ONCE = 256
"""Images that are predicted at a time."""
BEST = "best"


@dataclass
class BestContext(LocalContext):
    """Keeps the checkpoint of the best epoch, of equals the latest, as ``directory/best``."""

    score: float = -math.inf

    def checkpoint(self) -> AbstractContextManager[Path | None]:
        """None: a run that was stopped begins again."""
        return nullcontext(None)

    def last_checkpoint(self) -> str | None:
        """None."""
        return None

    def bar(self, label: str, total: int) -> ProgressBar:  # noqa: ARG002
        """Nothing: the experiment has one bar for all cells."""
        return tqdm(disable=True)

    def report(self, metrics: dict[str, Any], directory: Path | None) -> None:
        """Keep the checkpoint if no epoch before was better."""
        self.history.append(metrics)
        if directory is not None and metrics["score"] >= self.score:
            self.score = metrics["score"]
            shutil.rmtree(self.directory / BEST, ignore_errors=True)
            shutil.move(directory, self.directory / BEST)


def train_in_process(
    settings: TrainSettings, directory: Path, execute: ExecuteReads
) -> tuple[RunProgress, str]:
    """Train here, with the batches of a run of one worker.

    Args:
        directory: an existing directory on this node.
        execute: reads the rows.

    Returns:
        The run's progress, and the directory of its best epoch's checkpoint.

    Raises:
        IerRayError: as :func:`~ier_ray.cluster.runs.check_data` and
            :func:`~ier_ray.training.loop.train`.
    """
    check_data(settings)
    epoch_logger.setLevel(logging.WARNING)
    streams = joint_streams(settings, open_splits(settings), execute)
    context = BestContext(directory)
    progress = train(settings, streams, streams.scheme, context)
    return progress, str(directory / BEST)


def predictions_of_tests(
    checkpoint: str,
    settings: TrainSettings,
    execute: ExecuteReads,
    *,
    network: Domain,
    on: Domain,
    run: str,
) -> Predictions:
    """Predictions of a run's network on the test rows of a domain of its data.

    Args:
        network: of the checkpoint.
        on: the domain whose test rows are predicted.
        run: name that the predictions carry.
    """
    recognizer = Recognizer.load(checkpoint)
    split = SplitIndex.read(ShardSet.open(settings.data.location(on)), settings.split_plan(on))
    reader = settings.preprocessing.reader(split.files, split.shards.scheme.classes)
    tasks = held_out_tasks(split.test, rank=0, world_size=1, window=settings.data.shuffle_window)
    found = [
        recognizer.probabilities(rows["image"], domain=network)
        for rows in execute(reader, tasks, AT_ONCE)
    ]
    count = len(split.test)
    return predictions_of_rows(
        split.shards,
        split.test,
        np.concatenate(found),
        parts=np.full(count, TEST, dtype=np.int8),
        seen=np.zeros(count, dtype=bool),
        run=run,
        seed=settings.seed,
    )
