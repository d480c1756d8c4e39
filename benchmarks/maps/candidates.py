"""The settings that are compared: one choice after the other is varied, the rest kept."""

from __future__ import annotations

from itertools import product
from typing import Any

from ier_ray.explainer_settings import PRESETS, ExplainerSettings

KEPT: dict[str, Any] = {"score": "log_odds", "baseline": "blur", "first_axis": "both"}
"""What is kept while other choices are varied."""
SHARP: dict[str, Any] = {
    **KEPT,
    "depth": 10,
    "contexts": "present",
    "variant": "proportional",
    "tolerance": 0.02,
}


def candidates(*, quick: bool) -> dict[str, ExplainerSettings]:
    """Settings by a name that says what is special about them; the presets at the end."""
    found: dict[str, dict[str, Any]] = {}
    for score, baseline in product(("probability", "log_odds"), ("black", "mean", "blur")):
        found[f"{score}, {baseline}"] = {"score": score, "baseline": baseline}
    found["both axes"] = KEPT
    for contexts in ("absent", "present"):
        found[f"both axes, {contexts}"] = {**KEPT, "contexts": contexts}
    found["both axes, proportional"] = {**KEPT, "contexts": "present", "variant": "proportional"}
    found["x first, 4 trees"] = {**KEPT, "first_axis": "x", "trees": 4}
    found["both axes, 2 x 4 trees"] = {**KEPT, "trees": 4}
    if not quick:
        present = {**KEPT, "contexts": "present"}
        found["present, 2 x 4 trees"] = {**present, "trees": 4}
        found["present, 2 x 4 trees, probability"] = {
            **found["present, 2 x 4 trees"],
            "score": "probability",
        }
        for depth in (5, 8):
            found[f"present, both axes, depth {depth}"] = {**present, "depth": depth}
        found["proportional, 2 x 4 trees"] = {**found["both axes, proportional"], "trees": 4}
        for trees in (1, 4):
            found[f"sharp, 2 x {trees} trees"] = {**SHARP, "trees": trees}
        for depth, budget in ((4, 256), (6, 512)):
            refined = {"first_axis": "x", "depth": depth, "budget": budget}
            found[f"depth {depth} refined, {budget}"] = KEPT | refined
    tried = {name: ExplainerSettings.model_validate(given) for name, given in found.items()}
    presets = {f"preset {name}": settings for name, settings in PRESETS.items()}
    return tried | presets
