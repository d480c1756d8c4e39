"""EMOTIC: the persons of an image vote for its emotion."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from support.emotic import cells, image, ratings, several, structs, trained
from support.sources import (
    Color,
    assert_same_colors,
    color_of,
    colors,
    listing,
    litter,
    own,
    paint,
    sample_of,
    samples_of,
)

from ier_ray.data.sources import open_source
from ier_ray.data.sources.emotic_vote import read_vote
from ier_ray.emotions import FOUR, SEVEN
from ier_ray.errors import DataError, ImageError


def write_emotic(root: Path) -> dict[str, Color]:
    happy = trained(cells("Happiness", "Engagement"), ratings(8, 6, 7))
    sad = trained(cells("Sadness", "Pain", "Suffering"), ratings(2, 3, 4))
    tie = trained(cells("Peace", "Doubt/Confusion", "Annoyance"), ratings(5, 5, 5))
    quiet = trained(cells("Engagement"), ratings(np.nan, np.nan, np.nan))
    # Three annotators gave Anger and two Fear to one person: one vote each, anger before fear.
    angry = several(
        (cells("Anger", "Fear"), ratings(2, 8, 6)),
        (cells("Anger", "Aversion", "Disapproval"), ratings(4, 8, 9)),
        (cells("Anger", "Fear"), ratings(3, 8, 6)),
    )
    combined = {
        **several((cells("Anger"), ratings(1, 1, 1)), (cells("Anger"), ratings(1, 1, 1))),
        "combined_categories": cells("Surprise", "Anticipation"),
        "combined_continuous": ratings(7, 9, 5),
    }
    train = structs(
        image("mscoco/images", "two.jpg", structs(happy, sad)),
        image("mscoco/images", "one.jpg", happy),
        image("ade20k/images", "tie.jpg", tie),
        image("framesdb/images", "quiet é.jpg", quiet),
        image("framesdb/images", "gone.jpg", happy),
    )
    (root / "Annotations").mkdir()
    savemat(
        root / "Annotations/Annotations.mat",
        {
            "train": train,
            "val": structs(image("emodb_small/images", "angry.jpg", angry)),
            "test": structs(image("emodb_small/images", "combined.jpg", combined)),
        },
    )
    return paint(
        root,
        "emotic/ade20k/images/tie.jpg",
        "emotic/emodb_small/images/angry.jpg",
        "emotic/emodb_small/images/combined.jpg",
        "emotic/framesdb/images/quiet é.jpg",
        "emotic/mscoco/images/one.jpg",
        "emotic/mscoco/images/two.jpg",
    )


def test_emotic_persons_vote(tmp_path: Path) -> None:
    painted = write_emotic(tmp_path)
    litter(tmp_path, "emotic/mscoco/images", "Annotations")
    source = open_source("auto", str(tmp_path))
    assert (source.name, source.domains) == ("emotic", ("ier",))
    expected = {
        "ade20k/images/tie.jpg": ("anger", (5, 5, 5)),  # anger 1, happy 1
        "emodb_small/images/angry.jpg": ("disgust", (3, 8, 7)),  # disgust 2, anger 1, fear 1
        "emodb_small/images/combined.jpg": ("surprise", (7, 9, 5)),
        "framesdb/images/gone.jpg": ("happy", (8, 6, 7)),
        "framesdb/images/quiet é.jpg": ("none", None),
        "mscoco/images/one.jpg": ("happy", (8, 6, 7)),
        "mscoco/images/two.jpg": ("sad", (5, 4.5, 5.5)),  # happy 1, sad 3
    }
    assert listing(source) == [(p, label, own(p, "emotic")) for p, (label, _) in expected.items()]
    affects = {sample.sample_id: sample.affect for sample in samples_of(source)}
    assert affects == {f"emotic/{path}": affect for path, (_, affect) in expected.items()}
    with pytest.raises(ImageError, match=r"gone.jpg: listed, but there is no such file"):
        source.load("ier", sample_of(source, "gone.jpg"))
    paint(tmp_path, "emotic/framesdb/images/gone.jpg")
    painted["emotic/framesdb/images/gone.jpg"] = color_of(0)
    assert_same_colors(
        colors(source), {path.removeprefix("emotic/"): c for path, c in painted.items()}
    )


def test_emotic_images_may_lie_beside_the_annotations(tmp_path: Path) -> None:
    person = trained(cells("Yearning", "Esteem"), ratings(6, 6, 6))
    savemat(tmp_path / "Annotations.mat", {"train": image("mscoco/images", "a.jpg", person)})
    paint(tmp_path, "mscoco/images/a.jpg")
    source = open_source("emotic", str(tmp_path))
    assert listing(source) == [("mscoco/images/a.jpg", "happy", "emotic/mscoco/images/a.jpg")]
    assert_same_colors(colors(source), {"mscoco/images/a.jpg": color_of(0)})


def test_emotic_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    person = trained(cells("Boredom"), ratings(6, 6, 6))
    savemat(tmp_path / "Annotations.mat", {"train": image("a", "a.jpg", person)})
    with pytest.raises(DataError, match=r"\['Boredom'\] are not in emotic_vote.yaml"):
        listing(open_source("emotic", str(tmp_path)))
    (tmp_path / "Annotations.mat").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(DataError, match="cannot be read as a MATLAB 5 file"):
        listing(open_source("emotic", str(tmp_path)))


def test_emotic_vote_covers_the_26_categories() -> None:
    vote = read_vote()
    assert len(vote.categories) == 26
    assert set(vote.categories.values()) == {*vote.tie_order, "none"}
    assert {SEVEN.class_of(emotion) for emotion in vote.tie_order} == {*SEVEN.classes} - {"neutral"}
    assert {FOUR.class_of(emotion) for emotion in vote.tie_order} == {*FOUR.classes, None}
    assert FOUR.class_of("none") is SEVEN.class_of("none") is None
    assert vote.winner([]) == vote.winner(["Engagement"]) == "none"
    assert vote.winner(["Happiness", "Sadness"]) == vote.winner(["Sadness", "Happiness"]) == "sad"
    assert vote.winner(["Happiness", "Sadness", "Peace"]) == "happy"


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ("train(2)", "filename"),
        ("train(2)", "folder"),
        ("train(2)", "person"),
        ("train(2).person", "annotations_categories"),
        ("train(2).person", "annotations_continuous"),
        ("train(2).person", "arousal"),
    ],
)
def test_emotic_names_a_field_that_is_missing(tmp_path: Path, place: str, field: str) -> None:
    person = trained(cells("Happiness"), ratings(6, 6, 6))
    good = image("a", "a.jpg", person)
    bad = {name: value for name, value in good.items() if name != field}
    if field not in good:
        left = {name: value for name, value in person.items() if name != field}
        affect = {n: v for n, v in person["annotations_continuous"].items() if n != field}
        if "annotations_continuous" in left:
            left["annotations_continuous"] = affect
        bad["person"] = left
    entries = np.array([good, bad, None], dtype=object)[:2]  # a cell array of structs
    savemat(tmp_path / "Annotations.mat", {"train": entries})
    with pytest.raises(DataError) as raised:
        listing(open_source("emotic", str(tmp_path)))
    message = str(raised.value)
    assert re.match(
        rf".*/Annotations\.mat: {re.escape(place)}: lacks the field .*{field}, has \[", message
    )
    assert "\n" not in message


def test_emotic_without_arrays_or_with_numbers_for_images(tmp_path: Path) -> None:
    savemat(tmp_path / "Annotations.mat", {"images": 1})
    with pytest.raises(DataError, match="has none of the arrays train, val, test"):
        listing(open_source("emotic", str(tmp_path)))
    savemat(tmp_path / "Annotations.mat", {"val": np.array([[1.5, 2]])})
    with pytest.raises(DataError, match=r"val\(1\): lacks the field folder, has no fields, but"):
        listing(open_source("emotic", str(tmp_path)))
