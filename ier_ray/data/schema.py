"""Format of a shard set: the columns of its Parquet files, and its manifest."""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa
from pydantic import Field, ValidationError

from ier_ray import storage
from ier_ray.config import Settings, in_one_line
from ier_ray.emotions import EmotionScheme
from ier_ray.errors import DataError

SCHEMA_VERSION = 2
MANIFEST = "manifest.json"
LEFT_OUT = "left_out.parquet"
"""Beside the manifest of an ingest: everything that was listed and is in no shard, by name."""

Domain = Literal["fer", "ier"]

DOMAINS: tuple[Domain, ...] = get_args(Domain)

DuplicatesMode = Literal["group", "drop", "keep"]

Part = Literal["train", "val", "test"]

PARTS: tuple[Part, ...] = get_args(Part)
"""Training, validation and test; their positions are the codes in a row index."""

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
        ("split", pa.string()),  # the dataset's own part, null where it has none
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("pixel_hash", pa.uint64()),  # of the image as the source has it
        ("cue_mask", pa.binary()),
        ("valence", pa.float32()),
        ("arousal", pa.float32()),
        ("dominance", pa.float32()),
    ]
)


LEFT_OUT_SCHEMA = pa.schema(
    [
        ("sample_id", pa.string()),
        ("outcome", pa.string()),  # dropped, quarantined, duplicate or skipped
        ("reason", pa.string()),  # the label of dropped ones, else a stable word
        ("detail", pa.string()),
    ]
)


class ShardFile(Settings):
    """One Parquet file of a shard set."""

    file: str
    """Path relative to the shard set."""
    rows: int
    """Rows in the file."""
    sha256: str
    """Hash of the file's bytes."""


class Rejected(Settings):
    """A sample that was left out because its image is unusable."""

    sample_id: str
    """Id of the sample."""
    reason: str
    """``missing``, or the reason why :func:`~ier_ray.data.images.decode_rgb` refuses it."""
    detail: str
    """Message of the error."""


class ConflictingLabels(Settings):
    """A cluster of duplicate images that do not all have the same label."""

    sample_ids: list[str]
    """The images, as listed."""
    labels: list[str]
    """The class of each."""


class Duplicates(Settings):
    """Duplicate images that ingest found: ``images = clusters + exact + near``."""

    mode: DuplicatesMode = "keep"
    """What was done: ``group``, ``drop``, or ``keep``, which looks for none."""
    clusters: int = 0
    """Sets of two or more images that show the same picture."""
    images: int = 0
    """Images in these clusters."""
    exact: int = 0
    """Images whose pixels are those of another image listed before."""
    near: int = 0
    """The others beside the first of each cluster: re-encoded, resized or mirrored copies."""
    dropped: int = 0
    """Images left out by ``drop``."""
    left_out_of_own_split: int = 0
    """Images that lost their own split, as a copy is in a part that is held out further."""
    conflicting: int = 0
    """Clusters whose images have different labels."""
    conflicts: tuple[ConflictingLabels, ...] = ()
    """The first hundred of these."""


class Manifest(Settings):
    """Description of a shard set; written last, so that it marks the shard set complete."""

    schema_version: int = SCHEMA_VERSION
    """Version of this layout."""
    domain: Domain
    """``fer`` or ``ier``."""
    datasets: list[str]
    """Names of the datasets in it."""
    scheme: str
    """Name of the label scheme."""
    classes: list[str]
    """Classes in the network's order."""
    folds: int
    """Number of folds."""
    seed: int
    """Seed of folds and shuffling."""
    listed: int
    """Samples and files the source listed:
    ``rows + dropped + quarantined + skipped + duplicates.dropped``."""
    rows: int
    """Samples kept."""
    counts: dict[str, list[int]]
    """Rows of each class, per fold."""
    dropped: dict[str, int]
    """Samples left out because their label has no class in the scheme: count per label."""
    quarantined: list[Rejected]
    """Samples left out because their image is unusable."""
    skipped: dict[str, int] = Field(default_factory=dict)
    """Files of the dataset's folder that are no samples: count per reason."""
    duplicates: Duplicates = Duplicates()
    """Duplicate images, and what was done with them."""
    shards: list[ShardFile]
    """The Parquet files, in order."""
    content_hash: str
    """Hash of the files' hashes; equal data has equal hashes."""
    request_hash: str
    """Hash of the request; a repeated ingest with the same hash does nothing."""

    @property
    def empty_classes(self) -> list[str]:
        """The classes without a row."""
        return [name for name in self.classes if not sum(self.counts[name])]


def read_shard_manifest(location: str) -> Manifest:
    """Read the manifest of a shard set.

    Raises:
        DataError: when it is missing (ingest never finished) or of another version.
    """
    path = storage.join(location, MANIFEST)
    if not storage.exists(path):
        raise DataError(
            f"{location}: no shard set here ({MANIFEST} is missing); "
            f"make one with jobs/ingest.py --output {location}"
        )
    content = storage.read_json(path)
    version = content.get("schema_version", SCHEMA_VERSION) if isinstance(content, dict) else None
    if version not in (None, SCHEMA_VERSION):
        raise DataError(
            f"{path}: schema version {version}, but this program reads "
            f"version {SCHEMA_VERSION}; ingest the data again"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{path}: not a manifest of this version: {in_one_line(error)}") from error


def made_before(location: str, request: str) -> Manifest | None:
    """The manifest of an existing shard set made by the same request; None if there is none.

    Raises:
        DataError: when the location holds a shard set made by another request.
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
    """Raise :class:`DataError` naming both schemes unless the shards have the same classes."""
    if manifest.classes != list(scheme.classes):
        raise DataError(
            f"{location}: has label scheme {manifest.scheme!r} {manifest.classes}, but "
            f"{scheme.name!r} {list(scheme.classes)} is required"
        )
