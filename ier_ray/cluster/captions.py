"""Captions of every image of a shard set: a Ray Data job that writes a new shard set.

Each task captions one Parquet file on an actor that holds the model. The new shard set has all
the columns of the old one, the caption and its token ids; its manifest comes last.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from tqdm import tqdm

from ier_ray import storage
from ier_ray.cluster.capacity import join_for
from ier_ray.data.captions import CAPTION, TOKENS, VOCABULARY_HASH
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.images import decode_rgb
from ier_ray.data.schema import MANIFEST, Manifest, ShardFile, made_before
from ier_ray.data.shards import ShardSet, decoding, reading
from ier_ray.errors import DataError, SettingsError
from ier_ray.models.captions import (
    CAPTION_TOKENS,
    Captioner,
    bert_tokenizer,
    check_captioner,
    transformers,
)


@dataclass(frozen=True)
class CaptionReport:
    """Outcome of captioning a shard set."""

    location: str
    manifest: Manifest
    unchanged: bool
    """Whether the same captioned shard set existed already."""


@dataclass(frozen=True)
class CaptionModels:
    """Directories, on every node, of the captioning model and of the tokenizer."""

    captioner: str
    tokenizer: str

    def check(self) -> None:
        """Raise :class:`SettingsError` if the library or a model is missing or unsuitable."""
        transformers()
        for name, directory in vars(self).items():
            if not Path(directory).is_dir():
                raise SettingsError(
                    f"{name}: {directory} is not a directory; give one that save_pretrained of "
                    f"the transformers library wrote"
                )
        bert_tokenizer(self.tokenizer)  # before an actor does: the user gets one line
        check_captioner(self.captioner)


def caption_shards(
    source: str, location: str, models: CaptionModels, *, workers: int = 1
) -> CaptionReport:
    """Write a shard set with captions, with ``workers`` copies of the captioning model.

    Raises:
        SettingsError: when a model is missing, or the tokenizer is not one of BERT's.
        DataError: when ``source`` is no shard set or has captions, or ``location`` holds another
            shard set.
        StorageError: when the location cannot be written.
        CapacityError: when the workers can never fit on the cluster.
    """
    models.check()
    (shards,) = open_fitting([Given("shards", storage.absolute(source), None)])
    with shards.parquet(0) as parquet:
        if CAPTION in parquet.schema_arrow.names:
            raise DataError(f"{source}: has captions; give the shard set they were made from")
    request = request_hash(shards.manifest, models)
    found = made_before(location, request)
    if found is not None:
        return CaptionReport(location, found, unchanged=True)
    storage.check_writable(location, directory=True)
    files = [ShardFile(**written) for written in write_shards(shards, location, models, workers)]
    content = hashlib.sha256("".join(file.sha256 for file in files).encode()).hexdigest()
    changes = {"shards": files, "content_hash": content, "request_hash": request}
    manifest = shards.manifest.model_copy(update=changes)
    storage.write_json(storage.join(location, MANIFEST), manifest.model_dump(mode="json"))
    return CaptionReport(location, manifest, unchanged=False)


def request_hash(manifest: Manifest, models: CaptionModels) -> str:
    """Hash of everything that determines the content of a captioned shard set."""
    asked = {"data": manifest.content_hash, "tokens": CAPTION_TOKENS, **vars(models)}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def write_shards(
    shards: ShardSet, location: str, models: CaptionModels, workers: int
) -> list[dict[str, Any]]:
    """Caption every file; returns the records of the written files, in order."""
    gpus = join_for(workers)
    numbers = [pa.table({"shard": [number]}) for number in range(len(shards.manifest.shards))]
    written = ray.data.from_blocks(numbers).map_batches(
        CaptionShard,
        fn_constructor_args=(shards, storage.absolute(location), models),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
        num_gpus=gpus,
    )
    files = []
    with tqdm(total=shards.manifest.rows, unit="image", desc="caption", disable=None) as bar:
        for row in written.iter_rows():
            files.append(json.loads(row["file"]))
            bar.update(files[-1]["rows"])
    return sorted(files, key=lambda file: str(file["file"]))


class CaptionShard:
    """Ray Data stage: an actor with the models; takes a file's number, writes that file."""

    def __init__(self, shards: ShardSet, location: str, models: CaptionModels) -> None:
        self._shards = shards
        self._location = location
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        transformers().utils.logging.disable_progress_bar()  # one per actor while weights load
        self._captioner = Captioner(models.captioner, models.tokenizer, device=device)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Caption one file, a row group at a time; returns its record as JSON in one row."""
        number = batch["shard"][0].as_py()
        file = self._shards.manifest.shards[number].file
        with (
            self._shards.parquet(number) as parquet,
            storage.writing(storage.join(self._location, file)) as stream,
        ):
            rows = parquet.metadata.num_rows
            schema = captioned(parquet.schema_arrow, self._captioner.vocabulary)
            hashed = storage.HashedStream(stream)
            with pq.ParquetWriter(hashed, schema, compression="none") as writer:
                for group in range(parquet.num_row_groups):
                    with reading(self._shards.files[number]):
                        read = parquet.read_row_group(group)
                    writer.write_table(self._captioned(read, schema))
        digest = hashed.sha256.hexdigest()
        return pa.table({"file": [json.dumps({"file": file, "rows": rows, "sha256": digest})]})

    def _captioned(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        images = []
        for row in rows.select(["image", "sample_id"]).to_pylist():
            with decoding(row["sample_id"]):
                images.append(decode_rgb(row["image"]))
        captions = self._captioner.describe(images)
        tokens = self._captioner.tokens(captions).tolist()
        return pa.table([*rows.columns, captions, tokens], schema=schema)


def captioned(schema: pa.Schema, vocabulary: str) -> pa.Schema:
    """A shard's schema with the columns that captioning adds."""
    tokens = pa.field(
        TOKENS, pa.list_(pa.int32(), CAPTION_TOKENS), metadata={VOCABULARY_HASH: vocabulary}
    )
    return schema.append(pa.field(CAPTION, pa.string())).append(tokens)
