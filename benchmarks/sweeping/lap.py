"""A driver of its own for one sweep; prints its :class:`~sweeping.Lap` as JSON.

Arguments: the side, and a file with the sweep's settings.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from ier_ray.cluster.concurrency import TrialsThatFit
from ier_ray.cluster.connection import connect
from ier_ray.cluster.tuner import run_trials, trial_group
from ier_ray.tuning.settings import SweepSettings
from ier_ray.tuning.trials import TrialStore
from sweeping import Lap
from sweeping.bare import make_tuner


def lap(side: str, sweep: SweepSettings) -> Lap:
    """Run a sweep and measure it."""
    points = sweep.space.grid()
    own, peaks, ended = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            peaks.append(own.memory_info().rss)

    before = own.memory_info().rss
    watching = threading.Thread(target=watch)
    watching.start()
    started = time.perf_counter()
    scores = (ours if side == "ours" else bare)(sweep, points)
    seconds = time.perf_counter() - started
    ended.set()
    watching.join()
    return Lap(seconds, (max(peaks) - before) / 2**20, scores)


def ours(sweep: SweepSettings, points: list[dict[str, Any]]) -> list[float]:
    """The trials as a job runs them; each trial's last score, by its settings."""
    store = TrialStore(f"{sweep.storage}/{sweep.name}")
    run_trials(sweep, store, TrialsThatFit(trial_group(sweep), sweep.search.max_concurrent))
    by_point = {str(one.point): one.history[-1]["score"] for one in store.all()}
    return [by_point[str(point)] for point in points]


def bare(sweep: SweepSettings, points: list[dict[str, Any]]) -> list[float]:
    """The trials as bare functions."""
    found = make_tuner(sweep, points).fit()
    if found.errors:
        raise SystemExit(f"bare trials failed: {found.errors[0]}")
    by_point = {str(one.config["point"]): one.metrics["score"] for one in found}
    return [by_point[str(point)] for point in points]


def main() -> None:
    side, file = sys.argv[1:]
    connect()
    logging.getLogger("ray").setLevel(logging.ERROR)
    print(json.dumps(asdict(lap(side, SweepSettings.model_validate_json(Path(file).read_text())))))


if __name__ == "__main__":
    main()
