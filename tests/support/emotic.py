"""EMOTIC's annotations, as its MATLAB files hold them."""

from __future__ import annotations

from typing import Any

import numpy as np


def cells(*names: str) -> np.ndarray:
    """A MATLAB cell array of strings."""
    return np.array([*names, None], dtype=object)[:-1]


def structs(*entries: dict[str, Any]) -> np.ndarray:
    """A MATLAB struct array."""
    names = list(entries[0])
    array = np.empty(len(entries), dtype=[(name, object) for name in names])
    for number, entry in enumerate(entries):
        for name in names:
            array[number][name] = entry[name]
    return array


def ratings(*values: float) -> dict[str, float]:
    return dict(zip(("valence", "arousal", "dominance"), values, strict=True))


def image(folder: str, filename: str, person: Any) -> dict[str, Any]:
    size = {"n_col": 8, "n_row": 6}
    database = {"name": folder.split("/", maxsplit=1)[0], "info": {"image_id": 1}}
    return {
        "filename": filename,
        "folder": folder,
        "image_size": size,
        "original_database": database,
        "person": person,
    }


def trained(categories: np.ndarray, affect: dict[str, float]) -> dict[str, Any]:
    """A person of the training split: one annotator."""
    return {
        "body_bbox": np.array([1, 2, 3, 4]),
        "annotations_categories": {"categories": categories},
        "annotations_continuous": affect,
    }


def several(*annotators: tuple[np.ndarray, dict[str, float]]) -> dict[str, Any]:
    """A person of the other splits before combining: several annotators."""
    return {
        "body_bbox": np.array([1, 2, 3, 4]),
        "annotations_categories": structs(*({"categories": c} for c, _ in annotators)),
        "annotations_continuous": structs(*(affect for _, affect in annotators)),
    }
