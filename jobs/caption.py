"""Caption every image of a shard set, for the caption baseline; needs transformers."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import Field

from ier_ray import storage
from ier_ray.cluster.captions import CaptionModels, caption_shards
from ier_ray.cluster.job import run_job
from ier_ray.config import Location, Settings


class CaptionSettings(Settings):
    """What to caption, with which models, and where to write."""

    shards: Location
    """Shard set to caption: a path or s3:// URI made by jobs/ingest.py."""
    output: Location
    """Directory or s3:// URI of the new shard set: the same rows, with captions and tokens."""
    captioner: Location
    """Directory, on every node, of an image captioning model with its image processor and
    tokenizer, as the transformers library saves them."""
    tokenizer: Location
    """Directory, on every node, of the tokenizer of the BERT that reads the captions."""
    workers: int = Field(1, ge=1)
    """Copies of the captioning model working in parallel; each has a GPU if the cluster has any."""


def main(settings: CaptionSettings) -> dict[str, Any]:
    models = CaptionModels(
        storage.absolute(settings.captioner), storage.absolute(settings.tokenizer)
    )
    report = caption_shards(
        settings.shards, storage.absolute(settings.output), models, workers=settings.workers
    )
    return {
        "location": report.location,
        "rows": report.manifest.rows,
        "unchanged": report.unchanged,
    }


if __name__ == "__main__":
    sys.exit(run_job(CaptionSettings, main, program="caption", purpose=__doc__ or ""))
