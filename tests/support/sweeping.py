"""A sweep of trials that only show that they run; a driver of a cluster other than the session's.

Arguments: a directory for the trials' signs of life, and the number of trials.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from ier_ray.cluster.concurrency import TrialsThatFit
from ier_ray.cluster.connection import connect
from ier_ray.cluster.packing import Group

BEAT_S = 0.2
BEATS = 25
HELD = Group(workers=1, cpus=1.0)


def trial(config: dict[str, Any]) -> dict[str, float]:
    """Touch a file of the trial's name again and again."""
    for _ in range(BEATS):
        Path(config["signs"], tune.get_context().get_trial_id()).touch()
        time.sleep(BEAT_S)
    return {"score": 0.0}


class Trials(Searcher):  # type: ignore[misc] # Ray's is untyped there
    """Proposes a trial as long as the cluster has room for it.

    Args:
        signs: their directory.
        room: how many may run now.
    """

    def __init__(self, signs: str, room: TrialsThatFit) -> None:
        super().__init__()
        self.signs, self.room = signs, room
        self.live: set[str] = set()

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial."""
        if len(self.live) >= self.room():
            return None
        self.live.add(trial_id)
        return {"signs": self.signs}

    def on_trial_complete(self, trial_id: str, *_: Any, **__: Any) -> None:
        """Called by Tune when a trial is over."""
        self.live.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Called by Tune for its snapshots."""
        Path(checkpoint_path).touch()


def main() -> None:
    connect()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signs, trials = sys.argv[1], int(sys.argv[2])
    tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=trials,
            search_alg=Trials(signs, TrialsThatFit(HELD)),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=f"{signs}-results",
            failure_config=tune.FailureConfig(max_failures=-1),
        ),
    ).fit()


if __name__ == "__main__":
    main()
