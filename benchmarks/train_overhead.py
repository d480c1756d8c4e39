"""Joint training under Ray Train beside the same steps under plain torchrun.

Ours is `run_training` as a job runs it: shards read and decoded by Ray tasks, two workers, DDP over
gloo. Beside it two torchrun processes take the same steps on the same batches, decoded before the
clock starts and held in memory. Both sides train in turn from the same weights, with one thread per
process. The second of two epochs is measured, from the end of its first step to the end of its
last; the losses must agree, which shows that it was the same training. The best of several rounds
counts for each side: other programs on the machine can only slow it down. ``ratios`` has one entry
per round.

Read tasks are small, so that a short epoch has many: 32 rows, with --quick 16, instead of the
default 512. torchrun's processes start and build their networks at the same time as Ray's, and then
wait: both start-up times are longer than they would be alone.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # a process less

from overhead import GO, READY, WORKERS, Lap
from overhead.ours import Ours


@dataclass(frozen=True)
class Torchrun:
    """Two processes that build their networks and wait for the signal to train."""

    process: subprocess.Popen[bytes]
    directory: Path
    asked: float

    @classmethod
    def start(cls, directory: Path) -> Torchrun:
        for name in (GO, *READY):
            (directory / name).unlink(missing_ok=True)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += [f"--nproc-per-node={WORKERS}", "-m", "overhead.rank", str(directory)]
        process = subprocess.Popen(command, cwd=Path(__file__).parent)
        atexit.register(process.terminate)
        return cls(process, directory, time.time())

    def lap(self) -> Lap:
        ready = max((self.directory / name).stat().st_mtime for name in READY)
        signaled = time.time()
        (self.directory / GO).touch()
        if self.process.wait() != 0:
            raise SystemExit(f"torchrun ended with {self.process.returncode}")
        found = json.loads((self.directory / "torchrun.json").read_text())
        outside = time.time() - signaled - found["inside_s"]
        return Lap(
            found["images_per_s"], found["loss"], ready - self.asked - found["waited_s"] + outside
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under 50 s")
    quick = parser.parse_args().quick
    if quick:  # the end of a run is noticed sooner, by polling the workers more often
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "1")
    pictures, rows_per_task, rounds = (50, 16, 1) if quick else (320, 32, 3)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ranks = Torchrun.start(directory)
        our_side = Ours.prepared(directory, pictures=pictures, rows_per_task=rows_per_task)
        pairs = []
        for lap in range(rounds):
            ranks = ranks if lap == 0 else Torchrun.start(directory)
            pairs.append((our_side.lap(f"{lap}"), ranks.lap()))
    report(pairs, our_side)


def report(pairs: list[tuple[Lap, Lap]], our_side: Ours) -> None:
    for mine, theirs in pairs:
        if abs(mine.loss - theirs.loss) > 1e-3 * abs(theirs.loss):
            raise SystemExit(f"not the same training: loss {mine.loss} beside {theirs.loss}")
    model, batch_size = our_side.settings.model, our_side.settings.optimizer.batch_size
    print(
        f"emotion_net of width {model.width:g} at {model.image_size}x{model.image_size}, "
        f"{WORKERS} processes of one thread, batches of 2 x {batch_size} from "
        f"JPEGs, {our_side.images} images in an epoch, {len(pairs)} rounds"
    )
    mine, theirs = (
        max(laps, key=lambda lap: lap.images_per_s) for laps in zip(*pairs, strict=True)
    )
    print(f"{'':<12}{'images/s':>10}{'start-up s':>12}{'loss':>10}{'every round':>16}")
    for label, best, laps in zip(
        ("Ray Train", "torchrun"), (mine, theirs), zip(*pairs, strict=True), strict=True
    ):
        rounds = " ".join(f"{lap.images_per_s:.1f}" for lap in laps)
        print(
            f"{label:<12}{best.images_per_s:>10.2f}{best.startup_s:>12.1f}{best.loss:>10.5f}"
            f"     {rounds}"
        )
    ratio = mine.images_per_s / theirs.images_per_s
    print(f"{'ratio':<12}{ratio:>10.3f}     (Ray itself started in {our_side.ray_s:.1f} s)")
    record = {
        "ours_images_per_s": mine.images_per_s,
        "torchrun_images_per_s": theirs.images_per_s,
        "ratio": ratio,
        "ratios": [ours.images_per_s / others.images_per_s for ours, others in pairs],
        "ours_startup_s": mine.startup_s,
        "torchrun_startup_s": theirs.startup_s,
        "ray_init_s": our_side.ray_s,
        "images": our_side.images,
        "images_per_step": 2 * batch_size * WORKERS,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
