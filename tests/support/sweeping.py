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
from ray.tune.search.optuna import OptunaSearch

from ier_ray.cluster.concurrency import FollowingLimiter
from ier_ray.cluster.connection import connect
from ier_ray.cluster.packing import Group
from ier_ray.cluster.sweep_forecast import SweepForecast

BEAT_S = 0.2
BEATS = 25
EPOCHS = 5
HELD = Group(workers=1, cpus=1.0)


def trial(config: dict[str, Any]) -> dict[str, float]:
    """Touch a file of the trial's name again and again."""
    for _ in range(BEATS):
        Path(config["signs"], tune.get_context().get_trial_id()).touch()
        time.sleep(BEAT_S)
    return {"score": config["x"], "epoch": EPOCHS}


def main() -> None:
    connect()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signs, trials = sys.argv[1], int(sys.argv[2])
    limiter = FollowingLimiter(OptunaSearch(seed=1), HELD)
    forecast = SweepForecast(
        HELD, trials=trials, epochs=EPOCHS, at_once=lambda: limiter.max_concurrent
    )
    tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"x": tune.uniform(0, 1), "signs": signs},
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            num_samples=trials,
            search_alg=limiter,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=f"{signs}-results",
            failure_config=tune.FailureConfig(max_failures=-1),
            callbacks=[forecast],
        ),
    ).fit()


if __name__ == "__main__":
    main()
