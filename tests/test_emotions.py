from __future__ import annotations

import pytest

from ier_ray.emotions import FOUR, SEVEN, EmotionScheme, scheme_named
from ier_ray.errors import SettingsError


@pytest.mark.parametrize(
    ("source", "four", "seven"),
    [
        ("Contentment", "happy", None),
        ("amusement", "happy", None),
        ("disgust", "hate", "disgust"),
        ("Sadness", "sad", "sad"),
        (" angry ", "anger", "anger"),
        ("fear", None, "fear"),
        ("surprise", None, "surprise"),
        ("neutral", None, "neutral"),
        ("awe", None, None),
        ("contempt", None, None),
    ],
)
def test_source_labels_map_as_in_the_paper(
    source: str, four: str | None, seven: str | None
) -> None:
    assert FOUR.class_of(source) == four
    assert SEVEN.class_of(source) == seven


def test_class_order_is_fixed() -> None:
    assert FOUR.classes == ("happy", "sad", "hate", "anger")
    assert FOUR.index("hate") == 2
    assert len(SEVEN.classes) == 7


def test_bad_schemes_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"'awe' maps to 'wonder'"):
        EmotionScheme("mine", ("a", "b"), (("awe", "wonder"),))
    with pytest.raises(SettingsError, match="two or more different names"):
        EmotionScheme("mine", ("a", "a"))
    with pytest.raises(SettingsError, match=r"unknown label scheme 'nine'.*'four', 'seven'"):
        scheme_named("nine")
