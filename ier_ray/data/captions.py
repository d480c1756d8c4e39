"""Reading the captions of a shard set in place of its images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ier_ray.data.shards import POSITION, RowReader, ShardSet
from ier_ray.errors import DataError

CAPTION, TOKENS = "caption", "tokens"
"""The columns that captioning adds: the text, and its token ids in a list of fixed length."""
VOCABULARY_HASH = "vocabulary"
"""Metadata key of the token column: hash of the vocabulary that its ids refer to."""
CAPTION_BYTES = 512
"""Approximate bytes per row of token ids, label and sample id."""


@dataclass(frozen=True)
class CaptionReader(RowReader):
    """Reads token ids where a :class:`RowReader` reads pixels."""

    @property
    def row_bytes(self) -> int:
        """Approximate bytes per caption."""
        return CAPTION_BYTES

    def read(self, columns: dict[str, NDArray[np.int32]]) -> Iterator[dict[str, Any]]:
        """All requested rows at once, in order: ``image`` is token ids ``(N, L)`` int64.

        Raises:
            DataError: when a file has no captions.
        """
        table = self.table(columns, [TOKENS, "label", "sample_id"])
        if TOKENS not in table.column_names:
            raise no_captions_error(self.files[columns["file"][0]])
        tokens = np.asarray(table[TOKENS].to_pylist(), dtype=np.int64)
        passed = {name: columns[name] for name in columns if name not in POSITION}
        yield {"image": tokens, **self.labels_and_ids(table), **passed}


def require_captions(*domains: ShardSet) -> None:
    """Raise :class:`DataError` unless all have captions, with token ids of one vocabulary."""
    vocabularies = {shards.location: vocabulary_of(shards) for shards in domains}
    if len(set(vocabularies.values())) > 1:
        raise DataError(
            f"{' and '.join(vocabularies)}: their captions were tokenized with different "
            f"vocabularies; give jobs/caption.py the same --tokenizer for both"
        )


def vocabulary_of(shards: ShardSet) -> bytes:
    """Hash of the vocabulary of a shard set's token ids.

    Raises:
        DataError: when it has no captions, or does not name their vocabulary.
    """
    with shards.parquet(0) as parquet:
        if TOKENS not in parquet.schema_arrow.names:
            raise no_captions_error(shards.location)
        metadata: dict[bytes, bytes] = parquet.schema_arrow.field(TOKENS).metadata or {}
    if VOCABULARY_HASH.encode() not in metadata:
        raise DataError(
            f"{shards.location}: column {TOKENS!r} does not name the vocabulary of its token ids, "
            f"so an older version captioned it; run jobs/caption.py again"
        )
    return metadata[VOCABULARY_HASH.encode()]


def no_captions_error(location: str) -> DataError:
    """The error for a shard set, or a file of one, that jobs/caption.py did not make."""
    return DataError(
        f"{location}: has no captions, which caption_bert needs; make a shard set with captions "
        f"by jobs/caption.py"
    )
