"""Label schemes and the maps from each dataset's own labels to them (paper section 4.2.1)."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from ier_ray.errors import SettingsError

_SYNONYMS = (
    ("anger", "angry", "angered"),
    ("amusement", "amused"),
    ("awe", "awed"),
    ("contempt", "contemptuous"),
    ("contentment", "content", "contented", "contentedness"),
    ("disgust", "disgusted"),
    ("excitement", "excited"),
    ("fear", "fearful", "fearfulness", "afraid", "scared"),
    ("happy", "happiness", "joy", "joyful", "happily"),
    ("hate", "hatred", "hateful"),
    ("neutral", "neutrality", "neutral face", "neutral expression"),
    ("sad", "sadness", "sadly"),
    ("surprise", "surprised", "suprise", "suprised"),
)
"""The words by which datasets call one emotion, in normal form; the last two are frequent typos."""

_FIRST_OF = {word: words[0] for words in _SYNONYMS for word in words}

_BLANKS = frozenset({"Zs", "Zl", "Zp", "Cc", "Pc", "Pd"})
"""Unicode categories of what separates words in labels: blanks, tabs, underscores, hyphens."""


def normal_form(label: str) -> str:
    """A label as it is compared: without regard to case, Unicode form, blanks and hyphens."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", label).casefold())
    characters = (
        " " if unicodedata.category(character) in _BLANKS else character
        for character in folded
        if unicodedata.category(character) != "Cf"  # invisible: byte order marks, soft hyphens
    )
    return " ".join("".join(characters).split())


def same_emotion(label: str) -> str:
    """One word for all that the field calls one emotion: ``happy`` for joy; else the normal form.

    Two labels mean the same if this word is the same.
    """
    normal = normal_form(label)
    return _FIRST_OF.get(normal, normal)


@dataclass(frozen=True)
class EmotionScheme:
    """Ordered classes, and the source labels that map to them.

    Labels are compared in their :func:`normal_form`. One that is in neither ``classes`` nor
    ``merges`` maps as its synonyms there do, if they agree. A sample whose label maps to no class
    is dropped by ingest and counted.
    """

    name: str
    classes: tuple[str, ...]
    merges: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        normal = list(map(normal_form, self.classes))
        if len(set(normal)) != len(normal) or len(normal) < 2 or not all(normal):
            raise SettingsError(
                f"scheme {self.name!r}: classes must be two or more different names, "
                f"also without regard to case and blanks, got {list(self.classes)}"
            )
        mapped = dict(zip(normal, self.classes, strict=True))
        for source, target in self._merges():
            if target is None:
                raise SettingsError(
                    f"scheme {self.name!r}: {source!r} maps to {dict(self.merges)[source]!r}, "
                    f"which is not one of {list(self.classes)}"
                )
            if mapped.setdefault(normal_form(source), target) != target:
                raise SettingsError(
                    f"scheme {self.name!r}: {source!r} maps to {target!r}, but also to "
                    f"{mapped[normal_form(source)]!r}; labels are compared without regard to case "
                    f"and blanks"
                )

    def _merges(self) -> Iterator[tuple[str, str | None]]:
        """Each merged label and its class, as ``classes`` writes it; None if it is none of them."""
        written = {normal_form(name): name for name in self.classes}
        return ((source, written.get(normal_form(target))) for source, target in self.merges)

    def class_of(self, source_label: str) -> str | None:
        """The class that a dataset's own label maps to, or None where it maps to none."""
        exact = {normal_form(source): target for source, target in self._merges()}
        exact |= {normal_form(name): name for name in self.classes}
        label = normal_form(source_label)
        if label in exact:
            return exact[label]
        emotion = same_emotion(label)
        targets = {target for source, target in exact.items() if same_emotion(source) == emotion}
        return targets.pop() if len(targets) == 1 else None

    def index(self, label: str) -> int:
        """Position of a class in the network's output."""
        return self.classes.index(label)


FOUR = EmotionScheme(
    name="four",
    classes=("happy", "sad", "hate", "anger"),
    merges=(
        ("contentment", "happy"),
        ("amusement", "happy"),
        ("disgust", "hate"),
    ),
)

SEVEN = EmotionScheme(
    name="seven",
    classes=("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    merges=(("hate", "disgust"),),
)

MIKELS8 = EmotionScheme(
    name="mikels8",
    classes=(
        "amusement",
        "anger",
        "awe",
        "contentment",
        "disgust",
        "excitement",
        "fear",
        "sadness",
    ),
    merges=(("hate", "disgust"),),
)
"""The emotions of image emotion recognition (Mikels et al. 2005), as in FI, ArtPhoto and IAPSa.
Facial expressions of happiness have no class in it."""

_POSITIVE = ("amusement", "awe", "contentment", "excitement", "happy")
_NEGATIVE = ("anger", "hate", "contempt", "disgust", "fear", "sad")

POLARITY = EmotionScheme(
    name="polarity",
    classes=("positive", "negative"),
    merges=(
        *((label, "positive") for label in _POSITIVE),
        *((label, "negative") for label in _NEGATIVE),
    ),
)
"""The valence of Mikels' and Ekman's emotions. Neutral and surprise have none: they are dropped."""

SCHEMES = {scheme.name: scheme for scheme in (FOUR, SEVEN, MIKELS8, POLARITY)}


def scheme_named(name: str) -> EmotionScheme:
    """A built-in scheme by its name."""
    try:
        return SCHEMES[name]
    except KeyError:
        raise SettingsError(
            f"scheme: unknown name {name!r}; use one of {sorted(SCHEMES)}, or the path of a "
            f".yaml file with a scheme of your own"
        ) from None
