"""Label schemes and the maps from each dataset's own labels to them (paper section 4.2.1)."""

from __future__ import annotations

from dataclasses import dataclass

from ier_ray.errors import SettingsError

_COMMON = {
    "happiness": "happy",
    "happy": "happy",
    "sadness": "sad",
    "sad": "sad",
    "angry": "anger",
    "anger": "anger",
}


@dataclass(frozen=True)
class EmotionScheme:
    """Ordered classes, and the source labels that map to them.

    A sample whose source label is in neither ``classes`` nor ``merges`` is dropped by ingest and
    counted.
    """

    name: str
    classes: tuple[str, ...]
    merges: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes) or len(self.classes) < 2:
            raise SettingsError(
                f"scheme {self.name!r}: classes must be two or more different names, "
                f"got {list(self.classes)}"
            )
        for source, target in self.merges:
            if target not in self.classes:
                raise SettingsError(
                    f"scheme {self.name!r}: {source!r} maps to {target!r}, "
                    f"which is not one of {list(self.classes)}"
                )

    def class_of(self, source_label: str) -> str | None:
        """The class that a dataset's own label maps to, or None where it maps to none."""
        label = source_label.strip().lower()
        return label if label in self.classes else dict(self.merges).get(label)

    def index(self, label: str) -> int:
        """Position of a class in the network's output."""
        return self.classes.index(label)


FOUR = EmotionScheme(
    name="four",
    classes=("happy", "sad", "hate", "anger"),
    merges=(
        *_COMMON.items(),
        ("contentment", "happy"),
        ("amusement", "happy"),
        ("disgust", "hate"),
    ),
)

SEVEN = EmotionScheme(
    name="seven",
    classes=("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
    merges=(*_COMMON.items(), ("afraid", "fear"), ("surprised", "surprise"), ("hate", "disgust")),
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
    merges=(("sad", "sadness"), ("angry", "anger"), ("afraid", "fear"), ("hate", "disgust")),
)
"""The emotions of image emotion recognition (Mikels et al. 2005), as in FI, ArtPhoto and IAPSa.
Facial expressions of happiness have no class in it."""

_POSITIVE = ("amusement", "awe", "contentment", "excitement", "happy", "happiness", "joy")
_NEGATIVE = (
    *("anger", "angry", "hate", "contempt", "disgust"),
    *("fear", "afraid", "sad", "sadness"),
)

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
