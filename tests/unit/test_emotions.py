from __future__ import annotations

from pathlib import Path

import pytest

from ier_ray.data.scheme_files import open_scheme
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


@pytest.mark.parametrize(
    ("source", "mikels", "polarity"),
    [
        *((name, name, "positive") for name in ("amusement", "awe", "contentment", "excitement")),
        *((name, name, "negative") for name in ("anger", "disgust", "fear", "sadness")),
        ("Sad", "sadness", "negative"),
        ("angry", "anger", "negative"),
        ("happy", None, "positive"),
        ("happiness", None, "positive"),
        ("contempt", None, "negative"),
        ("hate", "disgust", "negative"),
        ("neutral", None, None),
        ("surprise", None, None),
        ("none", None, None),
    ],
)
def test_mikels_emotions_and_their_polarity(
    source: str, mikels: str | None, polarity: str | None
) -> None:
    assert scheme_named("mikels8").class_of(source) == mikels
    assert scheme_named("polarity").class_of(source) == polarity


def test_class_order_is_fixed() -> None:
    assert FOUR.classes == ("happy", "sad", "hate", "anger")
    assert FOUR.index("hate") == 2
    assert len(SEVEN.classes) == 7


def test_bad_schemes_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"'awe' maps to 'wonder'"):
        EmotionScheme("mine", ("a", "b"), (("awe", "wonder"),))
    with pytest.raises(SettingsError, match="two or more different names"):
        EmotionScheme("mine", ("a", "a"))
    with pytest.raises(
        SettingsError,
        match=r"scheme: unknown name 'nine'.*'four', 'mikels8', 'polarity', 'seven'.*\.yaml",
    ):
        scheme_named("nine")


def test_a_scheme_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nclasses: [calm, tense]\nmerges: {Awe: calm, fear: tense}\n")
    scheme = open_scheme(str(file))
    assert (scheme.name, scheme.classes) == ("mine", ("calm", "tense"))
    labels = ("awe", "FEAR", "Calm", "sad")
    assert [scheme.class_of(label) for label in labels] == ["calm", "tense", "calm", None]
    assert open_scheme("four") is FOUR
    file.write_text("name: mine\nclasses: [calm, tense]\nmerges: {awe: joy}\n")
    with pytest.raises(SettingsError, match="'awe' maps to 'joy'"):
        open_scheme(str(file))
    file.write_text("name: mine\nclass: [calm]\n")
    with pytest.raises(SettingsError, match="class is not a setting; did you mean classes"):
        open_scheme(str(file))
