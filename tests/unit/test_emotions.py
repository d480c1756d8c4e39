from __future__ import annotations

from pathlib import Path

import pytest

from ier_ray.data.scheme_files import open_scheme
from ier_ray.emotions import FOUR, SEVEN, EmotionScheme, same_emotion, scheme_named
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
    file.write_text("name: mine\nclasses: [calm, tense]\nmerges: {awe: calm, AWE: tense}\n")
    with pytest.raises(SettingsError, match="'AWE' maps to 'tense', but also to 'calm'"):
        open_scheme(str(file))


@pytest.mark.parametrize(
    "label",
    [
        "Happy",
        "happy ",
        "HAPPY",
        "\ufeffhappy",
        "ｈａｐｐｙ",
        "happiness",
        "Joy",
        "joyful",
        "hap\u00adpy",
    ],
)
def test_classes_and_labels_are_compared_in_one_form(label: str) -> None:
    for spelled in ("Happy", "HAPPY ", "joy"):
        assert EmotionScheme("mine", (spelled, "Sad")).class_of(label) == spelled


@pytest.mark.parametrize(
    ("written", "label"),
    [
        ("Überraschung", "u\u0308berraschung"),
        ("U\u0308BERRASCHUNG", "überraschung"),
        ("very happy", "Very_Happy"),
        ("very-happy", " VERY \t happy"),
        ("Straße", "STRASSE"),
        ("İyi", "i\u0307yi"),
    ],
)
def test_normal_form_of_class_merge_and_label(written: str, label: str) -> None:
    assert EmotionScheme("mine", (written, "other")).class_of(label) == written
    merging = EmotionScheme("mine", ("One", "other"), ((written, "one"),))
    assert merging.class_of(label) == "One"
    with pytest.raises(SettingsError, match="two or more different names"):
        EmotionScheme("mine", (written, label))


@pytest.mark.parametrize(
    ("word", "emotion"),
    [
        ("joy", "happy"),
        ("Happiness", "happy"),
        ("sadness", "sad"),
        ("disgusted", "disgust"),
        ("fearful", "fear"),
        ("afraid", "fear"),
        ("scared", "fear"),
        ("angry", "anger"),
        ("surprised", "surprise"),
        ("neutrality", "neutral"),
    ],
)
def test_synonyms_map_as_their_emotion(word: str, emotion: str) -> None:
    assert SEVEN.class_of(word) == emotion
    assert SEVEN.class_of(f"not {word}") is None
    assert same_emotion(word) == same_emotion(emotion)


def test_synonyms_map_only_where_they_agree() -> None:
    merging = EmotionScheme("mine", ("good", "bad"), (("joy", "good"), ("anger", "bad")))
    assert merging.class_of("happiness") == "good"
    both = EmotionScheme("mine", ("joy", "happy"))
    assert (both.class_of("Joy"), both.class_of("Happy")) == ("joy", "happy")
    assert both.class_of("happiness") is None  # which of them, nothing tells
    assert scheme_named("mikels8").class_of("amused") == "amusement"
    assert scheme_named("mikels8").class_of("contented") == "contentment"
    assert scheme_named("mikels8").class_of("joy") is None


def test_contradictory_merges_are_refused() -> None:
    with pytest.raises(SettingsError, match="'Happy' maps to 'sad', but also to 'happy'"):
        EmotionScheme("mine", ("happy", "sad"), (("Happy", "sad"),))
    with pytest.raises(SettingsError, match="two or more different names"):
        EmotionScheme("mine", ("happy", " "))
