"""How close explanations come to exact Shapley values for the evaluations they spend.

Every method explains the same games: a trained network's score of one image, whose regions are
shown or hidden. All coalitions are scored beforehand: one table lookup is one evaluation, and no
method may look up more than its budget. The error is |found - exact| / |exact|, mean over images.
``ours`` chooses all its coalitions; ``ours_refined`` begins with DnCShap's tree and refines its
result; ``dncshap`` is that tree alone.

A second table asks how well each method's values, at four evaluations a region, predict what the
same games score: the area under insertion and deletion curves, infidelity, and how much the values
change under noise in the image (instability), beside values drawn at random and the exact ones.

A third table shows whether explanations of drawn scenes point at the cue that was drawn, with at
most four evaluations per region. ``ours_focused`` is the tree whose credit follows the evidence; it
divides regions further where there is some. White-box methods, which read gradients or activations,
are listed separately.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean as mean

import numpy as np
import torch
from numpy.typing import NDArray
from subjects.digits import digits_network, held_out_digits
from subjects.scenes import Scene, held_out_scenes, scenes_network
from torch import Tensor, nn

from ier_ray.experiments.peers import GAME_PEERS, IMAGE_PEERS, Subject
from ier_ray.experiments.peers.games import METHODS, ImageGame, RegionGame
from ier_ray.explain import AnytimeExplainer, DenseEvaluator, RegionTree
from ier_ray.explain.evaluators import SCORES, logit
from ier_ray.explain.metrics import (
    area_under,
    deletion_curve,
    infidelity,
    insertion_curve,
    instability,
    pointing_game,
    positive_mass_inside,
)
from ier_ray.explain.refinement import region_game
from ier_ray.explain.shapley import Coalitions, Scores, every_coalition
from ier_ray.explain.shapley.exact import shapley_of_all

FACTORS = (2, 4, 6, 8, 16, 32)
"""Budgets, in evaluations per region."""
PLAYED = ("probability", "logit")
LOCALIZED_FACTOR = 4
FOCUSED = AnytimeExplainer(depth=10, contexts="present", variant="proportional", tolerance=0.001)
FAITHFUL_FACTOR, HIDDEN_SETS = 4, 64
"""Budget of the second table in evaluations per region; sets of regions that infidelity hides."""
STABILITY_OF = ("ours", "dncshap", "shap_kernel", "shap_permutation")
WHITE_BOX = ("captum_integrated_gradients", "captum_grad_cam")
Values = NDArray[np.float64]
Errors = dict[str, dict[int, float]]
"""By method and factor."""
Rows = dict[str, dict[str, float]]
"""By method and metric."""


@dataclass
class Games:
    """One class of each of K images: the score of every coalition, of which so many may be seen."""

    tree: RegionTree
    scores: Scores
    budget: int = 0
    looked_up: set[int] = field(default_factory=set)

    def __call__(self, coalitions: Coalitions) -> Scores:
        rows = coalitions @ (1 << np.arange(coalitions.shape[1]))
        self.looked_up.update(rows.tolist())
        if len(self.looked_up) > self.budget:
            raise RuntimeError(f"looked up {len(self.looked_up)} coalitions, not {self.budget}")
        return self.scores[rows]

    def within(self, budget: int) -> Games:
        """The same games, begun anew."""
        return Games(self.tree, self.scores, budget)

    def each(self) -> list[RegionGame]:
        """The game of each image."""
        return [Games(self.tree, column[:, None], self.budget) for column in self.scores.T]


def compared(games: Games) -> Errors:
    """Mean error of each method at each budget that it can work with, below ``2**n``."""
    exact = shapley_of_all(games.scores)
    found: Errors = {name: {} for name in METHODS}
    for factor in FACTORS:
        budget = factor * len(games.tree.leaves)
        if budget >= len(games.scores):
            continue
        for name, method in METHODS.items():
            try:
                values = method(games.within(budget), budget)
            except ValueError:  # the budget is below the method's least
                continue
            error = np.linalg.norm(values - exact, axis=0) / np.linalg.norm(exact, axis=0)
            found[name][factor] = float(error.mean())
    return found


def faithfulness(games: Games) -> Rows:
    """Insertion and deletion area and infidelity of each method, mean over images."""
    regions, images = len(games.tree.leaves), games.scores.shape[1]
    everything = games.within(len(games.scores))
    generator = np.random.default_rng(0)
    hidden = generator.random((HIDDEN_SETS, regions)) < 0.5
    values = {
        "random": generator.normal(size=(regions, images)),
        "exact": shapley_of_all(games.scores),
    }
    for name, method in METHODS.items():
        with suppress(ValueError):  # the budget is below the method's least
            budget = FAITHFUL_FACTOR * regions
            values[name] = method(games.within(budget), budget)
    return {
        name: {
            "insertion": mean(
                area_under(insertion_curve(everything, found[:, image], image))
                for image in range(images)
            ),
            "deletion": mean(
                area_under(deletion_curve(everything, found[:, image], image))
                for image in range(images)
            ),
            "infidelity": mean(
                infidelity(everything, found[:, image], hidden, image) for image in range(images)
            ),
        }
        for name, found in values.items()
    }


def instabilities(
    network: nn.Module, images: Sequence[tuple[Tensor, Tensor]], tree: RegionTree
) -> dict[str, float]:
    """Largest relative change of each method's values under noise, mean over images."""
    budget = FAITHFUL_FACTOR * len(tree.leaves)
    found: dict[str, float] = {}
    for name in STABILITY_OF:
        changes = []
        for image, baseline in images:
            target = int(network(image[None]).argmax())

            def values(noisy: Tensor, *, name: str, baseline: Tensor, target: int) -> Values:
                play = region_game(DenseEvaluator(network, noisy, baseline, batch_size=128), tree)
                return METHODS[name](ImageGame(tree, play, target), budget)

            changes.append(
                instability(
                    partial(values, name=name, baseline=baseline, target=target),
                    image,
                    radius=0.05,
                    samples=3,
                    generator=torch.Generator().manual_seed(0),
                )
            )
        found[name] = mean(changes)
    return found


def all_games(
    network: nn.Module, images: Sequence[tuple[Tensor, Tensor]], tree: RegionTree
) -> dict[str, Games]:
    """The predicted class of images, by score; the network sees each coalition once."""
    columns: dict[str, list[Values]] = {score: [] for score in PLAYED}
    for image, baseline in images:
        evaluator = DenseEvaluator(network, image, baseline, score=logit, batch_size=128)
        logits = region_game(evaluator, tree)(every_coalition(len(tree.leaves)))
        target = logits[-1].argmax()
        for score, column in columns.items():
            column.append(SCORES[score](torch.from_numpy(logits)).numpy()[:, target])
    return {score: Games(tree, np.stack(column, axis=1)) for score, column in columns.items()}


def localized(
    network: nn.Module, scenes: Sequence[Scene], tree: RegionTree
) -> dict[str, tuple[float, float]]:
    """Mass inside the cue mask and pointing game of each method, mean over scenes."""
    regions = len(tree.leaves)
    budget = LOCALIZED_FACTOR * regions
    top, bottom, left, right = tree.rectangles[tree.leaves[0]].tolist()
    trunk = network.get_submodule("features").modules()
    last_convolution = [module for module in trunk if isinstance(module, nn.Conv2d)][-1]
    found: dict[str, list[tuple[float, float]]] = {}
    focus = replace(FOCUSED, budget=budget)
    for scene in scenes:
        evaluator = DenseEvaluator(network, scene.image, scene.baseline, batch_size=64)
        play = region_game(evaluator, tree)
        target = int(play(np.ones((1, regions), dtype=bool))[0].argmax())
        game = ImageGame(tree, play, target)
        maps = {
            name: tree.paint(tree.leaves, method(game, budget)[:, 0])  # leaves of one size
            for name, method in METHODS.items()
        }
        subject = Subject(
            network,
            scene.image,
            scene.baseline,
            target,
            last_convolution,
            window=(bottom - top, right - left),
        )
        focused = focus.explain(evaluator)
        maps["ours_focused"] = focused.density_map(target)
        for name, method in IMAGE_PEERS.items():
            maps[name] = method(subject, budget=budget)
        for name, density in maps.items():
            inside = positive_mass_inside(density, scene.cue_mask)
            found.setdefault(name, []).append((inside, pointing_game(density, scene.cue_mask)))
    return {name: tuple(np.mean(rows, axis=0).tolist()) for name, rows in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="less training, fewer images, scenes of 8 regions"
    )
    quick = parser.parse_args().quick
    warnings.filterwarnings("ignore")
    digits, digits_accuracy = digits_network()
    network, accuracy = scenes_network(drawings=800 if quick else 3000, epochs=4 if quick else 10)
    print(f"held-out accuracy: digits {digits_accuracy:.3f}, scenes {accuracy:.3f}")
    scenes = held_out_scenes(4 if quick else 32)
    played = [(scene.image, scene.baseline) for scene in scenes[: 4 if quick else 8]]
    games = {
        "digits": all_games(
            digits, held_out_digits(4 if quick else 24), RegionTree.halving(8, 8, depth=4)
        ),
        "scenes": all_games(network, played, RegionTree.halving(64, 64, depth=3 if quick else 4)),
    }
    errors: dict[str, Errors] = {}
    faithful: dict[str, Rows] = {}
    for subject, by_score in games.items():
        for score, each in by_score.items():
            errors[f"{subject}_{score}"] = compared(each)
            count, regions = each.scores.shape[1], len(each.tree.leaves)
            title = f"{subject}, {score}, {count} images, {regions} regions"
            report(title, errors[f"{subject}_{score}"])
            faithful[f"{subject}_{score}"] = faithfulness(each)
            report_faithfulness(title, faithful[f"{subject}_{score}"])
    stable = instabilities(
        digits, held_out_digits(2 if quick else 8), games["digits"]["logit"].tree
    )
    print("\ninstability, digits: " + ", ".join(f"{n} {v:.3f}" for n, v in stable.items()))
    located = localized(network, scenes, RegionTree.halving(64, 64, depth=4 if quick else 6))
    report_localization(located)
    print(json.dumps(summary(errors, located) | {"faithfulness": faithful, "instability": stable}))


def report(title: str, errors: Errors) -> None:
    print(f"\n{title}: error at so many evaluations")
    print(f"{'':26}" + "".join(f"{f'{factor}n':>9}" for factor in FACTORS))
    for name, row in errors.items():
        cells = (f"{row[factor]:9.3f}" if factor in row else f"{'-':>9}" for factor in FACTORS)
        print(f"{name:26}" + "".join(cells))


def report_faithfulness(title: str, rows: Rows) -> None:
    print(f"\n{title}: faithfulness at {FAITHFUL_FACTOR}n evaluations")
    print(f"{'':26}" + "".join(f"{name:>12}" for name in rows["exact"]))
    for name, row in rows.items():
        print(f"{name:26}" + "".join(f"{value:12.4f}" for value in row.values()))


def report_localization(located: dict[str, tuple[float, float]]) -> None:
    print(f"\n{f'cue, {LOCALIZED_FACTOR}n evaluations':26}{'mass inside':>13}{'pointing':>13}")
    ranked = sorted(located.items(), key=lambda item: -item[1][0])
    for names in (set(located) - set(WHITE_BOX), WHITE_BOX):
        for name, (mass, pointing) in ranked:
            if name in names:
                print(f"{name:26}{mass:13.3f}{pointing:13.3f}")
        print()


def summary(
    errors: dict[str, Errors], located: dict[str, tuple[float, float]]
) -> dict[str, object]:
    """Mean error of each method and budget over the games; how ours compares with the best peer."""
    keys: dict[str, object] = {}
    for name in METHODS:
        for factor in FACTORS:
            rows = [by[name][factor] for by in errors.values() if factor in by[name]]
            if rows:
                keys[f"{name}_{factor}n"] = round(float(np.mean(rows)), 4)
    worst: dict[int, float] = {}
    for factor in FACTORS:
        rows = [ratio(by, factor) for by in errors.values() if factor in by["ours"]]
        worst[factor] = keys[f"ratio_{factor}n"] = round(max(rows), 4)
    keys["worst_ratio_to_best_peer"] = max(ratio for factor, ratio in worst.items() if factor >= 4)
    keys["mass_inside"] = {name: round(row[0], 4) for name, row in located.items()}
    keys["pointing"] = {name: round(row[1], 4) for name, row in located.items()}
    return keys


def ratio(errors: Errors, factor: int) -> float:
    best = min(errors[name][factor] for name in GAME_PEERS if factor in errors[name])
    return errors["ours"][factor] / best


if __name__ == "__main__":
    main()
