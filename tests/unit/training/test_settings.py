"""Settings that depend on each other."""

from __future__ import annotations

import pytest

from ier_ray.config import parse_settings
from ier_ray.errors import SettingsError
from ier_ray.training.settings import TrainSettings


def test_captions_are_not_augmented() -> None:
    values = {
        "data": {"fer": "a", "ier": "b", "augment": {"flip": 0.5}},
        "model": {"architecture": "caption_bert"},
    }
    with pytest.raises(SettingsError, match=r"data\.augment \(flip=0\.5 .*reads captions: leave"):
        parse_settings(TrainSettings, values, source="x")
