"""What a shard set is on disk: Parquet columns and the manifest that makes them complete."""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import ValidationError

from ier_ray import storage
from ier_ray.config import Settings
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"

Domain = Literal["fer", "ier"]

SHARD_SCHEMA = pa.schema(
    [
        ("image", pa.binary()),
        ("label", pa.string()),
        ("source_label", pa.string()),
        ("dataset", pa.string()),
        ("domain", pa.string()),
        ("sample_id", pa.string()),
        ("group", pa.string()),
        ("fold", pa.int8()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("cue_mask", pa.binary()),
        ("valence", pa.float32()),
        ("arousal", pa.float32()),
        ("dominance", pa.float32()),
    ]
)


class ShardFile(Settings):
    """One Parquet file of a shard set."""

    file: str
    """Path below the shard set."""
    rows: int
    """Rows in the file."""
    sha256: str
    """Hash of the file's bytes."""


class Rejected(Settings):
    """One image that was not taken, and why."""

    sample_id: str
    """Id of the sample."""
    reason: str
    """Stable word: ``empty``, ``missing``, ``unidentified``, ``truncated``, ``too_large``."""
    detail: str
    """What the decoder said."""


class Manifest(Settings):
    """Everything there is to know of a shard set without reading it. Written last."""

    schema_version: int = SCHEMA_VERSION
    """Version of this layout."""
    domain: Domain
    """``fer`` or ``ier``."""
    datasets: list[str]
    """Names of the sources."""
    scheme: str
    """Name of the label scheme."""
    classes: list[str]
    """Classes in the network's order."""
    folds: int
    """Number of folds."""
    seed: int
    """Seed of folds and shuffle."""
    listed: int
    """Samples the source listed: ``rows + dropped + quarantined``."""
    rows: int
    """Samples kept."""
    counts: dict[str, list[int]]
    """Rows of each class in each fold."""
    dropped: dict[str, int]
    """Samples left out because the scheme has no class for their label, by label."""
    quarantined: list[Rejected]
    """Samples left out because their image is unusable."""
    shards: list[ShardFile]
    """The Parquet files, in order."""
    content_hash: str
    """Hash over the files' hashes: equal data, equal hash."""
    request_hash: str
    """Hash of what was asked for; a repeated ingest with the same one has nothing to do."""


def read_shard_manifest(location: str) -> Manifest:
    """The manifest of a shard set.

    Raises:
        DataError: when there is none (ingest never finished) or it is of another version.
    """
    path = storage.join(location, MANIFEST)
    if not storage.exists(path):
        raise DataError(
            f"{location}: no shard set here ({MANIFEST} is missing); "
            f"make one with jobs/ingest.py --output {location}"
        )
    try:
        manifest = Manifest.model_validate(storage.read_json(path))
    except ValidationError as error:
        raise DataError(f"{path}: not a manifest of this version: {error}") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {manifest.schema_version}, this program reads "
            f"{SCHEMA_VERSION}; ingest the data again"
        )
    return manifest


def made_before(location: str, request: str) -> Manifest | None:
    """The manifest of a shard set that the same request made; None where there is nothing.

    Raises:
        DataError: when another request's shard set is there.
    """
    if not storage.exists(storage.join(location, MANIFEST)):
        return None
    found = read_shard_manifest(location)
    if found.request_hash != request:
        raise DataError(
            f"{location}: holds a shard set made with other settings; "
            f"choose another --output, or remove it"
        )
    return found


def require_scheme(manifest: Manifest, scheme: EmotionScheme, location: str) -> None:
    """Raise :class:`DataError` naming both schemes when the shards have another one."""
    if manifest.classes != list(scheme.classes):
        raise DataError(
            f"{location}: label scheme {manifest.scheme!r} {manifest.classes}, but "
            f"{scheme.name!r} {list(scheme.classes)} is asked for"
        )
