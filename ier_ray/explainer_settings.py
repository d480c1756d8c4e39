"""Settings of explanations, and the presets of those that go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from ier_ray.config import Seed, Settings
from ier_ray.explain.anytime import AnytimeExplainer, FirstAxis
from ier_ray.explain.baselines import Baseline
from ier_ray.explain.dncshap import Contexts, Variant

Score = Literal["probability", "logit", "log_odds"]
Precision = Literal["float32", "bfloat16"]
Preset = Literal["paper", "shapley", "sharp", "quick"]


class ExplainerSettings(Settings):
    """Settings of an explanation."""

    preset: Preset | None = None
    """Settings that go together: paper (Algorithms 1 and 2 as printed), shapley (closest to exact
    Shapley values, of 16 regions), sharp (mean of several trees, whose maps show best what the
    score depends on), or quick (the same in an eighth of the work). Settings given beside it
    override it; without it each has the default below."""
    depth: int = Field(6, ge=0, le=14)
    """Halvings of the image: up to 2^depth regions."""
    contexts: Contexts = "both"
    """What else shows when halves are compared: absent (nothing: the paper), present
    (everything), or both (the mean of the two)."""
    score: Score = "probability"
    """What is explained: the class's probability (the paper), its logit, or its log-odds."""
    baseline: Baseline = "black"
    """What hidden pixels show: black (the paper), zero (0 after normalization), mean (color), blur,
    inpaint (filled in from the image's border), or a #rrggbb color."""
    variant: Variant = "normalized"
    """How credit is divided: normalized (towards Shapley values), proportional (sharp maps, best
    with contexts present), or paper (as printed, contexts absent)."""
    tolerance: float = Field(0.0, ge=0)
    """Regions with a credit of at most this, in units of the score, are not divided further."""
    budget: int | None = Field(None, ge=2, le=8192)
    """Largest number of masked images scored. With fewer than the tree needs, the regions with the
    largest credits are divided first. With more, the rest refines the Shapley values (variant
    normalized, contexts both) and gives each leaf a standard deviation."""
    first_axis: FirstAxis = "x"
    """Axis of the first halving: x, y, or both (the mean of two trees that share the budget)."""
    trees: int = Field(1, ge=1, le=64)
    """Region trees of each first axis whose credits are averaged; they share the budget. The first
    is cut in the middles, the others near them. The grid of cuts fades, and the credit of each
    pixel gets its standard deviation over the trees."""
    jitter: float = Field(0.5, gt=0, le=1)
    """With several trees, how far cuts are moved: at most this share of half a region's side."""
    seed: Seed = 0
    """Seed of the cuts that are moved, and of the masked images that refine."""
    precision: Precision = "float32"
    """Number format of the network; bfloat16 is about twice as fast where the hardware supports it,
    and the result says how large its error is."""

    @model_validator(mode="after")
    def _fill_in_preset(self) -> ExplainerSettings:
        if self.preset is not None:
            for name in PRESET_FIELDS - self.model_fields_set:  # they stay unset: not given
                self.__dict__[name] = getattr(PRESETS[self.preset], name)
        return self

    @model_validator(mode="after")
    def _check_combination(self) -> ExplainerSettings:
        self.explainer()
        return self

    def explainer(self, target: int | None = None) -> AnytimeExplainer:
        """The algorithm with these settings.

        Args:
            target: class whose credits decide which regions are divided; by default the predicted
                one.
        """
        return AnytimeExplainer(
            depth=self.depth,
            contexts=self.contexts,
            variant=self.variant,
            tolerance=self.tolerance,
            budget=self.budget,
            target=target,
            first_axis=self.first_axis,
            trees=self.trees,
            jitter=self.jitter,
            seed=self.seed,
        )

    def in_words(self) -> str:
        """The settings that decide what a map shows, in one line."""
        if self.first_axis == "both":
            trees = (
                f"{2 * self.trees} trees of depth {self.depth}, half of them divided along x first"
            )
        else:
            trees = f"{self.trees} trees" if self.trees > 1 else "one tree"
            trees += f" of depth {self.depth}, divided along {self.first_axis} first"
        limits = "" if self.budget is None else f", at most {self.budget} masked pictures"
        limits += f", tolerance {self.tolerance:g}" if self.tolerance else ""
        return (
            f"{'' if self.preset is None else f'preset {self.preset}: '}"
            f"{self.score.replace('_', '-')}, {self.baseline} baseline, contexts {self.contexts}, "
            f"credit {self.variant}, {trees}{limits}"
        )

    def over(self, configured: ExplainerSettings) -> ExplainerSettings:
        """These settings where they are given, else the configured ones.

        A preset that is given sets everything: of the configured settings only the precision and
        the seed remain.

        Raises:
            pydantic.ValidationError: when the combined settings are invalid.
        """
        names = self.model_fields_set & set(ExplainerSettings.model_fields)
        below = configured.model_dump(exclude_unset=True)
        if "preset" in names:
            below = {name: value for name, value in below.items() if name not in PRESET_FIELDS}
        return ExplainerSettings.model_validate(below | self.model_dump(include=names))


PRESETS: Mapping[Preset, ExplainerSettings] = {
    "paper": ExplainerSettings(variant="paper", contexts="absent"),
    "shapley": ExplainerSettings(depth=4, budget=256, score="log_odds", baseline="blur"),
    "sharp": ExplainerSettings(
        contexts="present", first_axis="both", trees=4, score="log_odds", baseline="blur"
    ),
    "quick": ExplainerSettings(
        depth=5, contexts="present", first_axis="both", score="log_odds", baseline="blur"
    ),
}
"""What each preset sets, chosen by the measurements in docs/explain.md."""
PRESET_FIELDS = frozenset(ExplainerSettings.model_fields) - {"preset", "seed", "precision"}
"""The settings that a preset sets: all that say what is explained and how."""
DEFAULT_PRESET: Preset = "sharp"
"""The preset of the explain job where none is given."""
