"""All that a study says, as a record and as a table for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ier_ray.evaluation.intervals import Interval
from ier_ray.study.agreement import TIE, Agreement, Majority, ShareOf
from ier_ray.study.annotations import Annotations
from ier_ray.study.comparison import MajorityComparison
from ier_ray.study.cue_overlap import CueOverlaps, MeanOverlap
from ier_ray.study.manifest import StudyManifest
from ier_ray.study.overlap import MEASURES


@dataclass(frozen=True)
class ExplanationOverlaps:
    """Overlap of explanations with marked cues."""

    all_cues: CueOverlaps
    same_class: CueOverlaps
    """With the cues of those who chose the explained class."""


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Figures of a study."""

    manifest: StudyManifest
    annotations: Annotations
    agreement: Agreement
    majority: Majority
    dataset: MajorityComparison
    """The dataset's labels beside the annotators."""
    model: MajorityComparison | None
    """Out-of-fold predictions beside the annotators."""
    human_overlap: MeanOverlap | None
    """Marks of annotators with those of others."""
    explanations: ExplanationOverlaps | None
    percentages: dict[str, list[int]]
    """Counts of images whose share is a percentage as printed elsewhere; none: it is no share."""

    def as_json(self) -> dict[str, Any]:
        """All figures, and the votes on each image."""
        return {
            "study": self.manifest.study_id,
            "images": len(self.manifest.images),
            "annotators": list(self.annotations.annotators),
            "screening": self.manifest.screening.model_dump(
                mode="json", include={"method", "tool", "examined", "counts"}
            ),
            "agreement": asdict(self.agreement),
            "majority": asdict(self.decided) if self.decided else None,
            "ties": [vote["image"] for vote in self.votes() if vote["majority"] is None],
            "dataset": asdict(self.dataset),
            "model": asdict(self.model) if self.model else None,
            "human_overlap": asdict(self.human_overlap) if self.human_overlap else None,
            "explanations": asdict(self.explanations) if self.explanations else None,
            "percentages": self.percentages,
        }

    @property
    def decided(self) -> ShareOf | None:
        """The images with a majority class."""
        return ShareOf.counted(int(self.majority.decided.sum()), len(self.majority.labels))

    def votes(self) -> list[dict[str, Any]]:
        """The votes on each image."""
        classes = self.manifest.classes
        return [
            {
                "image": image.image_id,
                "sample_id": image.sample_id,
                "label": image.label,
                "votes": dict(zip(classes, votes.tolist(), strict=True)),
                "majority": None if label == TIE else classes[label],
                "marked_by": sorted(cues),
            }
            for image, votes, label, cues in zip(
                self.manifest.images,
                self.majority.votes,
                self.majority.labels,
                self.annotations.cues,
                strict=True,
            )
        ]


def as_text(result: StudyResult) -> str:
    """A table for people."""
    return "\n".join(_lines(result))


def _lines(result: StudyResult) -> Iterator[str]:
    manifest, annotations = result.manifest, result.annotations
    yield (
        f"study {manifest.study_id}: {len(manifest.images)} images, "
        f"{len(annotations.annotators)} annotators ({', '.join(annotations.annotators)})"
    )
    found = result.agreement
    yield f"  agreeing pairs of annotators    {100 * found.observed:.1f} %"
    for name, value in {
        "Cohen's kappa, mean of pairs": found.mean_cohen,
        "Fleiss' kappa": found.fleiss,
        "Krippendorff's alpha": found.krippendorff,
    }.items():
        yield f"  {name:<31} {_number(value)}"
    ties = [vote["image"] for vote in result.votes() if vote["majority"] is None]
    yield f"  images with a majority class    {_share(result.decided)}"
    if ties:
        yield f"    ties: {', '.join(ties)}"
    for name, one in {"dataset's label": result.dataset, "model": result.model}.items():
        if one is not None:
            yield f"  {name + ' is the majority class':<31} {_share(one.agreement)}"
            yield f"    Cohen's kappa                 {_number(one.kappa)}"
            yield f"    mean kappa with annotators    {_number(one.mean_annotator_kappa)}"
    yield from _overlap_lines(result)
    for printed, counts in result.percentages.items():
        of = len(manifest.images)
        means = " or ".join(map(str, counts)) + f" of {of}" if counts else f"no share of {of}"
        yield f"  {printed} %: {means}"


def _overlap_lines(result: StudyResult) -> Iterator[str]:
    rows: dict[str, MeanOverlap | None] = {"annotators with each other": result.human_overlap}
    if result.explanations is not None:
        for of, found in (
            ("", result.explanations.all_cues),
            (", same class", result.explanations.same_class),
        ):
            rows[f"explanation{of}"] = found.explanation
            rows[f"  moved at random{of}"] = found.random
            rows[f"  center{of}"] = found.center
    if not any(rows.values()):
        return
    yield f"  {'overlap with marked cues':<32}" + "".join(f"{name:^20}" for name in MEASURES)
    for name, row in rows.items():
        if row is not None:
            cells = "".join(f"{_interval(row.scores[measure]):^20}" for measure in MEASURES)
            yield f"  {name:<32}{cells} {row.masks} masks, {row.images} images"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


def _share(share: ShareOf | None) -> str:
    if share is None:
        return "none"
    return (
        f"{share.count} of {share.of}: {share.percent:.1f} % ({share.low:.1f} to {share.high:.1f})"
    )


def _interval(interval: Interval) -> str:
    return f"{interval.estimate:.2f} ({interval.low:.2f}-{interval.high:.2f})"
