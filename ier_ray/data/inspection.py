"""Summary of a shard set: its statistics as JSON or text, and a contact sheet of images."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from ier_ray.data.images import encode_png
from ier_ray.data.preprocessing import Preprocessing
from ier_ray.data.samples import images_from_shards
from ier_ray.data.schema import LEFT_OUT
from ier_ray.data.shards import ShardSet

THUMBNAIL_SIDE = 96
LABEL_HEIGHT = 14
PER_CLASS = 8


def inspect_shards(shards: ShardSet) -> dict[str, Any]:
    """Counts by class, fold and dataset, image sizes, and the samples left out.

    Raises:
        DataError: when a file is missing or damaged.
    """
    manifest = shards.manifest
    datasets: Counter[str] = Counter()
    sizes: list[pa.Table] = []
    for number in range(len(manifest.shards)):
        with shards.parquet(number) as file:
            table = file.read(columns=["dataset", "height", "width"])
        datasets.update(table["dataset"].to_pylist())
        sizes.append(table.select(["height", "width"]))
    measured = pa.concat_tables(sizes)
    return {
        "location": shards.location,
        "domain": manifest.domain,
        "scheme": manifest.scheme,
        "rows": manifest.rows,
        "listed": manifest.listed,
        "counts": manifest.counts,
        "datasets": dict(datasets),
        "sizes": {side: _spread(measured[side].to_numpy()) for side in ("height", "width")},
        "empty_classes": manifest.empty_classes,
        "dropped": manifest.dropped,
        "skipped": manifest.skipped,
        "quarantined": [bad.model_dump() for bad in manifest.quarantined],
        "duplicates": manifest.duplicates.model_dump(),
    }


def _spread(values: np.ndarray[Any, Any]) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }


def as_text(described: dict[str, Any]) -> str:
    """The result of :func:`inspect_shards` as text."""
    folds = range(len(next(iter(described["counts"].values()))))
    lines = [
        f"{described['location']}: {described['rows']} {described['domain']} images of "
        f"{described['listed']} listed, scheme {described['scheme']}",
        "",
        f"{'class':<12}" + "".join(f"fold {fold:<4}" for fold in folds) + "all",
    ]
    for name, counts in described["counts"].items():
        lines.append(f"{name:<12}" + "".join(f"{n:<9}" for n in counts) + str(sum(counts)))
    lines.append("")
    lines += [f"dataset {name}: {count}" for name, count in described["datasets"].items()]
    for side, spread in described["sizes"].items():
        lines.append(
            f"{side}: {spread['min']:.0f} to {spread['max']:.0f} pixels, "
            f"median {spread['median']:.0f}"
        )
    lines += [f"class {name!r}: NO ROW" for name in described["empty_classes"]]
    lines += [f"dropped {label!r}: {count}" for label, count in described["dropped"].items()]
    lines += [
        f"skipped {reason}: {count} files (ingest named them in {LEFT_OUT})"
        for reason, count in described["skipped"].items()
    ]
    lines += [
        f"quarantined {bad['sample_id']}: {bad['reason']} ({bad['detail']})"
        for bad in described["quarantined"]
    ]
    return "\n".join(lines + _duplicates_as_text(described["duplicates"]))


def _duplicates_as_text(found: dict[str, Any]) -> list[str]:
    if found["mode"] == "keep":
        return ["duplicates: not looked for (--duplicates keep)"]
    lines = [
        f"duplicates ({found['mode']}): {found['images']} images in {found['clusters']} clusters, "
        f"{found['exact']} exact and {found['near']} near copies; {found['dropped']} dropped, "
        f"{found['left_out_of_own_split']} left out of their own split",
        f"clusters with conflicting labels: {found['conflicting']}",
    ]
    for conflict in found["conflicts"]:
        pairs = zip(conflict["sample_ids"], conflict["labels"], strict=True)
        lines.append("conflicting " + ", ".join(f"{name} ({label})" for name, label in pairs))
    return lines


def contact_sheet(shards: ShardSet) -> bytes:
    """A PNG with one row of images per class, from the first fold that has any."""
    fold_rows = np.sum(list(shards.manifest.counts.values()), axis=0)
    fold = int(np.flatnonzero(fold_rows)[0])
    images = images_from_shards(
        shards, per_class=PER_CLASS, fold=fold, preprocessing=Preprocessing(THUMBNAIL_SIDE)
    )
    row_height = THUMBNAIL_SIDE + LABEL_HEIGHT
    sheet = Image.new(
        "RGB", (PER_CLASS * THUMBNAIL_SIDE, len(shards.scheme.classes) * row_height), "white"
    )
    text = ImageDraw.Draw(sheet)
    for row, label in enumerate(shards.scheme.classes):
        text.text((2, row * row_height), label, fill="black")
        members = [image for image in images if image.label == label]
        for column, image in enumerate(members):
            place = (column * THUMBNAIL_SIDE, row * row_height + LABEL_HEIGHT)
            sheet.paste(Image.fromarray(image.pixels), place)
    return encode_png(np.asarray(sheet))
