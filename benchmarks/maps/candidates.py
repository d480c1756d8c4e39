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
        found["2 x 4 trees, mean"] = {**KEPT, "trees": 4, "baseline": "mean"}
        for depth in (5, 8):
            found[f"both axes, depth {depth}"] = {**KEPT, "depth": depth}
        found["2 x 4 trees, present"] = {**KEPT, "trees": 4, "contexts": "present"}
        found["2 x 4 trees, proportional"] = {**found["both axes, proportional"], "trees": 4}
        for trees in (1, 4):
            found[f"sharp, 2 x {trees} trees"] = {**SHARP, "trees": trees}
        found["depth 4 refined, 256"] = {
            **KEPT,
            "first_axis": "x",
            "depth": 4,
            "budget": 256,
        }
    tried = {name: ExplainerSettings.model_validate(given) for name, given in found.items()}
    presets = {f"preset {name}": settings for name, settings in PRESETS.items()}
    return tried | presets
