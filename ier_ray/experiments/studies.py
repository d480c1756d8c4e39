"""Figures of human studies, read from their result files."""

from __future__ import annotations

from typing import Any

from ier_ray import storage
from ier_ray.errors import DataError

STUDY_MEASURES = {
    "cohen_kappa": ("agreement", "mean_cohen"),
    "fleiss_kappa": ("agreement", "fleiss"),
    "krippendorff_alpha": ("agreement", "krippendorff"),
    "model_agreement": ("model", "agreement"),
    "images": ("images",),
}
"""Where a study's result file has each measure."""


def read_study(location: str) -> dict[str, Any]:
    """The content of a study's result file.

    Raises:
        DataError: when the file is no result of a study.
        StorageError: when it cannot be read.
    """
    content = storage.read_json(location)
    if not isinstance(content, dict) or not isinstance(content.get("agreement"), dict):
        raise DataError(f"studies: {location} is no result of a human study: no agreement in it")
    return content


def study_figure(location: str, measure: str) -> dict[str, Any]:
    """A measure of a human study.

    Raises:
        DataError, StorageError: as :func:`read_study`.
    """
    content = read_study(location)
    found: Any = content
    for name in STUDY_MEASURES[measure]:
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return {"state": "skipped", "reason": f"the study has no {measure}"}
    if isinstance(found, dict):  # a share in percent, with its interval
        value, low, high = (float(found[name]) / 100 for name in ("percent", "low", "high"))
        return {"value": value, "low": low, "high": high, "images": found["of"]}
    return {"value": float(found), "images": content.get("images")}
