"""Label schemes: the built-in ones by name, a user's own from a YAML file."""

from __future__ import annotations

from pydantic import Field

from ier_ray.config import Settings, parse_settings, read_settings_file
from ier_ray.emotions import EmotionScheme, scheme_named


class SchemeFile(Settings):
    """A scheme as written down."""

    name: str
    """What shards and checkpoints call it."""
    classes: list[str]
    """Classes, in the network's order."""
    merges: dict[str, str] = Field(default_factory=dict)
    """Which class a dataset's own label counts as; labels in neither are dropped."""


def open_scheme(source: str) -> EmotionScheme:
    """A scheme by its name, or from a ``.yaml`` file.

    Raises:
        SettingsError: naming what is unknown or does not fit together.
    """
    if not source.endswith((".yaml", ".yml")):
        return scheme_named(source)
    written = parse_settings(SchemeFile, read_settings_file(source), source=source)
    merges = tuple((label.lower(), target) for label, target in written.merges.items())
    return EmotionScheme(written.name, tuple(written.classes), merges)
