"""Layer-wise interpretability: how far emotions lie apart in each layer of a network."""

from __future__ import annotations

import sys
from typing import Any

from pydantic import Field, model_validator

from ier_ray import storage
from ier_ray.cluster.evaluation import Asked, choose_rows, require_same_rows
from ier_ray.cluster.features import CheckpointNetwork, NetworkSource, PretrainedNetwork
from ier_ray.cluster.job import run_job
from ier_ray.cluster.layerwise import layerwise_scores
from ier_ray.config import Location, Locations, Seed, Settings
from ier_ray.data.schema import Domain
from ier_ray.layerwise.analysis import Scoring
from ier_ray.layerwise.files import RANDOM, write_layerwise
from ier_ray.layerwise.intersections import Spread
from ier_ray.layerwise.record import as_text
from ier_ray.models.layers import default_layers
from ier_ray.training.checkpoint import read_checkpoint_manifest


class LayerwiseSettings(Settings):
    """Which networks to look into, at which layers, and on which images."""

    checkpoint: Locations = Field(min_length=1)
    """Checkpoint directory or s3:// URI. Several, of epochs of one run, show clusters form."""
    fer: Location | None = None
    """Shard set of facial expressions to take the images from. Give this or ier."""
    ier: Location | None = None
    """Shard set of generic images to take the images from."""
    network: Domain | None = None
    """Which network of the checkpoint; by default that of the shard set's domain."""
    layers: list[str] = Field(default_factory=list)
    """Layers whose output is looked at, such as features.30; NAME.input for what a layer reads,
    logits for what the network gives. By default those that show the architecture's depth."""
    per_class: int = Field(100, ge=1)
    """Images of each class, drawn by the seed: as many as the rarest class has, up to this."""
    part: Asked = "test"
    """Part of the data the checkpoint was trained with; or all rows, of other data."""
    allow_seen: bool = False
    """Also take images that trained or selected the checkpoint."""
    spread: Spread = "deviation"
    """Half a class's range in a component: twice its standard deviation, or twice its variance, as
    the paper prints it."""
    shuffles: int = Field(1000, ge=20)
    """Times that the labels are shuffled for the interval by chance."""
    seed: Seed = 0
    """Of the drawn images, the shuffled labels, the probe's folds and the random network."""
    scratch: Location | None = None
    """Directory of this machine for the embeddings while they are needed."""
    workers: int = Field(1, ge=1)
    """Copies of the network that run in parallel."""
    output: Location | None = None
    """Directory for layerwise.json, layerwise.parquet and layerwise.html; by default layerwise
    beside the last checkpoint."""

    @model_validator(mode="after")
    def _one_shard_set(self) -> LayerwiseSettings:
        if (self.fer is None) == (self.ier is None):
            raise ValueError("give either fer or ier, for the images")
        return self


def main(settings: LayerwiseSettings) -> dict[str, Any]:
    domain: Domain = "fer" if settings.fer is not None else "ier"
    shards = settings.fer if settings.fer is not None else settings.ier
    places = [storage.absolute(location) for location in settings.checkpoint]
    manifests = [read_checkpoint_manifest(place) for place in places]
    last = manifests[-1]
    networks: dict[str, NetworkSource] = {
        place: CheckpointNetwork.at(place, settings.network or domain) for place in places
    }
    networks[RANDOM] = PretrainedNetwork(
        last.model, last.normalization, None, settings.seed, len(last.classes)
    )
    output = storage.absolute(
        settings.output or storage.join(places[-1].rpartition("/")[0], "layerwise")
    )
    storage.check_writable(output, directory=True)
    chosen = [
        choose_rows(
            place,
            manifest,
            shards or "",
            domain=domain,
            parts=[settings.part],
            allow_seen=settings.allow_seen,
        )
        for place, manifest in zip(places, manifests, strict=True)
    ]
    require_same_rows(places, chosen)
    result = layerwise_scores(
        networks,
        chosen[-1],
        random=RANDOM,
        layers=settings.layers or default_layers(last.model.architecture),
        per_class=settings.per_class,
        scoring=Scoring(settings.seed, settings.spread, settings.shuffles),
        scratch=settings.scratch,
        workers=settings.workers,
    )
    print(as_text(result), file=sys.stderr)
    return {**result.as_json(), "files": write_layerwise(result, output, title=places[-1])}


if __name__ == "__main__":
    sys.exit(run_job(LayerwiseSettings, main, program="layerwise", purpose=__doc__ or ""))
