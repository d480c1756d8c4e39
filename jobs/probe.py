"""Linear probe: how well a linear classifier recognizes emotions from a frozen network's layer."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from pydantic import Field, model_validator

from ier_ray.cluster.features import CheckpointNetwork, NetworkSource, PretrainedNetwork
from ier_ray.cluster.job import run_job
from ier_ray.cluster.probing import probe
from ier_ray.config import Location, Seed, Settings
from ier_ray.data.fitting import Given, open_fitting
from ier_ray.data.parts import SplitPlan
from ier_ray.data.schema import Domain
from ier_ray.data.shards import ShardSet
from ier_ray.data.splits import SplitIndex
from ier_ray.data.transforms import Normalization
from ier_ray.models.features import Pool
from ier_ray.models.registry import ModelSettings

RANDOM = "random"


class ProbeSettings(Settings):
    """Which network to probe, at which layer, and on which data."""

    shards: Location
    """Shard set of either domain: a path or s3:// URI made by jobs/ingest.py."""
    checkpoint: Location | None = None
    """Checkpoint directory or s3:// URI of the network. Give this or pretrained."""
    network: Domain | None = None
    """Which network of the checkpoint; by default that of the shard set's domain."""
    pretrained: Location | None = None
    """Weights of a network as in the section model: a torchvision weight name, a .pth or
    .safetensors file on every node, or random (freshly initialized, as a control)."""
    normalization: Normalization = "imagenet"
    """Normalization of the images for pretrained weights; a checkpoint has its own."""
    layer: str | None = None
    """Layer whose output is probed, such as features.30. By default the input of the last dense
    layer."""
    pool: Pool = "mean"
    """What becomes of a layer's maps: their mean over positions, or flatten (all values)."""
    seed: Seed = 0
    """Seed of layers that are not pretrained, and of the intervals."""
    workers: int = Field(1, ge=1)
    """Copies of the network that run in parallel."""
    output: Location | None = None
    """Parquet file for the predictions. If omitted, they are not kept."""
    split: SplitPlan = SplitPlan()
    model: ModelSettings = ModelSettings()

    @model_validator(mode="after")
    def _one_network(self) -> ProbeSettings:
        if (self.checkpoint is None) == (self.pretrained is None):
            raise ValueError("give either checkpoint or pretrained, for the network to probe")
        if self.checkpoint is not None and self.model != ModelSettings():
            raise ValueError("model is for pretrained weights; the checkpoint has its own")
        if self.pretrained is not None and self.network is not None:
            raise ValueError("network chooses one of a checkpoint's; leave it out with pretrained")
        return self

    def source(self, domain: Domain) -> NetworkSource:
        """The network to probe on images of a domain."""
        if self.checkpoint is not None:
            return CheckpointNetwork.at(self.checkpoint, self.network or domain)
        weights = None if self.pretrained == RANDOM else self.pretrained
        return PretrainedNetwork(self.model, self.normalization, weights, self.seed)


def main(settings: ProbeSettings) -> dict[str, Any]:
    domain = ShardSet.open(settings.shards).manifest.domain
    source = settings.source(domain)
    given = [Given("shards", settings.shards, domain)]
    (shards,) = open_fitting(given, captions=source.model.reads_captions)
    result = probe(
        source,
        SplitIndex.read(shards, settings.split),
        layer=settings.layer,
        pool=settings.pool,
        workers=settings.workers,
        run=settings.checkpoint or f"{settings.model.architecture}/{settings.pretrained}",
        seed=settings.seed,
        output=settings.output,
    )
    return asdict(result)


if __name__ == "__main__":
    sys.exit(run_job(ProbeSettings, main, program="probe", purpose=__doc__ or ""))
