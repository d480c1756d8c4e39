"""Which rows made a checkpoint: recorded with it, and kept out of what it is tested on.

Rows are recognized by the hash of their pixels, so that another copy of a shard set, with other
folds, names or file sizes, is recognized too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ier_ray.config import Settings
from ier_ray.data.balancing import class_weights
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import PARTS, Domain, Part
from ier_ray.data.splits import SplitIndex
from ier_ray.errors import DataError

logger = logging.getLogger(__name__)

Prior = list[float]
"""Frequency of each class, in the network's order; they sum to 1."""


class DomainData(Settings):
    """The data of one domain that a checkpoint was trained and selected on."""

    content_hash: str
    """Content hash of the shard set."""
    plan: SplitPlan
    """How its rows were divided."""
    rows: dict[Part, int]
    """Rows in each part."""
    train_prior: Prior
    """Class frequencies that training saw, after balancing."""
    val_prior: Prior | None
    """Class frequencies of the validation part. None where its labels may not be read."""


def domain_data(
    split: SplitIndex, *, balance: float, source: DomainData | None = None
) -> DomainData:
    """The record of one domain.

    Args:
        split: its rows; with mixed-in rows, if there are any.
        balance: strength of class balancing in training.
        source: the domain whose labels train this one's network where its own may not be read.
    """
    classes = len(split.shards.scheme.classes)
    rows: dict[Part, int] = {
        "train": len(split.train),
        "val": len(split.validation),
        "test": len(split.test),
    }
    if split.plan.reads_labels or source is None:
        trained = prior(split.train.label, classes, balance=balance)
    else:
        trained = source.train_prior
    return DomainData(
        content_hash=split.shards.manifest.content_hash,
        plan=split.plan,
        rows=rows,
        train_prior=trained,
        val_prior=prior(split.validation.label, classes) if split.plan.reads_labels else None,
    )


def prior(labels: NDArray[np.int64], classes: int, *, balance: float = 0.0) -> Prior:
    """Class frequencies of labels, after balancing by repetition."""
    counts = np.bincount(labels, minlength=classes)
    weighted = counts * class_weights(counts, balance)
    return [float(share) for share in weighted / weighted.sum()]


@dataclass(frozen=True)
class SeenRows:
    """The rows that trained or selected a checkpoint, one entry each."""

    domains: NDArray[np.str_]
    parts: NDArray[np.str_]
    pixels: NDArray[np.uint64]
    """Hash of the row's pixels."""

    @classmethod
    def none(cls) -> SeenRows:
        """No rows."""
        return cls(np.array([], dtype=str), np.array([], dtype=str), np.array([], dtype=np.uint64))

    @classmethod
    def of(cls, splits: Mapping[Domain, SplitIndex]) -> SeenRows:
        """The training and validation rows of both domains."""
        seen = cls.none()
        for domain, split in splits.items():
            for part, index in zip(PARTS[:2], (split.train, split.validation), strict=True):
                count = len(index)
                rows = cls(np.full(count, domain), np.full(count, part), index.pixels)
                seen = seen.joined(rows)
        return seen

    def joined(self, other: SeenRows) -> SeenRows:
        """The rows of both."""
        return SeenRows(
            *(np.concatenate([column, vars(other)[name]]) for name, column in vars(self).items())
        )

    def among(self, pixels: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """True for the rows, given by the hashes of their pixels, that were seen."""
        return np.isin(pixels, self.pixels)

    def write(self, stream: BinaryIO) -> None:
        """Write a Parquet file."""
        pq.write_table(pa.table(vars(self)), stream)

    @classmethod
    def read(cls, stream: BinaryIO) -> SeenRows:
        """Read what :meth:`write` wrote."""
        table = pq.read_table(stream)
        names = (table[name].to_pylist() for name in ("domains", "parts"))
        domains, parts = (np.array(column, dtype=str) for column in names)
        return cls(domains, parts, table["pixels"].to_numpy())


def check_test_rows(splits: Mapping[Domain, SplitIndex]) -> None:
    """Raise if a test image of one domain trains or selects in the other.

    Copies within one shard set, which ingest keeps apart only with ``--duplicates keep``, are a
    warning.

    Raises:
        DataError: naming both shard sets and the first images.
    """
    for domain, split in splits.items():
        for other, others in splits.items():
            seen = SeenRows.of({other: others}).among(split.test.pixels)
            if not seen.any():
                continue
            found = (
                f"{int(seen.sum())} test images of data.{domain} ({split.shards.location}) are "
                f"also training or validation images of data.{other} ({others.shards.location}): "
                f"{split.shards.named(split.test.select(seen))}"
            )
            if other != domain:
                raise DataError(
                    f"{found}; a test image may train neither network: remove the copies, or "
                    f"ingest both as one set, which keeps copies in one fold"
                )
            logger.warning("%s; ingest with --duplicates group keeps copies in one part", found)


def check_start(splits: Mapping[Domain, SplitIndex], start: SeenRows, source: str) -> None:
    """Raise :class:`DataError` if test images trained the checkpoint that a run starts from."""
    for domain, split in splits.items():
        seen = start.among(split.test.pixels)
        if seen.any():
            raise DataError(
                f"schedule.fer_checkpoint {source}: {int(seen.sum())} test images of "
                f"data.{domain} ({split.shards.location}) trained or selected it: "
                f"{split.shards.named(split.test.select(seen))}; give data.test_fold (and "
                f"data.split) as that checkpoint's manifest has them, or train it again without "
                f"these images"
            )
