"""A sweep beside bare trials under Ray Tune: the same training at the same concurrency.

Ours is what `jobs/tune.py` runs between joining the cluster and the table of trials: each trial
keeps a record, is ranked and tidied, can be resumed, and takes over the process of one that has
ended. Beside it a plain Tune function calls the same training loop on the same streams and reports
its checkpoints to Tune, which starts a process for each trial, as it does by default. Sides
alternate, each sweep in a driver of its own on one local cluster; the clock runs from the start to
the end of `fit()`. The scores of all trials must agree, which shows that it was the same training.
`ratio` is of trials of one worker, which train in Tune's own processes; `nested_ratio` of trials of
two workers, which run Ray Train inside. The best of the rounds counts for each side.

The full run repeats ours with 10, 50 and 200 trials on an S3 server on this machine: seconds,
driver memory and storage requests that one more trial costs, and what they come to with 10,000.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process less

import boto3
import numpy as np
import ray
from botocore.config import Config
from sweeping import SIDES, Lap, Side

from ier_ray.data.ingestion import write_shard_set
from ier_ray.data.listing import LayoutSettings
from ier_ray.data.schema import Domain
from ier_ray.data.sources import SyntheticSource
from ier_ray.emotions import FOUR
from ier_ray.serve.ports import free_port
from ier_ray.tuning.settings import SweepSettings

CPUS = 3
"""Two trials train while a third CPU reads."""
AT_ONCE = 2
COUNTS = (10, 50, 200)
MANY = 10_000
BUCKET = "s3://sweeps"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of few trials, no slopes")
    quick = parser.parse_args().quick
    trials, nested, rounds = (4, 2, 1) if quick else (10, 4, 3)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        port = offer_s3()
        ray.init("local", num_cpus=CPUS, log_to_driver=False, logging_level="ERROR")
        shards = make_shards(directory)
        one = alternated(directory, shards, trials=trials, workers=1, rounds=rounds)
        two = alternated(directory, shards, trials=nested, workers=2, rounds=rounds)
        record = told("one worker", trials, one) | {
            "nested_ratio": told("two workers", nested, two)["ratio"]
        }
        if not quick:
            record["slopes"] = slopes(directory, shards, port)
    print(json.dumps(record))


def make_shards(directory: Path) -> dict[Domain, str]:
    """A small drawn shard set of each domain."""
    domains: tuple[Domain, ...] = ("fer", "ier")
    source = SyntheticSource(samples=160, size=32, seed=3)
    layout = LayoutSettings(seed=3, rows_per_shard=70, rows_per_group=20)
    locations = {domain: f"{directory}/{domain}" for domain in domains}
    for domain, location in locations.items():
        write_shard_set(source, domain, location, scheme=FOUR, layout=layout)
    return locations


def sweep_of(
    shards: dict[Domain, str], storage: str, *, trials: int, workers: int
) -> SweepSettings:
    """Trials of two epochs that differ in the balance of the loss; none ends early."""
    balances = [1.0, *(2.0 + index / trials for index in range(trials - 1))]
    return SweepSettings.model_validate(
        {
            "name": "sweep",
            "storage": storage,
            "search": {
                "searcher": "grid",
                "scheduler": "none",
                "trials": trials,
                "max_concurrent": AT_ONCE,
                "space": {"loss.balance": balances},
            },
            "train": {
                "seed": 1,
                "storage": storage,
                "data": dict(shards),
                "model": {"image_size": 32, "width": 0.05},
                "optimizer": {"learning_rate": 1e-3, "batch_size": 16},
                "schedule": {"epochs": 2, "warmup_epochs": 1},
                "scaling": {"num_workers": workers, "cpus_per_worker": 1 / workers},
            },
        }
    )


def alternated(
    directory: Path, shards: dict[Domain, str], *, trials: int, workers: int, rounds: int
) -> dict[Side, list[Lap]]:
    """Rounds of both sides, each the first in turn."""
    laps: dict[Side, list[Lap]] = {side: [] for side in SIDES}
    for number in range(rounds):
        for side in SIDES if number % 2 == 0 else SIDES[::-1]:
            storage = f"{directory}/{workers}-{number}-{side}"
            laps[side].append(
                run_lap(side, sweep_of(shards, storage, trials=trials, workers=workers), directory)
            )
        ours, bare = (laps[side][-1].scores for side in SIDES)
        if not np.allclose(ours, bare, rtol=1e-3):
            raise SystemExit(f"not the same training: scores {ours} beside {bare}")
    return laps


def run_lap(side: Side, sweep: SweepSettings, directory: Path) -> Lap:
    """One sweep, in a driver of its own."""
    file = directory / "sweep.json"
    file.write_text(sweep.model_dump_json())
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-m", "sweeping.lap", side, str(file)],
        cwd=Path(__file__).parent,
        env={**os.environ, "RAY_ADDRESS": address},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Lap(**json.loads(done.stdout.splitlines()[-1]))


def told(label: str, trials: int, laps: dict[Side, list[Lap]]) -> dict[str, Any]:
    """Print both sides' seconds; returns the best of each and their ratio."""
    best = {side: min(lap.seconds for lap in laps[side]) for side in SIDES}
    ratio = best["ours"] / best["bare"]
    print(f"{trials} trials of {label}, {AT_ONCE} at once")
    for side in SIDES:
        rounds = " ".join(f"{lap.seconds:.1f}" for lap in laps[side])
        memory = max(lap.driver_mib for lap in laps[side])
        print(f"  {side:<6}{best[side]:>8.1f} s   driver +{memory:.0f} MiB   rounds {rounds}")
    print(f"  {'ratio':<6}{ratio:>8.2f}", flush=True)
    return {"ours_seconds": best["ours"], "bare_seconds": best["bare"], "ratio": ratio}


def slopes(directory: Path, shards: dict[Domain, str], port: int) -> dict[str, dict[str, float]]:
    """What a trial more costs, by a line through sweeps of different numbers of trials."""
    found: dict[str, list[float]] = {"seconds": [], "driver_mib": [], "storage_requests": []}
    with s3_server(directory, port) as log:
        for count in COUNTS:
            before = requests_in(log)
            sweep = sweep_of(shards, f"{BUCKET}/{count}", trials=count, workers=1)
            lap = run_lap("ours", sweep, directory)
            found["seconds"].append(lap.seconds)
            found["driver_mib"].append(lap.driver_mib)
            found["storage_requests"].append(requests_in(log) - before)
            print(
                f"{count} trials on S3: " + ", ".join(f"{k} {v[-1]:.1f}" for k, v in found.items())
            )
    lines = {name: np.polyfit(COUNTS, values, 1) for name, values in found.items()}
    print(f"{'':<18}{'a trial more':>14}{f'{MANY:,} trials':>18}")
    for name, line in lines.items():
        print(f"{name:<18}{line[0]:>14.3f}{np.polyval(line, MANY):>18,.0f}", flush=True)
    return {
        name: {"per_trial": float(line[0]), "with_10000": float(np.polyval(line, MANY))}
        for name, line in lines.items()
    }


def offer_s3() -> int:
    """Name an S3 server of this machine to all that start after it; returns its port."""
    port = free_port()
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",  # noqa: S106 (of a server on loopback)
        AWS_DEFAULT_REGION="us-east-1",
    )
    return port


@contextmanager
def s3_server(directory: Path, port: int) -> Iterator[Path]:
    """The server, with an empty bucket; yields the log of its requests."""
    log = directory / "requests.log"
    with log.open("w") as lines:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "--host=127.0.0.1", f"--port={port}"],
            stdout=lines,
            stderr=lines,
        )
        try:
            waiting = boto3.client("s3", config=Config(retries={"max_attempts": 10}))
            waiting.create_bucket(Bucket=BUCKET.removeprefix("s3://"))
            yield log
        finally:
            server.terminate()
            server.wait(30)


def requests_in(log: Path) -> int:
    """Requests that the server has answered."""
    return log.read_text().count('HTTP/1.1" ')


if __name__ == "__main__":
    main()
