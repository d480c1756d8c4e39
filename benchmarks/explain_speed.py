"""One DnCShap explanation: incremental inference beside dense batches, shap and captum.

The paper's network at 224 pixels (a quarter of its width with --quick), random weights, one image.
Every contender scores masked versions of that image with that network, in its own best batch size.
Ours scores a whole tree, background activations included; the copy of the first dense layer, made
once per network, is included in the time of the first run only. The others' cost is proportional to
their evaluations: each is timed on fewer, and the time is scaled to the tree's number. Contenders
take turns, and the best round of each counts: other programs on the machine can only slow it down.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import shap
import torch
from captum.attr import FeatureAblation, KernelShap, ShapleyValueSampling
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ier_ray.experiments.peers.perturbation import balanced_clustering
from ier_ray.explain import (
    Contexts,
    DenseEvaluator,
    ExactInference,
    Explanation,
    RegionTree,
    explain,
)
from ier_ray.explain.dncshap import Plan
from ier_ray.explain.refinement import region_map
from ier_ray.models.emotion_net import EmotionNet

SIZE, DEPTH, CLASSES, TARGET = 224, 8, 4, 1
PEER_DEPTH = 5
"""Regions of the peers' timed runs: an evaluation costs the same whatever its regions are."""
BATCH_SIZES, QUICK_BATCH_SIZES = (1, 2, 4, 8, 16, 32), (2, 8, 32)
TRIES = 2
EVALUATIONS = 32
"""Evaluations of each peer in each round."""
CONTEXTS: tuple[Contexts, ...] = ("absent", "both")
MIB = 2**20


@dataclass
class Subject:
    """A network and an image; counts the masked images it scores."""

    network: nn.Module
    image: Tensor
    baseline: Tensor
    inference: ExactInference
    rounded: ExactInference
    """The same network in bfloat16."""
    evaluations: int = 0

    @torch.inference_mode()
    def score(self, images: Tensor) -> Tensor:
        """Probability of the explained class, ``(M,)``."""
        self.evaluations += len(images)
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits.softmax(1)[:, TARGET]

    def seconds_each(self, run: Callable[[], object]) -> float:
        """Seconds of a run over the masked images it scored."""
        self.evaluations = 0
        seconds = timed(run)
        return seconds / self.evaluations


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def subject(width: float) -> Subject:
    torch.manual_seed(0)
    network = EmotionNet(num_classes=CLASSES, width=width, image_size=SIZE).eval()
    last = network.classifier[-1]
    coarse = torch.rand(1, 3, 14, 14)
    image = nn.functional.interpolate(coarse, SIZE, mode="bicubic")[0]
    image = (image - image.mean()) / image.std()
    baseline = torch.full_like(image, float(image.min()))
    with torch.no_grad():  # logits about one apart: probabilities neither 0 nor 1
        last.weight /= network(image[None]).std()
    network = network.to(memory_format=torch.channels_last)
    rounded = copy.deepcopy(network).bfloat16()
    return Subject(network, image, baseline, ExactInference.of(network), ExactInference.of(rounded))


def dense_run(case: Subject, plan: Plan, batch_size: int) -> Callable[[], object]:
    dense = DenseEvaluator(case.network, case.image, case.baseline, batch_size=batch_size)

    def run() -> None:
        dense(plan.masking[sample(plan)])
        case.evaluations += EVALUATIONS

    return run


def sample(plan: Plan) -> np.ndarray:
    """Rows that stand for a plan."""
    return np.random.default_rng(0).permutation(len(plan))[:EVALUATIONS]


def shap_run(case: Subject, batch_size: int) -> Callable[[], object]:
    """shap's PartitionExplainer on a balanced tree of the same regions, nothing else shown.

    Given a function of the regions that are shown, so that no time goes into its image masker.
    """
    tree = RegionTree.halving(SIZE, SIZE, depth=PEER_DEPTH)
    count = len(tree.leaves)
    regions = region_map(tree)

    def score(shown: np.ndarray) -> np.ndarray:
        mask = torch.from_numpy(shown.astype(bool)[:, regions])[:, None]
        return case.score(torch.where(mask, case.image, case.baseline)).numpy()

    masker = shap.maskers.Partition(
        np.zeros((1, count)), max_samples=1, clustering=balanced_clustering(count)
    )
    explainer = shap.explainers.Partition(score, masker)
    return lambda: explainer(
        np.ones((1, count)),
        fixed_context=0,
        max_evals=EVALUATIONS,
        batch_size=batch_size,
        silent=True,
    )


def captum_runs(case: Subject, batch_size: int) -> dict[str, Callable[[], object]]:
    """captum's perturbation methods over the same regions."""
    tree = RegionTree.halving(SIZE, SIZE, depth=PEER_DEPTH)
    options = {
        "inputs": case.image[None],
        "baselines": case.baseline[None],
        "feature_mask": torch.from_numpy(region_map(tree))[None, None],
        "perturbations_per_eval": batch_size,
    }
    return {
        "captum FeatureAblation": lambda: FeatureAblation(case.score).attribute(**options),
        "captum ShapleyValueSampling": lambda: ShapleyValueSampling(case.score).attribute(
            **options, n_samples=1
        ),
        "captum KernelShap": lambda: KernelShap(case.score).attribute(
            **options, n_samples=EVALUATIONS
        ),
    }


@dataclass
class Timings:
    """Seconds of each round: an evaluation of the peers, a whole explanation of ours."""

    peers: dict[str, list[float]] = field(default_factory=dict)
    ours: dict[Contexts, list[float]] = field(default_factory=dict)

    def best(self, name: str) -> float:
        """Seconds per evaluation of the fastest contender whose name begins with ``name``."""
        return min(min(each) for key, each in self.peers.items() if key.startswith(name))


def fastest_batch(
    case: Subject, sizes: Sequence[int], build: Callable[[int], Callable[[], object]]
) -> int:
    """The batch size with the fewest seconds per evaluation, the best of two tries each."""
    seconds = {size: min(case.seconds_each(build(size)) for _ in range(TRIES)) for size in sizes}
    return min(seconds, key=seconds.__getitem__)


def measure(case: Subject, plan: Plan, *, sizes: Sequence[int], rounds: int) -> Timings:
    dense = fastest_batch(case, sizes, lambda size: dense_run(case, plan, size))
    partition = fastest_batch(case, sizes, lambda size: shap_run(case, size))
    captum = fastest_batch(
        case, sizes, lambda size: captum_runs(case, size)["captum FeatureAblation"]
    )
    print(f"best batch sizes: dense {dense}, shap {partition}, captum {captum}")
    contenders = {
        "dense": dense_run(case, plan, dense),
        "shap Partition": shap_run(case, partition),
        **captum_runs(case, captum),
    }
    timings = Timings()
    for _ in range(rounds):
        for contexts in CONTEXTS:
            seconds = timed(partial(ours, case, plan.tree, contexts))
            timings.ours.setdefault(contexts, []).append(seconds)
        for name, run in contenders.items():
            timings.peers.setdefault(name, []).append(case.seconds_each(run))
    return timings


def ours(case: Subject, tree: RegionTree, contexts: Contexts) -> Explanation:
    return explain(case.inference.evaluator(case.image, case.baseline), tree, contexts=contexts)


def ours_rounded(case: Subject, tree: RegionTree, contexts: Contexts) -> Explanation:
    image, baseline = case.image.bfloat16(), case.baseline.bfloat16()
    return explain(case.rounded.evaluator(image, baseline), tree, contexts=contexts)


def in_bfloat16(case: Subject, tree: RegionTree, contexts: Contexts) -> dict[str, float]:
    """Its best time of two, and the largest difference of a leaf over the largest leaf."""
    exact = ours(case, tree, contexts).leaf_values(TARGET)
    rounded = ours_rounded(case, tree, contexts).leaf_values(TARGET)
    return {
        "bfloat16_seconds": min(
            timed(lambda: ours_rounded(case, tree, contexts)) for _ in range(TRIES)
        ),
        "bfloat16_error": float(np.abs(rounded - exact).max() / np.abs(exact).max()),
    }


@dataclass(frozen=True)
class Inspection:
    """Measurements of one run of ours, the first in this process."""

    mac_ratio: float
    """Multiply-accumulates of dense inference over those executed."""
    max_abs_difference: float
    """Between probabilities of dense and incremental inference, over a sample of the rows."""
    peak_memory_mib: float
    seconds: float


def inspect(case: Subject, plan: Plan) -> Inspection:
    rows, found = sample(plan), np.empty(0)
    dense, incremental = FlopCounterMode(display=False), FlopCounterMode(display=False)

    def run() -> None:
        nonlocal found
        found = case.inference.evaluator(case.image, case.baseline)(plan.masking)

    with incremental:
        started = time.perf_counter()
        memory = peak_memory_mib(run)
        seconds = time.perf_counter() - started
    with dense:
        expected = DenseEvaluator(case.network, case.image, case.baseline)(plan.masking[rows])
    per_image = dense.get_total_flops() / len(rows)
    return Inspection(
        mac_ratio=per_image * len(plan) / incremental.get_total_flops(),
        max_abs_difference=float(np.abs(found[rows] - expected).max()),
        peak_memory_mib=memory,
        seconds=seconds,
    )


def peak_memory_mib(run: Callable[[], object]) -> float:
    """Largest resident memory of this process during a run, beyond that at its start."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = resident_mib("VmRSS")
    run()
    return resident_mib("VmHWM") - before


def resident_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a quarter of the width, fewer batch sizes, under 50 s"
    )
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore", module="captum|shap")
    case = subject(0.25 if quick else 1.0)
    tree = RegionTree.halving(SIZE, SIZE, depth=DEPTH)
    plans = {contexts: Plan.of(tree, contexts) for contexts in CONTEXTS}
    seen = {contexts: inspect(case, plan) for contexts, plan in plans.items()}
    sizes = QUICK_BATCH_SIZES if quick else BATCH_SIZES
    timings = measure(case, plans["both"], sizes=sizes, rounds=4 if quick else 3)
    records = {
        contexts: {
            **record(plan, timings, contexts, seen[contexts]),
            **({} if quick else in_bfloat16(case, tree, contexts)),
        }
        for contexts, plan in plans.items()
    }
    report(case, timings, records)


def record(
    plan: Plan, timings: Timings, contexts: Contexts, seen: Inspection
) -> dict[str, float | str]:
    count, seconds = len(plan), min(timings.ours[contexts])
    each = {name: timings.best(name) for name in ("dense", "shap", "captum")}
    return {
        "depth": DEPTH,
        "regions": len(plan.tree.leaves),
        "evaluations": count,
        "dense_seconds": each["dense"] * count,
        "incremental_seconds": seconds,
        "speedup": each["dense"] * count / seconds,
        "mac_ratio": seen.mac_ratio,
        "max_abs_difference": seen.max_abs_difference,
        "shap_seconds": each["shap"] * count,
        "speedup_vs_shap": each["shap"] * count / seconds,
        "captum_seconds": each["captum"] * count,
        "speedup_vs_captum": each["captum"] * count / seconds,
        "peak_memory_mib": seen.peak_memory_mib,
        "first_seconds": seen.seconds,
    }


def report(
    case: Subject, timings: Timings, records: dict[Contexts, dict[str, float | str]]
) -> None:
    weights = sum(weight.numel() for weight in case.network.parameters())
    print(
        f"network of {weights / 1e6:.0f} M weights at {SIZE}x{SIZE}, depth {DEPTH}, "
        f"{torch.get_num_threads()} threads; peers timed on {EVALUATIONS} evaluations per round"
    )
    line("seconds per explanation", list(records))
    counts = [float(each["evaluations"]) for each in records.values()]
    line("evaluations", [f"{count:.0f}" for count in counts])
    for name, seconds in timings.peers.items():
        line(name, [f"{min(seconds) * count:.2f}" for count in counts])
    for key, title in {
        "incremental_seconds": "ours, incremental",
        "first_seconds": "ours, first in the process",
        "bfloat16_seconds": "ours, bfloat16",
    }.items():
        if key in records["both"]:
            line(title, [f"{each[key]:.2f}" for each in records.values()])
    if "bfloat16_error" in records["both"]:
        errors = [f"{each['bfloat16_error']:.1%}" for each in records.values()]
        line("bfloat16, largest error", errors)
    for key in ("speedup", "speedup_vs_shap", "speedup_vs_captum", "mac_ratio"):
        line(key, [f"{each[key]:.2f}" for each in records.values()])
    print(json.dumps({**records["both"], "absent": records["absent"]}))


def line(title: str, cells: Sequence[str]) -> None:
    print(f"{title:<30}" + "".join(f"{cell:>12}" for cell in cells))


if __name__ == "__main__":
    main()
