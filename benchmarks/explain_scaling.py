"""How explanations scale: with regions, and with workers; the pool beside the serial executor.

The network has a quarter of the paper's width, 224 pixels, random weights; every process has one
thread. Executors take turns on the same images, each of which is new to all of them. The best round
of each counts, of enough rounds to warm up (workers need several). Ray runs without its dashboard,
whose processes would share two cores with two workers.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy as np
import ray
import torch
from subjects.checkpoints import save_untrained

from ier_ray.cluster.connection import connect
from ier_ray.cluster.explain_pool import ExplainPool, ExplainRequest
from ier_ray.explain import Contexts
from ier_ray.explainer_settings import ExplainerSettings
from ier_ray.inference import Recognizer
from ier_ray.models import ModelSettings

SIZE, WIDTH, DEPTH = 224, 0.25, 8


def request(seed: int, depth: int, contexts: Contexts) -> ExplainRequest:
    generator = np.random.default_rng(seed)
    coarse = torch.tensor(generator.random((1, 3, 14, 14)))
    image = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic")[0].clamp(0, 1)
    pixels = (image * 255).byte().permute(1, 2, 0).numpy()
    return ExplainRequest(pixels, ExplainerSettings(depth=depth, contexts=contexts), "ier")


def serial(recognizer: Recognizer, asked: ExplainRequest) -> np.ndarray:
    evaluator = recognizer.evaluator(asked.pixels, asked.settings, domain=asked.domain)
    found = asked.settings.explainer().explain(evaluator)
    return found.credits


def pooled(pool: ExplainPool, asked: ExplainRequest) -> np.ndarray:
    return pool.explain(asked).credits


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def seconds_by_depth(
    recognizer: Recognizer, depths: range, contexts: Contexts, rounds: int
) -> dict[int, float]:
    """Best of several rounds of a serial explanation at each depth."""
    found: dict[int, float] = {}
    for number in range(rounds):
        for depth in depths:
            asked = request(number, depth, contexts)
            seconds = timed(partial(serial, recognizer, asked))
            found[depth] = min(seconds, found.get(depth, np.inf))
    return found


def executors(
    location: str, recognizer: Recognizer, contexts: Contexts, turns: int
) -> tuple[dict[str, float], float]:
    """Best seconds of each executor, and the largest difference of a pool's credits from serial."""
    pools = {f"pool of {size}": ExplainPool.start(location, size=size) for size in (1, 2)}
    best: dict[str, float] = {}
    difference = 0.0
    for number in range(turns + 1):  # the first round includes one-time loading and is not counted
        asked = request(100 + number, DEPTH, contexts)
        attributions: dict[str, np.ndarray] = {}
        runs: dict[str, Callable[[], np.ndarray]] = {
            "serial": partial(serial, recognizer, asked),
            **{name: partial(pooled, pool, asked) for name, pool in pools.items()},
        }
        for name, run in runs.items():
            started = time.perf_counter()
            attributions[name] = run()
            if number:
                best[name] = min(time.perf_counter() - started, best.get(name, np.inf))
        difference = max(
            difference,
            *(np.abs(attributions[name] - attributions["serial"]).max() for name in pools),
        )
    for pool in pools.values():
        pool.stop()
    return best, difference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="up to depth 8, contexts absent, about a minute"
    )
    quick = parser.parse_args().quick
    contexts: Contexts = "absent" if quick else "both"
    depths, rounds, turns = (range(4, 9), 2, 5) if quick else (range(4, 11), 3, 8)
    torch.set_num_threads(1)
    ray.init("local", num_cpus=3, include_dashboard=False, logging_level="ERROR")
    connect()
    with tempfile.TemporaryDirectory() as directory:
        model = ModelSettings(image_size=SIZE, width=WIDTH)
        location = save_untrained(Path(directory) / "checkpoint", model)
        recognizer = Recognizer.load(location)
        best, difference = executors(location, recognizer, contexts, turns)
        by_depth = seconds_by_depth(recognizer, depths, contexts, rounds)
    ray.shutdown()
    report(by_depth, best, difference, contexts)


def report(
    by_depth: dict[int, float], best: dict[str, float], difference: float, contexts: Contexts
) -> None:
    regions = {depth: 2**depth for depth in by_depth}
    exponent = float(
        np.polyfit(np.log(list(regions.values())), np.log(list(by_depth.values())), 1)[0]
    )
    print(f"width {WIDTH} at {SIZE}x{SIZE}, contexts {contexts}, one thread per process")
    print(f"{'regions':>10}{'seconds':>10}{'ms/region':>14}")
    for depth, seconds in by_depth.items():
        print(f"{regions[depth]:>10}{seconds:>10.2f}{1e3 * seconds / regions[depth]:>14.2f}")
    print(f"fitted exponent {exponent:.2f}\n\nat depth {DEPTH}, seconds")
    for name, seconds in best.items():
        print(f"{name:<12}{seconds:>8.2f}")
    speedup, overhead = (
        best["pool of 1"] / best["pool of 2"],
        best["pool of 1"] / best["serial"] - 1,
    )
    print(f"two workers over one {speedup:.2f}, pool over serial {overhead:+.1%}")
    record = {
        "exponent": exponent,
        "seconds_by_regions": {str(regions[depth]): by_depth[depth] for depth in by_depth},
        "serial_seconds": best["serial"],
        "pool_1_seconds": best["pool of 1"],
        "pool_2_seconds": best["pool of 2"],
        "pool_speedup": speedup,
        "pool_overhead": overhead,
        "max_abs_difference": difference,
        "contexts": contexts,
        "depth": DEPTH,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
