"""Opening label schemes: a built-in one by name, a user's own from a YAML file."""

from __future__ import annotations

from pydantic import Field

from ier_ray.config import Settings, parse_settings, read_settings_file
from ier_ray.emotions import EmotionScheme, scheme_named


class SchemeFile(Settings):
    """Content of a scheme's YAML file."""

    name: str
    """Name of the scheme in shards and checkpoints."""
    classes: list[str]
    """Classes, in the network's order."""
    merges: dict[str, str] = Field(default_factory=dict)
    """Class of each source label that is no class itself; samples of other labels are dropped."""


def open_scheme(source: str) -> EmotionScheme:
    """Open a scheme by its name, or from a ``.yaml`` file.

    Raises:
        SettingsError: for an unknown name, or a file that is unreadable or inconsistent.
    """
    if not source.endswith((".yaml", ".yml")):
        return scheme_named(source)
    written = parse_settings(
        SchemeFile, read_settings_file(source, setting="scheme"), source=source
    )
    return EmotionScheme(written.name, tuple(written.classes), tuple(written.merges.items()))
