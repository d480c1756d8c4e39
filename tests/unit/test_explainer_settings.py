"""Settings of explanations: presets, what overrides them, and what does not go together."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from ier_ray.config import parse_settings
from ier_ray.errors import SettingsError
from ier_ray.explainer_settings import (
    DEFAULT_PRESET,
    PRESET_FIELDS,
    PRESETS,
    ExplainerSettings,
    Preset,
)
from ier_ray.serve.schemas import AppArgs, ExplainParameters


@pytest.mark.parametrize("name", get_args(Preset))
def test_a_preset_sets_everything(name: Preset) -> None:
    found = ExplainerSettings(preset=name)
    for setting in PRESET_FIELDS:
        assert getattr(found, setting) == getattr(PRESETS[name], setting)
    assert set(ExplainerSettings.model_fields) - {"preset", "seed", "precision"} == PRESET_FIELDS
    assert found.model_dump(exclude_unset=True) == {"preset": name}
    assert ExplainerSettings.model_validate(found.model_dump()) == found


def test_the_papers_preset_is_the_papers() -> None:
    found = ExplainerSettings(preset="paper")
    assert (found.variant, found.contexts, found.score) == ("paper", "absent", "probability")
    assert (found.baseline, found.first_axis, found.trees) == ("black", "x", 1)
    assert (found.budget, found.tolerance) == (None, 0)


def test_without_a_preset_there_is_none() -> None:
    found = ExplainerSettings()
    assert (found.preset, found.depth, found.score, found.trees) == (None, 6, "probability", 1)


def test_what_is_given_beside_a_preset_overrides_it() -> None:
    found = ExplainerSettings(preset="shapley", depth=3, baseline="#102030")
    assert (found.depth, found.baseline) == (3, "#102030")
    assert found.score == PRESETS["shapley"].score
    explainer = found.explainer(target=1)
    assert (explainer.depth, explainer.trees) == (3, PRESETS["shapley"].trees)


def test_a_service_s_preset_is_replaced_by_the_querys() -> None:
    configured = ExplainerSettings(preset="shapley", depth=4, seed=7)
    over = ExplainParameters.model_validate({"target": "sad"}).over(configured)
    assert over == configured
    over = ExplainParameters.model_validate({"contexts": "present"}).over(configured)
    assert (over.depth, over.contexts, over.seed) == (4, "present", 7)
    over = ExplainParameters.model_validate({"preset": "paper", "baseline": "mean"}).over(
        configured
    )
    assert over == ExplainerSettings(preset="paper", baseline="mean", seed=7)
    assert over.depth == PRESETS["paper"].depth


def test_a_query_is_checked_together_with_the_service_s_settings() -> None:
    absent = ExplainerSettings(contexts="absent")
    query = ExplainParameters.model_validate({"variant": "paper"})
    assert query.over(absent).variant == "paper"
    with pytest.raises(ValidationError, match="variant paper is defined for contexts absent"):
        query.over(ExplainerSettings())


def test_quick_is_the_jobs_preset_with_fewer_evaluations() -> None:
    job, quick = PRESETS[DEFAULT_PRESET], PRESETS["quick"]
    fewer = {"trees": quick.trees, "depth": quick.depth}
    assert job.model_copy(update=fewer) == quick
    assert quick.trees < job.trees


def test_the_service_begins_with_one_tree_whose_levels_are_final() -> None:
    assert AppArgs(checkpoint="x").explainer == ExplainerSettings()
    assert ExplainerSettings().trees == 1


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"preset": "best"}, "preset must be 'paper', 'shapley', 'sharp' or 'quick', got 'best'"),
        ({"preset": "paper", "trees": "4"}, "variant paper is defined for trees 1, got 4"),
        ({"preset": "paper", "contexts": "both"}, "variant paper is defined for contexts absent"),
        ({"trees": "0"}, "trees must be >= 1, got 0"),
        ({"trees": "65"}, "trees must be <= 64, got 65"),
        ({"jitter": "0"}, "jitter must be > 0, got 0"),
        ({"jitter": "1.5"}, "jitter must be <= 1, got 1.5"),
        ({"seed": "-1"}, "seed must be >= 0, got -1"),
        ({"trees": "4", "budget": "6"}, "budget must be >= 8 with first_axis x and trees 4, got 6"),
    ],
)
def test_bad_settings_are_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse_settings(ExplainerSettings, given, source="file")
    assert told in str(refused.value)


@pytest.mark.parametrize("name", get_args(Preset))
def test_settings_in_words(name: Preset) -> None:
    said = ExplainerSettings(preset=name).in_words()
    assert said.startswith(f"preset {name}: ")
    assert f"{PRESETS[name].baseline} baseline" in said
    limited = ExplainerSettings(first_axis="both", trees=3, budget=99, tolerance=0.1).in_words()
    assert limited.endswith(
        "6 trees of depth 6, half of them divided along x first, at most 99 masked pictures, "
        "tolerance 0.1"
    )
    assert "one tree of depth 6, divided along x first" in ExplainerSettings().in_words()
