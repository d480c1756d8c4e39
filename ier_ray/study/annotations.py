"""Annotations of a study, complete: each annotator has annotated each image once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ier_ray.errors import DataError
from ier_ray.study.cues import Mask
from ier_ray.study.manifest import StudyManifest

NAMED = 5
"""Images that a message names."""
FEWEST_ANNOTATORS = 2


@dataclass(frozen=True, eq=False)
class Annotation:
    """One annotator's answer to one image."""

    source: str
    """Location of the file that holds it."""
    annotator: str
    image_id: str
    label: str | None
    """None where the annotator was shown the image and chose no class."""
    cues: Mask
    """``(GRID, GRID)``, true where the annotator marked cues."""


@dataclass(frozen=True, eq=False)
class Annotations:
    """All annotations of a study: N images, A annotators.

    Attributes:
        annotators: the A names, sorted.
        labels: ``(N, A)`` indices of classes; images in the order of the manifest.
        cues: the masks of each image, by annotator, where cues are marked.
    """

    annotators: tuple[str, ...]
    labels: NDArray[np.int64]
    cues: tuple[dict[str, Mask], ...]


def collect(manifest: StudyManifest, given: Sequence[Annotation]) -> Annotations:
    """The annotations of all files.

    Raises:
        DataError: one line for each annotator with missing, duplicate or foreign annotations,
            naming the images; or for fewer than two annotators.
    """
    found: dict[str, dict[str, Annotation]] = defaultdict(dict)
    repeated: dict[str, list[Annotation]] = defaultdict(list)
    for annotation in given:
        answered = found[annotation.annotator]
        if annotation.label is None:
            continue
        if annotation.image_id in answered:
            repeated[annotation.annotator].append(annotation)
        answered.setdefault(annotation.image_id, annotation)
    problems = [_repeated(name, found[name], again) for name, again in sorted(repeated.items())]
    problems += [
        problem
        for name, answers in sorted(found.items())
        for problem in _unfitting(name, answers, manifest)
    ]
    if len(found) < FEWEST_ANNOTATORS and not problems:
        problems.append(
            f"agreement needs the answers of {FEWEST_ANNOTATORS} annotators or more, but there "
            f"are those of {', '.join(found) or 'none'}"
        )
    if problems:
        raise DataError("\n".join(problems))
    return _in_order(manifest, found)


def _in_order(manifest: StudyManifest, found: dict[str, dict[str, Annotation]]) -> Annotations:
    names = tuple(sorted(found))
    classes = {name: index for index, name in enumerate(manifest.classes)}
    table = [[found[name][image] for name in names] for image in manifest.image_ids]
    return Annotations(
        names,
        np.asarray([[classes[one.label or ""] for one in row] for row in table], dtype=np.int64),
        tuple({one.annotator: one.cues for one in row if one.cues.any()} for row in table),
    )


def named(ids: Sequence[str]) -> str:
    """The first of some ids, for a message."""
    return ", ".join(ids[:NAMED]) + (", …" if len(ids) > NAMED else "")


def _images(images: list[str]) -> str:
    return f"{len(images)} annotation{'s' if len(images) > 1 else ''} ({named(images)})"


def _unfitting(name: str, answers: dict[str, Annotation], manifest: StudyManifest) -> Iterator[str]:
    known = manifest.image_ids
    foreign = sorted(answers.keys() - set(known))
    missing = [image for image in known if image not in answers]
    if foreign:
        yield f"annotator {name!r}: {_images(foreign)} of no image of study {manifest.study_id}"
    if missing:
        yield (
            f"annotator {name!r}: {_images(missing)} missing of {len(known)}; let them be "
            f"annotated, or leave the annotator out"
        )


def _repeated(name: str, first: dict[str, Annotation], again: list[Annotation]) -> str:
    sources = sorted({first[again[0].image_id].source, again[0].source})
    return (
        f"annotator {name!r}: {_images([one.image_id for one in again])} given twice, in "
        f"{' and '.join(sources)}; give each annotator's file once, and different names to "
        f"different people"
    )
